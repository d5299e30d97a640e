"""The application repository folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcsdk.emulator.dc import repository
from dcsdk.emulator.dc.repository import AppRepository
from dcsdk.errors import ConfigError
from dcsdk.ims.mini_app import read_package


def make_app(folder: Path, app_id: str, **files: str) -> Path:
    app = folder / app_id
    app.mkdir(parents=True)
    for name, text in {"index.html": "<p>", **files}.items():
        path = app / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return app


def test_the_shipped_applications_are_real() -> None:
    apps = {app.app_id: app for app in AppRepository().apps}
    assert apps.keys() == {"whiteboard", "file-drop"}
    for app in apps.values():
        assert b"<script" in app.files["index.html"]
        assert "properties.json" in read_package(app.package)
        assert "app.toml" not in app.files


def test_an_application_is_its_folder(tmp_path: Path) -> None:
    toml = 'name = "N"\nphase = "PRECALL"\nneeds_peer_dc = true\nqos_hint = "loss=0.1"\n'
    make_app(tmp_path, "one", **{"app.toml": toml, "js__a.js": "1"})
    make_app(tmp_path, "two")
    (tmp_path / "README").write_text("no application")
    (tmp_path / ".git").mkdir()
    store = AppRepository(tmp_path)
    one, two = store.apps
    assert (one.name, one.phase, one.needs_peer_dc, one.qos_hint) == (
        "N",
        "PRECALL",
        True,
        "loss=0.1",
    )
    assert set(one.files) == {"index.html", "js/a.js"}
    assert (two.name, two.phase) == ("two", None)
    assert store.get("two") is two and store.get("three") is None


def test_a_change_changes_the_etag_after_reloading(tmp_path: Path) -> None:
    app = make_app(tmp_path, "one")
    store = AppRepository(tmp_path)
    before = store.apps[0].etag
    store.reload()
    assert store.apps[0].etag == before
    (app / "index.html").write_text("<b>")
    store.reload()
    assert store.apps[0].etag != before
    (app / "index.html").unlink()
    with pytest.raises(ConfigError):
        store.reload()
    assert store.apps[0].files["index.html"] == b"<b>"


@pytest.mark.parametrize("toml", ["name =", "name = 1", "colour = 'red'"])
def test_bad_settings_are_config_errors(tmp_path: Path, toml: str) -> None:
    make_app(tmp_path, "one", **{"app.toml": toml})
    with pytest.raises(ConfigError, match=r"app\.toml"):
        AppRepository(tmp_path)


def test_folders_that_cannot_be_served_are_config_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError):
        AppRepository(tmp_path / "none")
    make_app(tmp_path / "a", "bad id")
    with pytest.raises(ConfigError, match="no application id"):
        AppRepository(tmp_path / "a")
    (make_app(tmp_path / "b", "linked") / "link").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match="link"):
        AppRepository(tmp_path / "b")
    make_app(tmp_path / "c", "large")
    monkeypatch.setattr(repository, "MAX_APPLICATION_BYTES", 1)
    with pytest.raises(ConfigError, match="too large"):
        AppRepository(tmp_path / "c")
    monkeypatch.setattr(repository, "MAX_APPLICATIONS", 0)
    with pytest.raises(ConfigError, match="more than"):
        AppRepository(tmp_path / "c")
