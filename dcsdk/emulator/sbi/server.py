"""An HTTP server of one network function, inside our event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, cast

from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.emulator.sbi.json_object import encode_json, parse_json
from dcsdk.emulator.sbi.problem import PROBLEM_TYPE, SbiProblem
from dcsdk.errors import ConfigError, DcsdkError, ParseError
from dcsdk.interfaces import Address

logger = logging.getLogger(__name__)

MAX_JSON_BYTES = 1 << 20
MAX_TRACED_BYTES = 64 * 1024
"""Of one body; the trace bus keeps many messages."""

MAX_REQUESTS = 1000
"""Requests served at a time; more are told 503."""

GRACE_S = 1.0
"""Requests under way get this long to end when the server closes."""

CLOSE_TIMEOUT_S = 5.0
BACKLOG = 128

Handler = Callable[[Request], Awaitable[Response]]


class JsonResponse(Response):
    """A JSON body."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Write the body."""
        return encode_json(content)


class ProblemResponse(JsonResponse):
    """An ``application/problem+json`` body."""

    media_type = PROBLEM_TYPE

    def __init__(self, problem: SbiProblem) -> None:
        super().__init__(problem.to_json(), status_code=problem.status)


async def read_body(request: Request, limit_bytes: int = MAX_JSON_BYTES) -> bytes:
    """Read a request's body.

    Raises:
        SbiProblem: 413, it is larger.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit_bytes:
                raise SbiProblem(413, "Content Too Large")
    except ClientDisconnect as exc:
        raise SbiProblem(400, "Bad Request", detail="the body ended early") from exc
    return bytes(body)


async def read_json(request: Request, content_type: str = "application/json") -> Any:
    """Read a JSON body.

    Raises:
        SbiProblem: 415, another content type; 413, too large.
        ParseError: not JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != content_type:
        raise SbiProblem(415, "Unsupported Media Type", detail=f"expected {content_type}")
    return parse_json(await read_body(request))


def route(path: str, handler: Handler, method: str) -> Route:
    """Make a route whose errors are told as problems (TS 29.500 5.2.7).

    ``SbiProblem`` is told as it is, ``ParseError`` is 400, another error of ours 500.
    """

    async def endpoint(request: Request) -> Response:
        try:
            return await handler(request)
        except SbiProblem as exc:
            return ProblemResponse(exc)
        except ParseError as exc:
            problem = SbiProblem(400, "Bad Request", detail=str(exc), cause="INVALID_MSG_FORMAT")
            return ProblemResponse(problem)
        except DcsdkError as exc:
            logger.warning("path=%s error=%s", request.url.path, exc)
            problem = SbiProblem(500, "Internal Server Error", cause="SYSTEM_FAILURE")
            return ProblemResponse(problem)

    return Route(path, endpoint, methods=[method])


async def _http_exception(request: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    title = exc.detail if isinstance(exc, HTTPException) else "Internal Server Error"
    return ProblemResponse(SbiProblem(status, title))


class SbiServer:
    """An HTTP/1.1 server on one socket of the loopback.

    Args:
        name: of the network function, for the trace and the log.
        routes: made by :func:`route`.
        host: address to bind.
        port: 0 for any.
        trace: gets every request and response.

    Attributes:
        name: of the network function.
    """

    def __init__(
        self,
        name: str,
        routes: Sequence[Route],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        trace: TraceBus | None = None,
    ) -> None:
        self.name = name
        self._host, self._port = host, port
        self._trace = trace
        self._app = Starlette(
            routes=list(routes),
            exception_handlers={HTTPException: _http_exception, Exception: _http_exception},
        )
        self._active: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._address: Address | None = None

    @property
    def address(self) -> Address:
        """Where the server listens; known after :meth:`start`."""
        if self._address is None:
            raise ConfigError(f"the HTTP server of {self.name} is not started")
        return self._address

    @property
    def base_url(self) -> str:
        """``http://host:port``, without a slash at the end."""
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def start(self) -> None:
        """Bind the socket and serve; connections are taken from here on.

        Raises:
            ConfigError: the address cannot be bound.
        """
        listener = _listen(self._host, self._port)
        self._address = listener.getsockname()[:2]
        if self._trace is not None:
            self._trace.name_address(self._address, self.name)
        config = Config()
        config.bind = [f"fd://{listener.detach()}"]
        config.errorlog = logging.getLogger(f"{__name__}.{self.name}")
        config.accesslog = None
        config.include_server_header = False
        config.graceful_timeout = GRACE_S
        config.keep_alive_timeout = 60
        self._task = asyncio.create_task(
            serve(cast(Any, self._serve), config, shutdown_trigger=self._stop.wait, mode="asgi"),
            name=f"{self.name} HTTP server",
        )

    async def aclose(self) -> None:
        """Stop taking requests, let those under way end, and close the socket. Idempotent."""
        if self._task is None:
            return
        task, self._task = self._task, None
        if self._active:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE_S):
                    await self._idle.wait()
        for active in self._active:
            active.cancel()
        self._stop.set()
        _, pending = await asyncio.wait([task], timeout=CLOSE_TIMEOUT_S)
        for late in pending:
            late.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # --- inside ----------------------------------------------------------------------------------
    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if len(self._active) >= MAX_REQUESTS:
            problem = SbiProblem(503, "Service Unavailable", cause="NF_CONGESTION")
            await ProblemResponse(problem)(scope, receive, send)
            return
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an HTTP request runs outside a task")
        self._active.add(task)
        try:
            if self._trace is None:
                await self._app(scope, receive, send)
            else:
                tracer = _Tracer(self._trace, self.name, scope, receive, send)
                await self._app(scope, tracer.receive, tracer.send)
        finally:
            self._active.discard(task)
            if not self._active:
                self._idle.set()


class _Tracer:
    """Copies one exchange to the trace bus while it passes."""

    def __init__(
        self, trace: TraceBus, name: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._trace = trace
        self._name = name
        self._receive, self._send = receive, send
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        # TS 29.500 5.2.2: User-Agent begins with the NF type of the client.
        self._peer = headers.get(b"user-agent", "").partition("/")[0] or "HTTP client"
        target = scope["raw_path"].decode("latin-1")
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode("latin-1")
        self._request_line = f"{scope['method']} {target}"
        self._request = bytearray()
        self._response = bytearray()
        self._status = 0
        self._is_request_told = False
        if not {b"content-length", b"transfer-encoding"} & headers.keys():
            self._tell_request()

    def _tell_request(self) -> None:
        if not self._is_request_told:
            self._is_request_told = True
            self._trace.publish(
                source=self._peer,
                destination=self._name,
                protocol="HTTP",
                summary=self._request_line,
                data=bytes(self._request),
            )

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            room = MAX_TRACED_BYTES - len(self._request)
            self._request += message.get("body", b"")[:room]
            if not message.get("more_body", False):
                self._tell_request()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._tell_request()
            self._status = message["status"]
        elif message["type"] == "http.response.body":
            room = MAX_TRACED_BYTES - len(self._response)
            self._response += message.get("body", b"")[:room]
            if not message.get("more_body", False):
                self._trace.publish(
                    source=self._name,
                    destination=self._peer,
                    protocol="HTTP",
                    summary=f"{self._status} ({self._request_line})",
                    data=bytes(self._response),
                )
        await self._send(message)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        raise ConfigError(f"cannot listen on {host} port {port}: {exc.strerror or exc}") from exc
    return listener
