"""Two flavours of application list: an HTML page, and one operator's JSON.

Only the root request is standard (TS 23.228 AC.7.1 step 20); what it returns is not. Both readers
take any bytes and give a list or a ``ParseError``.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar
from urllib.parse import quote, unquote, urljoin, urlsplit

from dcsdk.errors import ParseError
from dcsdk.interfaces import AppEntry, ListProvider
from dcsdk.plugins.lists.html_links import MAX_LINKS, MAX_TEXT_LENGTH, read_links

MAX_LIST_BYTES = 256 * 1024
MAX_APPLICATIONS = MAX_LINKS
SDK_VERSION = "1"

_CHANNEL_ROOT = "http://localhost/"
_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_JSON_TYPES = frozenset({"application/json"})
_SOURCE = "TS 23.228 AC.7.1"


def _check(status: int, content_type: str, body: bytes, wanted: frozenset[str]) -> str:
    """Return the list's text, or say why it is no list."""
    if status != 200:
        raise ParseError(f"expected 200 for the application list, got {status}", source=_SOURCE)
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in wanted:
        expected = " or ".join(sorted(wanted))
        raise ParseError(f"expected {expected} for the application list, got {kind[:64]!r}")
    if len(body) > MAX_LIST_BYTES:
        raise ParseError(f"application list larger than {MAX_LIST_BYTES} bytes")
    return body.decode("utf-8", errors="replace")


def _text(value: Any, name: str) -> str:
    """Return a text or a number as text, bounded."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ParseError(f"expected text in {name} of the application list")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ParseError(f"{name} is too large in the application list")
    text = str(value)
    if len(text) > MAX_TEXT_LENGTH:
        raise ParseError(f"{name} is longer than {MAX_TEXT_LENGTH} in the application list")
    return text


def _optional_text(value: Any, name: str) -> str | None:
    return None if value is None or value == "" else _text(value, name)


def channel_target(href: str) -> str | None:
    """Return the request target a link of the root page leads to on the channel.

    ``None`` for a link that leads off the channel, or nowhere: the fragment of a page, another
    host, ``javascript:``.
    """
    try:
        parts = urlsplit(urljoin(_CHANNEL_ROOT, href.strip()))
    except ValueError:
        return None
    if f"{parts.scheme}://{parts.netloc}/" != _CHANNEL_ROOT:
        return None
    if parts.path == "/" and not parts.query:
        return None
    try:
        target = quote(parts.path, safe="/%:@!$&'()*+,;=~")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    except UnicodeEncodeError:
        return None
    return f"{target}?{query}" if query else target


class HtmlListProvider(ListProvider):
    """``GET /`` gives a page; each link on it that stays on the channel is an application.

    ``data-app-id``, ``data-phase``, ``data-etag`` and ``data-icon`` of a link are read when there;
    without ``data-app-id`` the last part of the path names the application.
    """

    name: ClassVar[str] = "html"

    def list_target(self) -> str:
        """Return ``"/"`` (TS 23.228 AC.7.1 step 20)."""
        return "/"

    def parse(self, status: int, content_type: str, body: bytes) -> list[AppEntry]:
        """Read the page.

        Raises:
            ParseError: not 200, not HTML, too large, or too many links.
        """
        text = _check(status, content_type, body, _HTML_TYPES)
        entries: dict[str, AppEntry] = {}
        for link in read_links(text):
            attributes = link.attributes
            target = channel_target(attributes["href"])
            if target is None or len(target) > MAX_TEXT_LENGTH:
                continue
            parts = unquote(target.partition("?")[0]).strip("/").rsplit("/", 1)
            app_id = attributes.get("data-app-id") or parts[-1].removesuffix(".html")
            if not app_id or len(app_id) > MAX_TEXT_LENGTH or app_id in entries:
                continue
            entries[app_id] = AppEntry(
                app_id=app_id,
                name=(link.text or app_id)[:MAX_TEXT_LENGTH],
                url=target,
                icon_url=channel_target(attributes.get("data-icon", "")),
                etag=attributes.get("data-etag") or None,
                phase=attributes.get("data-phase") or None,
            )
        return list(entries.values())


class JsonAListProvider(ListProvider):
    """One operator's flavour: ``GET /applicationlist`` gives JSON, ``GET /applications`` a package.

    Args:
        page_size: applications asked for.
    """

    name: ClassVar[str] = "json_a"

    def __init__(self, page_size: int = 200) -> None:
        self._page_size = page_size

    def list_target(self) -> str:
        """Return the target of the list request."""
        return f"/applicationlist?begin-index=0&app-num={self._page_size}&sdkVersion={SDK_VERSION}"

    def parse(self, status: int, content_type: str, body: bytes) -> list[AppEntry]:
        """Read the list; fields we do not know are skipped.

        Raises:
            ParseError: not 200, not JSON, too large, or a field of the wrong kind.
        """
        text = _check(status, content_type, body, _JSON_TYPES)
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise ParseError("the application list is no JSON") from exc
        applications = document.get("applications") if isinstance(document, dict) else None
        if not isinstance(applications, list):
            raise ParseError("the application list has no applications[]")
        if len(applications) > MAX_APPLICATIONS:
            raise ParseError(f"more than {MAX_APPLICATIONS} applications in the list")
        return [_json_entry(item) for item in applications]


def _json_entry(item: Any) -> AppEntry:
    if not isinstance(item, dict) or "appid" not in item:
        raise ParseError("an application of the list has no appid")
    app_id = _text(item["appid"], "appid")
    if not app_id:
        raise ParseError("an application of the list has an empty appid")
    try:
        quoted = quote(app_id, safe="")
    except UnicodeEncodeError as exc:
        raise ParseError("an appid of the list is no UTF-8") from exc
    phase = _optional_text(item.get("phase"), "phase")
    return AppEntry(
        app_id=app_id,
        name=_optional_text(item.get("appName"), "appName") or app_id,
        url=f"/applications?appid={quoted}&sdkVersion={SDK_VERSION}",
        icon_url=_optional_text(item.get("appIcon"), "appIcon"),
        etag=_optional_text(item.get("etag"), "etag"),
        phase=None if phase is None else phase.upper(),
        needs_peer_dc=not _flag(item.get("ifWorkWithoutPeerDC", True), "ifWorkWithoutPeerDC"),
        qos_hint=_optional_text(item.get("qos-hint"), "qos-hint"),
    )


def _flag(value: Any, name: str) -> bool:
    """Read a boolean in the spellings seen."""
    if value in (True, "true", "True", "1"):
        return True
    if value in (False, "false", "False", "0", None, ""):
        return False
    raise ParseError(f"expected true or false in {name} of the application list")
