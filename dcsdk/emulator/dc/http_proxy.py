"""The HTTP proxy of the MF: requests of a bootstrap channel go on to the DCSF (MDC1).

Source: TS 23.228 AC.7.1 steps 20-24, TS 33.328 N.3.1.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx2

from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.errors import ChannelClosed, DcsdkError, LocalProtocolError, RemoteProtocolError

logger = logging.getLogger(__name__)

UPSTREAM_TIMEOUT_S = 20.0
"""Below the UE's idle bound, so that the UE hears 504 instead of nothing."""

MAX_UPSTREAM_CONNECTIONS = 200
MAX_TRACED_BYTES = 64 * 1024

_HOP_BY_HOP = frozenset(
    [
        "connection",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ]
)
"""RFC 9110 7.6.1; and what the proxy says itself."""


class ProxiedExchange(Protocol):
    """One request on a channel, as the ``http`` application protocol hands it over."""

    method: str
    target: str
    headers: Any

    def body(self) -> AsyncIterator[bytes]: ...
    async def respond(self, status: int, headers: Any = None, body: Any = b"") -> None: ...


class ProxiedChannel(Protocol):
    """The server's side of the ``http`` application protocol."""

    def requests(self) -> AsyncIterator[ProxiedExchange]: ...
    async def aclose(self, timeout_s: float = ...) -> None: ...


def upstream_url(target: str, replacement_url: str) -> str:
    """Return where a request of the channel goes.

    The root is replaced by the replacement URL, with its query appended; any other target keeps
    its path and query and goes to the authority of the replacement URL.

    Args:
        target: as it came: origin form, or absolute form with any host.
        replacement_url: of ``ReplaceHttpUrl``.

    Raises:
        RemoteProtocolError: the target is neither.

    Source: TS 29.571 ``ReplaceHttpUrl``.
    """
    try:
        parts = urlsplit(target) if "://" in target.partition("?")[0] else None
    except ValueError as exc:
        raise RemoteProtocolError(f"bad HTTP request target {target[:64]!r}") from exc
    if parts is not None:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.startswith("/"):
        raise RemoteProtocolError(f"bad HTTP request target {target[:64]!r}")
    path, question, query = target.partition("?")
    if path == "/":
        if not question:
            return replacement_url
        return replacement_url + ("&" if "?" in replacement_url else "?") + query
    root = urlsplit(replacement_url)
    return f"{root.scheme}://{root.netloc}{target}"


class HttpProxy:
    """Forwards requests of channels by HTTP, streaming both ways.

    Args:
        name: NF type, sent as ``User-Agent``.
        trace: gets what passes on the channels, after decryption.
    """

    def __init__(self, name: str, trace: TraceBus | None = None) -> None:
        self._name = name
        self._trace = trace
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(UPSTREAM_TIMEOUT_S),
            limits=httpx2.Limits(max_connections=MAX_UPSTREAM_CONNECTIONS),
            follow_redirects=False,
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._client.aclose()

    async def serve(
        self,
        channel: ProxiedChannel,
        *,
        stream_id: int,
        peer: str,
        replacement_url: str,
    ) -> None:
        """Forward the requests of one channel until it closes.

        Args:
            channel: the server's side of the ``http`` protocol.
            stream_id: for the trace.
            peer: who is at the other end, for the trace.
            replacement_url: takes the place of ``/``.
        """
        try:
            async for exchange in channel.requests():
                await self._forward(exchange, stream_id, peer, replacement_url)
        except ChannelClosed:
            logger.debug("peer=%s stream_id=%d closed within a request", peer, stream_id)
        except DcsdkError as exc:
            logger.warning("peer=%s stream_id=%d channel reset: %s", peer, stream_id, exc)
        finally:
            await channel.aclose()

    async def _forward(
        self, exchange: ProxiedExchange, stream_id: int, peer: str, replacement_url: str
    ) -> None:
        line = f"{exchange.method} {exchange.target}"
        self._tell(peer, self._name, f"{line} (stream {stream_id})", b"")
        try:
            url = upstream_url(exchange.target, replacement_url)
            has_body = bool({"content-length", "transfer-encoding"} & set(exchange.headers))
            request = self._client.build_request(
                exchange.method,
                url,
                headers=self._headers(exchange.headers),
                content=exchange.body() if has_body else None,
            )
            response = await self._client.send(request, stream=True)
        except (RemoteProtocolError, httpx2.InvalidURL):
            await self._refuse(exchange, 400, peer, line)
        except httpx2.TimeoutException:
            await self._refuse(exchange, 504, peer, line)
        except httpx2.TransportError as exc:
            logger.warning("url=%s cannot be reached: %s", url, type(exc).__name__)
            await self._refuse(exchange, 502, peer, line)
        else:
            try:
                await self._answer(exchange, response, peer, line)
            finally:
                await response.aclose()

    async def _answer(
        self, exchange: ProxiedExchange, response: httpx2.Response, peer: str, line: str
    ) -> None:
        seen = bytearray()

        async def body() -> AsyncIterator[bytes]:
            try:
                async for chunk in response.aiter_raw():
                    seen.extend(chunk[: MAX_TRACED_BYTES - len(seen)])
                    yield chunk
            except httpx2.TransportError as exc:
                raise LocalProtocolError(f"the answer of MDC1 broke off: {exc}") from exc

        headers = [
            (name, value)
            for name, value in response.headers.multi_items()
            if name.lower() not in _HOP_BY_HOP
        ]
        try:
            await exchange.respond(response.status_code, headers, body())
        finally:
            self._tell(self._name, peer, f"{response.status_code} ({line})", bytes(seen))

    async def _refuse(self, exchange: ProxiedExchange, status: int, peer: str, line: str) -> None:
        self._tell(self._name, peer, f"{status} ({line})", b"")
        await exchange.respond(status)

    def _headers(self, headers: Any) -> list[tuple[str, str]]:
        passed = [
            (name, value)
            for name, value in headers.multi_items()
            if name.lower() not in _HOP_BY_HOP
        ]
        return [*passed, ("User-Agent", self._name)]

    def _tell(self, source: str, destination: str, summary: str, data: bytes) -> None:
        if self._trace is not None:
            self._trace.publish(
                source=source, destination=destination, protocol="DC", summary=summary, data=data
            )
