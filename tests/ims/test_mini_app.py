"""Mini-apps and the safe reading of packages."""

from __future__ import annotations

import contextlib
import hashlib
import io
import stat
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import ParseError
from dcsdk.ims.mini_app import MiniApp, PackageLimits, read_package, write_package

NAMES = st.text("abc", min_size=1, max_size=4)


def test_a_page_is_one_file() -> None:
    app = MiniApp.from_response(app_id="a", content_type="Text/HTML; x=y", body=b"<p>", etag='"1"')
    assert (app.content_type, app.is_package) == ("text/html", False)
    assert app.files() == {"index.html": b"<p>"}
    assert app.sha256 == hashlib.sha256(b"<p>").hexdigest()


@given(st.dictionaries(NAMES, st.binary(max_size=50), max_size=5))
def test_packages_round_trip_and_are_reproducible(files: dict[str, bytes]) -> None:
    package = write_package(files)
    assert write_package(dict(reversed(files.items()))) == package
    app = MiniApp.from_response(app_id="a", content_type="application/zip", body=package)
    assert app.files() == files


def _zip(name: str, content: bytes = b"x", mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        package.writestr(info, content)
    return buffer.getvalue()


def _encrypted() -> bytes:
    data = bytearray(_zip("a"))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def _twice() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.writestr("a", b"1")
        package.writestr("b", b"2")
    data = bytearray(buffer.getvalue())
    data[data.rindex(b"b")] = ord("a")
    data[data.index(b"b2")] = ord("a")
    return bytes(data)


@pytest.mark.parametrize(
    "make",
    [
        lambda: _zip("../evil"),
        lambda: _zip("a/../../evil"),
        lambda: _zip("/etc/passwd"),
        lambda: _zip("C:/x"),
        lambda: _zip("a\\b"),
        lambda: _zip("a//b"),
        lambda: _zip("a\nb"),
        lambda: _zip("link", b"/etc/passwd", stat.S_IFLNK | 0o777),
        lambda: _zip("pipe", b"", stat.S_IFIFO | 0o644),
        lambda: _zip("bomb", b"\0" * 3_000_000),
        _encrypted,
        _twice,
        lambda: b"no zip",
        lambda: b"",
        lambda: _zip("a")[:-8],
    ],
)
def test_unsafe_packages_are_refused(make: Callable[[], bytes]) -> None:
    with pytest.raises(ParseError):
        read_package(make())


def test_packages_over_a_limit_are_refused() -> None:
    package = write_package({"a": bytes(range(256)), "b": bytes(range(256)), "dir/c": b""})
    assert set(read_package(package)) == {"a", "b", "dir/c"}
    for limits in (
        PackageLimits(entries=2),
        PackageLimits(file_bytes=255),
        PackageLimits(total_bytes=511),
    ):
        with pytest.raises(ParseError):
            read_package(package, limits)


def test_folders_in_a_package_are_skipped() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.mkdir("dir")
        package.writestr("dir/a", b"1")
    assert read_package(buffer.getvalue()) == {"dir/a": b"1"}


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 255))
def test_any_bytes_are_a_package_or_a_parse_error(noise: bytes, at: int, value: int) -> None:
    damaged = bytearray(write_package({"index.html": b"<p>hello" * 4, "x": b"y"}))
    damaged[at % len(damaged)] = value
    for data in (noise, bytes(damaged), bytes(damaged) + noise):
        with contextlib.suppress(ParseError):
            read_package(data)
