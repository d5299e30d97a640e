"""A data channel the other side asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dcsdk.errors import CallRejected, ChannelClosed
from dcsdk.sdp.dcmap import Dcmap

if TYPE_CHECKING:
    from dcsdk.datachannel.line import ChannelLine
    from dcsdk.interfaces import Reoffer


class ChannelRequest:
    """One channel of the peer's re-offer, to be accepted or refused.

    A request that is not decided in ``request_timeout_s`` is refused.

    Attributes:
        dcmap: the channel as offered.
        app_id: the application it belongs to, or ``None``.
        line_index: place of its m-line.
        line: our line, once accepted.
    """

    def __init__(
        self,
        *,
        dcmap: Dcmap,
        app_id: str | None,
        line_index: int,
        start: Callable[..., Any],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.dcmap = dcmap
        self.app_id = app_id
        self.line_index = line_index
        self.line: ChannelLine | None = None
        self.decision: asyncio.Future[bool] = loop.create_future()
        self._outcome: asyncio.Future[Exception | None] = loop.create_future()
        self._start = start

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
    def is_waiting(self) -> bool:
        """Nobody has decided it yet, and it has not been given up."""
        return not self.decision.done() and not self._outcome.done()

    @property
    def is_accepted(self) -> bool:
        """The program accepted it in time."""
        return self.decision.done() and self.decision.result()

    async def accept(self) -> Any:
        """Take the channel and wait until it is open.

        Returns:
            What the application protocol makes of the channel, or the
            :class:`dcsdk.DataChannel` itself when no protocol of that name is loaded.

        Raises:
            ChannelClosed: decided before, or too late.
            CallRejected: the other side took its request back.
            SecurityError, TransportError, OperationTimeout: the channel did not come up.
        """
        if not self.is_waiting:
            if self._outcome.done() and (error := self._outcome.result()) is not None:
                raise error
            raise ChannelClosed(f"the request for channel {self.stream_id} is decided already")
        self.decision.set_result(True)
        error = await asyncio.shield(self._outcome)
        if error is not None:
            raise error
        channel = self.line.channels.get(self.stream_id) if self.line is not None else None
        if channel is None:
            raise ChannelClosed(f"channel {self.stream_id} closed before it was used")
        return self._start(channel, is_opener=False)

    def refuse(self) -> None:
        """Leave the channel out of the answer."""
        if not self.decision.done():
            self.decision.set_result(False)

    # --- the session's side --------------------------------------------------------------------
    def opened(self) -> None:
        """The channel is open."""
        if not self.is_accepted:
            self.refuse()
        if not self._outcome.done():
            self._outcome.set_result(None)

    def fail(self, error: Exception) -> None:
        """The channel did not come up."""
        self.refuse()
        if not self._outcome.done():
            self._outcome.set_result(error)


async def wait_decided(
    requests: Sequence[ChannelRequest], reoffer: Reoffer, timeout_s: float
) -> None:
    """Wait until the program has decided all requests of a re-offer, or ``timeout_s`` is over.

    Raises:
        CallRejected: the other side took its offer back, or hung up, meanwhile.
    """
    if not requests:
        return
    error = CallRejected("the other side took its offer back", status=487)

    async def give_up() -> None:
        await reoffer.wait_withdrawn()
        for request in requests:
            request.fail(error)

    giving_up = asyncio.create_task(give_up(), name="withdrawn re-offer")
    try:
        await asyncio.wait([request.decision for request in requests], timeout=timeout_s)
        if giving_up.done():
            raise error
    finally:
        giving_up.cancel()
        await asyncio.wait([giving_up])
