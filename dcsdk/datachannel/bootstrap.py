"""The bootstrap channels of a session: application list and mini-apps (TS 23.228 AC.7.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcsdk.datachannel.line import ChannelLine
from dcsdk.errors import ConfigError, NegotiationError, ParseError, UnsupportedByPeer
from dcsdk.ims.mini_app import MiniApp
from dcsdk.interfaces import AppEntry, AppProtocol, ListProvider
from dcsdk.io.tasks import finish_all
from dcsdk.security import SecurityReport

if TYPE_CHECKING:
    import httpx2


class Bootstrap:
    """The local bootstrap line of a session: stream 0 is the network's, 10 the user's own.

    Args:
        line: the line, or ``None`` when the session has none.
        http: the application protocol ``http``.
        provider: reads the application list.
    """

    def __init__(
        self, line: ChannelLine | None, *, http: AppProtocol[Any] | None, provider: ListProvider
    ) -> None:
        self._line = line
        self._http = http
        self._provider = provider
        self._protocols: dict[int, Any] = {}

    @property
    def is_available(self) -> bool:
        """The network took at least one bootstrap channel."""
        return self._line is not None and not self._line.is_closed and bool(self._line.channels)

    @property
    def stream_ids(self) -> tuple[int, ...]:
        """The bootstrap channels the network took, in order."""
        return tuple(sorted(self._line.channels)) if self._line is not None else ()

    @property
    def security(self) -> SecurityReport:
        """What protects the bootstrap line.

        Raises:
            UnsupportedByPeer: there is none.
        """
        return self._require_line().security

    def _require_line(self) -> ChannelLine:
        if self._line is None or not self.is_available:
            raise UnsupportedByPeer(
                "the session has no bootstrap channel: not asked for, or the network refused it",
                source="TS 24.186 9.3.2.2.1",
            )
        return self._line

    def client(self, stream_id: int = 0) -> httpx2.AsyncClient:
        """Return the HTTP client of one bootstrap channel.

        Args:
            stream_id: 0 or 10.

        Raises:
            UnsupportedByPeer: the network did not take that channel.
        """
        channel = self._require_line().channels.get(stream_id)
        if channel is None:
            raise UnsupportedByPeer(f"the network did not take bootstrap channel {stream_id}")
        if stream_id not in self._protocols:
            if self._http is None:
                raise ConfigError("no application protocol 'http' is loaded")
            self._protocols[stream_id] = self._http.start(channel, is_opener=True)
        client: httpx2.AsyncClient = self._protocols[stream_id].client
        return client

    async def applications(self) -> list[AppEntry]:
        """Fetch the application list of the network.

        Raises:
            UnsupportedByPeer: no bootstrap channel.
            NegotiationError: the network answered with an error status.
            ParseError: what came is no list of the configured flavour.
            TransportError: the channel failed.
        """
        stream_id = (*self.stream_ids, 0)[0]
        response = await self.client(stream_id).get(self._url(self._provider.list_target()))
        if response.status_code != 200:
            raise NegotiationError(f"the application list came with status {response.status_code}")
        return self._provider.parse(
            response.status_code, response.headers.get("content-type", ""), response.content
        )

    async def fetch(self, app: AppEntry, known: MiniApp | None = None) -> MiniApp:
        """Fetch a mini-app. It is never executed.

        Args:
            app: from :meth:`applications`.
            known: what an earlier call gave; sent as ``If-None-Match`` and returned when the
                network says it is unchanged.

        Raises:
            UnsupportedByPeer: no bootstrap channel.
            NegotiationError: the network answered with an error status.
            TransportError: the channel failed.
        """
        headers = {}
        if known is not None and known.etag is not None:
            headers["if-none-match"] = known.etag
        stream_id = (*self.stream_ids, 0)[0]
        response = await self.client(stream_id).get(self._url(app.url), headers=headers)
        if response.status_code == 304 and known is not None:
            return known
        if response.status_code != 200:
            raise NegotiationError(f"app {app.app_id} came with status {response.status_code}")
        return MiniApp.from_response(
            app_id=app.app_id,
            content_type=response.headers.get("content-type", ""),
            body=response.content,
            etag=response.headers.get("etag"),
        )

    @staticmethod
    def _url(target: str) -> str:
        if not target.startswith("/") or target.startswith("//"):
            raise ParseError("an application's URL leads off the channel")
        return f"http://localhost{target}"

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Close the HTTP clients. Idempotent and bounded by ``timeout_s`` seconds."""
        protocols, self._protocols = self._protocols, {}
        await finish_all(protocol.aclose(timeout_s) for protocol in protocols.values())
