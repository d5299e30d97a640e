"""An HTTP client of one network function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

from dcsdk.emulator.sbi.json_object import encode_json, parse_json
from dcsdk.emulator.sbi.problem import SbiProblem
from dcsdk.emulator.sbi.server import MAX_JSON_BYTES
from dcsdk.errors import OperationTimeout, ParseError, RemoteProtocolError, TransportError

DEFAULT_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SbiAnswer:
    """A successful response.

    Attributes:
        status: 200..299.
        headers: names in lower case.
        body: the decoded JSON, ``None`` for an empty body.
    """

    status: int
    headers: Mapping[str, str]
    body: Any


class SbiClient:
    """Calls service-based interfaces.

    Args:
        name: NF type of the caller, sent as ``User-Agent`` (TS 29.500 5.2.2).
        timeout_s: bound on one call, seconds.
    """

    def __init__(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._client = httpx2.AsyncClient(
            headers={"User-Agent": name},
            timeout=timeout_s,
            limits=httpx2.Limits(max_connections=MAX_CONNECTIONS),
            follow_redirects=False,
            trust_env=False,
        )

    async def call(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
    ) -> SbiAnswer:
        """Send a request and read its JSON answer.

        Args:
            method: of HTTP.
            url: absolute.
            body: JSON values, ``None`` for no body.
            content_type: of the body.

        Raises:
            SbiProblem: the other function refused.
            RemoteProtocolError: its answer cannot be read.
            OperationTimeout: no answer in time.
            TransportError: it cannot be reached.
        """
        content = None if body is None else encode_json(body)
        headers = {} if body is None else {"Content-Type": content_type}
        try:
            async with self._client.stream(
                method, url, content=content, headers=headers
            ) as response:
                data = bytearray()
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > MAX_JSON_BYTES:
                        raise RemoteProtocolError(f"the answer of {url} is too large")
        except httpx2.TimeoutException as exc:
            raise OperationTimeout(f"no answer from {url}") from exc
        except httpx2.TransportError as exc:
            raise TransportError(f"cannot reach {url}: {type(exc).__name__}") from exc
        return _answer(url, response.status_code, response.headers, bytes(data))

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def _answer(url: str, status: int, headers: Mapping[str, str], data: bytes) -> SbiAnswer:
    try:
        body = parse_json(data) if data else None
    except ParseError as exc:
        if status < 400:
            raise RemoteProtocolError(f"the answer of {url} is no JSON") from exc
        body = None
    if status >= 400:
        raise SbiProblem.from_json(status, body)
    if not 200 <= status < 300:
        raise RemoteProtocolError(f"unexpected status {status} from {url}")
    return SbiAnswer(
        status=status, headers={name.lower(): value for name, value in headers.items()}, body=body
    )
