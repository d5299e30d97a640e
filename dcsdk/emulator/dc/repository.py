"""The application repository: a folder of mini-apps, read once (the DCAR of TS 23.228 AC.2).

One folder per application, named by its id, with ``index.html``, further files, and an optional
``app.toml``: ``name``, ``phase``, ``needs_peer_dc``, ``qos_hint``.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcsdk.errors import ConfigError
from dcsdk.ims.mini_app import INDEX_NAME, write_package

SAMPLE_APPS = Path(__file__).parent / "apps"
"""The applications that are shipped: ``whiteboard`` and ``file-drop``."""

MAX_APPLICATIONS = 1000
MAX_APPLICATION_BYTES = 16 * 1024 * 1024
MAX_FILES = 500

_APP_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SETTINGS = {"name": str, "phase": str, "needs_peer_dc": bool, "qos_hint": str}
_SETTINGS_FILE = "app.toml"
_PROPERTIES_FILE = "properties.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredApp:
    """One application.

    Attributes:
        app_id: name of its folder.
        name: for people.
        phase: ``"PRECALL"``, ``"INCALL"`` or ``None``.
        needs_peer_dc: works only when the peer has data channels too.
        qos_hint: text of ``a=3gpp-qos-hint``, or ``None``.
        files: by path relative to the folder.
        package: the same files as a zip, with ``properties.json``.
        etag: of the package and of ``index.html``, with quotes.
    """

    app_id: str
    name: str
    phase: str | None = None
    needs_peer_dc: bool = False
    qos_hint: str | None = None
    files: Mapping[str, bytes] = field(repr=False)
    package: bytes = field(repr=False)
    etag: str


class AppRepository:
    """The applications of a folder.

    Args:
        folder: read now; see :meth:`reload`.

    Raises:
        ConfigError: the folder or one of its applications cannot be read.
    """

    def __init__(self, folder: Path = SAMPLE_APPS) -> None:
        self._folder = folder
        self._apps: dict[str, StoredApp] = {}
        self.reload()

    @property
    def apps(self) -> tuple[StoredApp, ...]:
        """All applications, by id."""
        return tuple(self._apps.values())

    def get(self, app_id: str) -> StoredApp | None:
        """Return one application, or ``None``."""
        return self._apps.get(app_id)

    def reload(self) -> None:
        """Read the folder again; after an error the applications stay as they were.

        Raises:
            ConfigError: the folder or one of its applications cannot be read.
        """
        try:
            folders = sorted(
                path for path in self._folder.iterdir() if not path.name.startswith((".", "__"))
            )
            if len(folders) > MAX_APPLICATIONS:
                raise ConfigError(f"more than {MAX_APPLICATIONS} applications in {self._folder}")
            self._apps = {path.name: _read_app(path) for path in folders if path.is_dir()}
        except OSError as exc:
            raise ConfigError(f"cannot read applications: {exc}") from exc


def _read_app(folder: Path) -> StoredApp:
    if _APP_ID.fullmatch(folder.name) is None:
        raise ConfigError(f"{folder.name!r} is no application id")
    files: dict[str, bytes] = {}
    left_bytes = MAX_APPLICATION_BYTES
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise ConfigError(f"{path} is a link")
        if not path.is_file():
            continue
        left_bytes -= path.stat().st_size
        if left_bytes < 0 or len(files) >= MAX_FILES:
            raise ConfigError(f"{folder} has more than {MAX_FILES} files, or is too large")
        files[path.relative_to(folder).as_posix()] = path.read_bytes()
    settings = _read_settings(folder, files.pop(_SETTINGS_FILE, b""))
    if INDEX_NAME not in files:
        raise ConfigError(f"{folder} has no {INDEX_NAME}")
    properties = {"appId": folder.name, "version": "1", "permissions": [], "allowedUrls": []}
    package = write_package({**files, _PROPERTIES_FILE: json.dumps(properties).encode()})
    return StoredApp(
        app_id=folder.name,
        files=files,
        package=package,
        etag=f'"{hashlib.sha256(package).hexdigest()[:32]}"',
        **{"name": folder.name} | settings,
    )


def _read_settings(folder: Path, data: bytes) -> dict[str, Any]:
    try:
        settings = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{folder / _SETTINGS_FILE} is not TOML: {exc}") from exc
    for key, value in settings.items():
        if key not in _SETTINGS or not isinstance(value, _SETTINGS[key]):
            raise ConfigError(f"{folder / _SETTINGS_FILE}: bad key {key}")
    return settings
