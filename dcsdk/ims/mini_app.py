"""Mini-apps: what a bootstrap channel delivers, and the safe reading of their packages.

Nothing here executes or unpacks to disk. Source: TS 23.228 AC.7.1 for the delivery; the package
format (a zip with ``index.html``) is one operator's, none is standardised.
"""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dcsdk.errors import ParseError

ZIP_CONTENT_TYPES = frozenset({"application/zip", "application/x-zip-compressed"})
INDEX_NAME = "index.html"
_CHUNK_BYTES = 64 * 1024
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageLimits:
    """What a package may be.

    Attributes:
        entries: files and folders.
        file_bytes: one file, unpacked, bytes.
        total_bytes: all files, unpacked, bytes.
        ratio: unpacked to packed size of one file.
    """

    entries: int = 1000
    file_bytes: int = 16 * 1024 * 1024
    total_bytes: int = 64 * 1024 * 1024
    ratio: int = 200


DEFAULT_PACKAGE_LIMITS = PackageLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniApp:
    """A mini-app as it came.

    Attributes:
        app_id: what ``a=3gpp-req-app`` names.
        content_type: for example ``"text/html"`` or ``"application/zip"``, without parameters.
        body: the page or the package.
        etag: as the network sent it, or ``None``.
        sha256: of ``body``, in lower-case hex; pins what was reviewed.
    """

    app_id: str
    content_type: str
    body: bytes
    etag: str | None = None
    sha256: str

    @classmethod
    def from_response(
        cls, *, app_id: str, content_type: str, body: bytes, etag: str | None = None
    ) -> MiniApp:
        """Make the mini-app of an HTTP response and compute its hash."""
        return cls(
            app_id=app_id,
            content_type=content_type.partition(";")[0].strip().lower(),
            body=body,
            etag=etag,
            sha256=hashlib.sha256(body).hexdigest(),
        )

    @property
    def is_package(self) -> bool:
        """The body is a zip with several files."""
        return self.content_type in ZIP_CONTENT_TYPES

    def files(self, limits: PackageLimits = DEFAULT_PACKAGE_LIMITS) -> Mapping[str, bytes]:
        """Return the files by name; a page is one file, ``index.html``.

        Raises:
            ParseError: a package that :func:`read_package` refuses.
        """
        if self.is_package:
            return read_package(self.body, limits)
        return MappingProxyType({INDEX_NAME: self.body})


def read_package(
    data: bytes, limits: PackageLimits = DEFAULT_PACKAGE_LIMITS
) -> Mapping[str, bytes]:
    """Read a zip into memory.

    Args:
        data: the zip.
        limits: what it may be.

    Returns:
        File names (``/`` between folders, always relative) and contents.

    Raises:
        ParseError: no zip; a name with ``..``, a drive, a backslash, or from the root; a symbolic
            link or other special file; an encrypted file; one name twice; or over a limit.
    """
    files: dict[str, bytes] = {}
    left_bytes = limits.total_bytes
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            entries = package.infolist()
            if len(entries) > limits.entries:
                raise ParseError(f"more than {limits.entries} entries in the package")
            for entry in entries:
                _check_entry(entry)
                if entry.is_dir():
                    continue
                if entry.filename in files:
                    raise ParseError(f"{entry.filename[:64]!r} is twice in the package")
                allowed = min(limits.file_bytes, left_bytes, limits.ratio * entry.compress_size)
                content = _read_entry(package, entry, max(allowed, 0))
                files[entry.filename] = content
                left_bytes -= len(content)
    except (
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
    ) as exc:
        if isinstance(exc, ParseError):
            raise
        raise ParseError(f"the package cannot be read: {type(exc).__name__}") from exc
    return MappingProxyType(files)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    parts = name.rstrip("/").split("/")
    if (
        not name
        or name != getattr(entry, "orig_filename", name)
        or name.startswith("/")
        or "\\" in name
        or ":" in parts[0]
        or any(part in ("", ".", "..") for part in parts)
        or any(character < " " for character in name)
    ):
        raise ParseError(f"unsafe name {name[:64]!r} in the package")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ParseError(f"{name[:64]!r} in the package is a link or special file")
    if entry.flag_bits & 0x1:
        raise ParseError(f"{name[:64]!r} in the package is encrypted")


def _read_entry(package: zipfile.ZipFile, entry: zipfile.ZipInfo, allowed_bytes: int) -> bytes:
    """Unpack one file; the sizes its header claims are not believed."""
    content = bytearray()
    with package.open(entry) as file:
        while chunk := file.read(_CHUNK_BYTES):
            content += chunk
            if len(content) > allowed_bytes:
                raise ParseError(f"{entry.filename[:64]!r} in the package is too large unpacked")
    return bytes(content)


def write_package(files: Mapping[str, bytes]) -> bytes:
    """Make a zip; the same files always give the same bytes, so that its hash can be pinned."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _FIXED_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            package.writestr(info, files[name])
    return buffer.getvalue()
