"""What the DCSF serves on MDC1: application lists and applications, in two flavours.

``html``: the list of a session and stream is a page at the replacement URL; its links lead to
``/apps/<id>/``. ``json_a``: ``/applicationlist`` and ``/applications``. Source: TS 23.228 AC.7.1
for the replacement of the root URL; the contents are not standardised.
"""

from __future__ import annotations

import hashlib
import html
import mimetypes
from collections.abc import Callable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dcsdk.emulator.dc.repository import AppRepository, StoredApp
from dcsdk.emulator.sbi.json_object import encode_json
from dcsdk.emulator.sbi.problem import SbiProblem
from dcsdk.emulator.sbi.server import route
from dcsdk.ims.mini_app import INDEX_NAME

MAX_LISTED = 200
"""Applications in one ``json_a`` answer."""


def list_path(session_id: str, stream_id: int) -> str:
    """Return the path of the list that takes the place of ``/`` on one bootstrap channel."""
    return f"/lists/{stream_id}/{quote(session_id, safe='')}"


class Mdc1Content:
    """The MDC1 side of a DCSF.

    Args:
        repository: the applications.
        is_known_session: whether a list may be given for a session.
    """

    def __init__(self, repository: AppRepository, is_known_session: Callable[[str], bool]) -> None:
        self._repository = repository
        self._is_known_session = is_known_session

    @property
    def routes(self) -> list[Route]:
        """Routes for an ``SbiServer``."""
        return [
            route("/lists/{stream_id:int}/{session_id:path}", self._html_list, "GET"),
            route("/apps/{app_id}/{path:path}", self._html_app, "GET"),
            route("/applicationlist", self._json_list, "GET"),
            route("/applications", self._json_app, "GET"),
        ]

    async def _html_list(self, request: Request) -> Response:
        if not self._is_known_session(request.path_params["session_id"]):
            raise SbiProblem(404, "Not Found", cause="SESSION_NOT_FOUND")
        items = "".join(_list_item(app) for app in self._repository.apps)
        page = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Applications'
            f"</title></head><body><h1>Applications</h1><ul>{items}</ul></body></html>"
        )
        return _cached(request, page.encode(), "text/html; charset=utf-8", None)

    async def _html_app(self, request: Request) -> Response:
        app = self._app(request.path_params["app_id"])
        path = request.path_params["path"] or INDEX_NAME
        content = app.files.get(path)
        if content is None:
            raise SbiProblem(404, "Not Found", cause="FILE_NOT_FOUND")
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        if kind.startswith("text/"):
            kind += "; charset=utf-8"
        return _cached(request, content, kind, app.etag if path == INDEX_NAME else None)

    async def _json_list(self, request: Request) -> Response:
        begin = _number(request, "begin-index", 0)
        count = min(_number(request, "app-num", MAX_LISTED), MAX_LISTED)
        apps = self._repository.apps
        listed = apps[begin : begin + count]
        document = {
            "appNum": len(listed),
            "totalAppNum": len(apps),
            "beginIndex": begin,
            "ifPeerSupportDC": True,
            "applications": [_json_item(app) for app in listed],
        }
        return _cached(request, encode_json(document), "application/json", None)

    async def _json_app(self, request: Request) -> Response:
        app = self._app(request.query_params.get("appid", ""))
        return _cached(request, app.package, "application/zip", app.etag)

    def _app(self, app_id: str) -> StoredApp:
        app = self._repository.get(app_id)
        if app is None:
            raise SbiProblem(404, "Not Found", cause="APPLICATION_NOT_FOUND")
        return app


def _list_item(app: StoredApp) -> str:
    attributes = {
        "href": f"/apps/{quote(app.app_id)}/",
        "data-app-id": app.app_id,
        "data-etag": app.etag,
        "data-phase": app.phase or "",
    }
    written = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
    return f"<li><a {written}>{html.escape(app.name)}</a></li>"


def _json_item(app: StoredApp) -> dict[str, object]:
    return {
        "appid": app.app_id,
        "appName": app.name,
        "autolaunch": False,
        "autoload": False,
        "etag": app.etag,
        "ifWorkWithoutPeerDC": not app.needs_peer_dc,
        "phase": app.phase or "",
        "qos-hint": app.qos_hint or "",
        "supportScene": 3,
    }


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise SbiProblem(400, "Bad Request", detail=f"{name} is no number")
    return int(text)


def _cached(request: Request, content: bytes, kind: str, etag: str | None) -> Response:
    """Answer 200, or 304 when the client has this content (RFC 9110 13.1.2)."""
    tag = etag or f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    known = request.headers.get("if-none-match", "")
    tags = {item.strip().removeprefix("W/") for item in known.split(",")}
    if tag in tags or "*" in tags:
        return Response(status_code=304, headers=headers)
    return Response(content, headers={**headers, "Content-Type": kind})
