"""Readers of application lists: the html and the json_a flavour."""

from __future__ import annotations

import contextlib
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import ParseError
from dcsdk.plugins.lists.app_lists import (
    MAX_APPLICATIONS,
    MAX_LIST_BYTES,
    HtmlListProvider,
    JsonAListProvider,
    channel_target,
)

PAGE = b"""<!doctype html><title>Apps</title><ul>
<li><a href="apps/whiteboard/" data-app-id="wb" data-phase="INCALL" data-icon="i.png"
   data-etag="e1">White&amp;board</a>
<li><a href="/apps/file-drop.html">  File
   drop </a><a href="?game=1" data-app-id="game"></a>
<a href="https://evil.example/x">out</a> <a href="javascript:alert(1)">js</a>
<a href="#top">top</a> <a href="//evil/x">out</a> <a name="x">anchor</a>
<a href="apps/other/wb" data-app-id="wb">twice</a></ul>"""


@pytest.mark.clause("TS 23.228 AC.7.1")
def test_links_of_the_root_page_are_the_applications() -> None:
    provider = HtmlListProvider()
    assert provider.list_target() == "/"
    entries = provider.parse(200, "text/html; charset=utf-8", PAGE)
    assert [(entry.app_id, entry.name, entry.url) for entry in entries] == [
        ("wb", "White&board", "/apps/whiteboard/"),
        ("file-drop", "File drop", "/apps/file-drop.html"),
        ("game", "game", "/?game=1"),
    ]
    assert (entries[0].phase, entries[0].etag, entries[0].icon_url) == ("INCALL", "e1", "/i.png")


def test_a_page_without_links_is_an_empty_list() -> None:
    assert HtmlListProvider().parse(200, "text/html", b"<p>nothing yet") == []


@pytest.mark.parametrize(
    ("href", "target"),
    [
        ("/a b", "/a%20b"),
        ("x?y=\u00e9", "/x?y=%C3%A9"),
        ("../../x", "/x"),
        ("http://[bad/", None),
        ("mailto:a@b", None),
        ("", None),
        ("/", None),
    ],
)
def test_links_are_taken_only_when_they_stay_on_the_channel(href: str, target: str | None) -> None:
    assert channel_target(href) == target


LIST_A = {
    "appNum": 2,
    "totalAppNum": 2,
    "beginIndex": 0,
    "ifPeerSupportDC": True,
    "applications": [
        {
            "appid": "wb 1",
            "appName": "Whiteboard",
            "appIcon": "/i.png",
            "autolaunch": False,
            "etag": '"e"',
            "ifWorkWithoutPeerDC": "false",
            "phase": "incall",
            "qos-hint": "loss=0.01;latency=100",
            "supportScene": 3,
        },
        {"appid": 7},
    ],
}


def test_an_operators_json_list_is_read() -> None:
    provider = JsonAListProvider(page_size=5)
    assert provider.list_target() == "/applicationlist?begin-index=0&app-num=5&sdkVersion=1"
    first, second = provider.parse(200, "application/json", json.dumps(LIST_A).encode())
    assert (first.app_id, first.name, first.etag) == ("wb 1", "Whiteboard", '"e"')
    assert first.url == "/applications?appid=wb%201&sdkVersion=1"
    assert (first.phase, first.needs_peer_dc) == ("INCALL", True)
    assert first.qos_hint == "loss=0.01;latency=100"
    assert (second.app_id, second.name, second.needs_peer_dc) == ("7", "7", False)


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (404, "text/html", b""),
        (200, "application/zip", b"PK"),
        (200, "", b""),
        (200, "text/html", b" " * (MAX_LIST_BYTES + 1)),
        (200, "text/html", b"<a href=x>y</a>" * (MAX_APPLICATIONS + 1)),
    ],
)
def test_what_is_no_html_list_is_refused(status: int, content_type: str, body: bytes) -> None:
    with pytest.raises(ParseError):
        HtmlListProvider().parse(status, content_type, body)


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        '{"applications": {}}',
        '{"applications": [1]}',
        '{"applications": [{"appName": "x"}]}',
        '{"applications": [{"appid": ""}]}',
        '{"applications": [{"appid": true}]}',
        '{"applications": [{"appid": 99999999999999999999}]}',
        '{"applications": [{"appid": "a", "appName": []}]}',
        '{"applications": [{"appid": "a", "ifWorkWithoutPeerDC": "maybe"}]}',
        '{"applications": [{"appid": "\\ud800"}]}',
        json.dumps({"applications": [{"appid": "x" * 3000}]}),
        json.dumps({"applications": [{"appid": "x"}] * (MAX_APPLICATIONS + 1)}),
        "[" * 100_000,
    ],
)
def test_what_is_no_json_list_is_refused(document: str) -> None:
    with pytest.raises(ParseError):
        JsonAListProvider().parse(200, "application/json", document.encode())


@given(st.binary(max_size=400) | st.text("<>!-[]a hre=f\"'/&;#x?", max_size=80).map(str.encode))
def test_any_bytes_are_a_list_or_a_parse_error(body: bytes) -> None:
    for provider, content_type in (
        (HtmlListProvider(), "text/html"),
        (JsonAListProvider(), "application/json"),
    ):
        with contextlib.suppress(ParseError):
            provider.parse(200, content_type, body)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["appid", "appName", "phase", "etag", "ifWorkWithoutPeerDC"]), inner
        )
    ),
    max_leaves=10,
)


@given(st.lists(_JSON, max_size=4))
def test_any_json_is_a_list_or_a_parse_error(applications: list[object]) -> None:
    body = json.dumps({"applications": applications}).encode()
    with contextlib.suppress(ParseError):
        JsonAListProvider().parse(200, "application/json", body)


@given(st.lists(st.text(string.ascii_letters + string.digits + "-_.", min_size=1), unique=True))
def test_app_ids_survive_an_html_list(app_ids: list[str]) -> None:
    page = "".join(f'<a href="apps/x{i}" data-app-id="{a}">n</a>' for i, a in enumerate(app_ids))
    entries = HtmlListProvider().parse(200, "text/html", page.encode())
    assert [entry.app_id for entry in entries] == app_ids
