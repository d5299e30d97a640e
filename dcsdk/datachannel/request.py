"""A data channel the other side asks for."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from dcsdk.datachannel.line import ChannelLine
from dcsdk.errors import ChannelClosed, LocalProtocolError
from dcsdk.interfaces.carriers import AppProtocol
from dcsdk.io.request import PendingRequest
from dcsdk.sdp.dcmap import Dcmap

App = TypeVar("App")


class ChannelRequest(PendingRequest):
    """One channel of the peer's re-offer, to be accepted or refused.

    A request that is not decided in ``request_timeout_s`` is refused.

    Attributes:
        dcmap: the channel as offered.
        line: where it would be.
    """

    def __init__(self, dcmap: Dcmap, line: ChannelLine) -> None:
        super().__init__(f"channel {dcmap.stream_id}")
        self.dcmap = dcmap
        self.line = line

    @property
    def stream_id(self) -> int:
        """The channel's stream id."""
        return self.dcmap.stream_id

    @property
    def label(self) -> str:
        """The channel's label."""
        return self.dcmap.label

    @property
    def subprotocol(self) -> str:
        """The RFC 8864 subprotocol, ``""`` for raw text and binary."""
        return self.dcmap.subprotocol

    @property
    def app_id(self) -> str | None:
        """The application the channel belongs to, or ``None``."""
        return self.line.app_id

    @overload
    async def accept(self) -> Any: ...

    @overload
    async def accept(self, protocol: type[AppProtocol[App]]) -> App: ...

    async def accept(self, protocol: type[AppProtocol[Any]] | None = None) -> Any:
        """Take the channel and wait until it is open.

        Args:
            protocol: what is expected to run on it, so that the result has a type.

        Returns:
            What the application protocol makes of the channel, or the
            :class:`dcsdk.DataChannel` itself when no protocol of that name is loaded.

        Raises:
            ChannelClosed: decided before, or too late.
            CallRejected: the other side took its request back.
            LocalProtocolError: the channel is for another protocol than ``protocol``.
            SecurityError, TransportError, OperationTimeout: the channel did not come up.
        """
        if protocol is not None and protocol.subprotocol != self.subprotocol:
            self.refuse()
            raise LocalProtocolError(
                f"channel {self.stream_id} is for {self.subprotocol!r}, "
                f"not {protocol.subprotocol!r}"
            )
        await self._accept()
        channel = self.line.channels.get(self.stream_id)
        if channel is None:
            raise ChannelClosed(f"channel {self.stream_id} closed before it was used")
        return self.line.start_protocol(channel, is_opener=False)
