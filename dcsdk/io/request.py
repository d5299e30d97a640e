"""Something the other side asks for, which the program decides on within a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dcsdk.errors import CallRejected, ChannelClosed
from dcsdk.interfaces.signalling import Reoffer


class PendingRequest:
    """Accepted, refused, or given up; then up, or failed.

    A request that is not decided in ``request_timeout_s`` is refused.

    Args:
        what: names it in messages.

    Attributes:
        decision: done once the program has decided, with whether it accepted.
    """

    def __init__(self, what: str) -> None:
        loop = asyncio.get_running_loop()
        self._what = what
        self.decision: asyncio.Future[bool] = loop.create_future()
        self._outcome: asyncio.Future[Exception | None] = loop.create_future()

    @property
    def is_waiting(self) -> bool:
        """Nobody has decided it yet, and it has not been given up."""
        return not self.decision.done() and not self._outcome.done()

    @property
    def is_accepted(self) -> bool:
        """The program accepted it in time."""
        return self.decision.done() and self.decision.result()

    def refuse(self) -> None:
        """Leave it out of the answer."""
        if not self.decision.done():
            self.decision.set_result(False)

    async def _accept(self) -> None:
        """Accept, and wait until it is up.

        Raises:
            ChannelClosed: decided before, or too late.
            CallRejected: the other side took its request back.
            SecurityError, TransportError, OperationTimeout: it did not come up.
        """
        if not self.is_waiting:
            if self._outcome.done() and (error := self._outcome.result()) is not None:
                raise error
            raise ChannelClosed(f"the request for {self._what} is decided already")
        self.decision.set_result(True)
        if (error := await asyncio.shield(self._outcome)) is not None:
            raise error

    # --- the session's side ----------------------------------------------------------------------
    def opened(self) -> None:
        """It is up."""
        if not self.is_accepted:
            self.refuse()
        if not self._outcome.done():
            self._outcome.set_result(None)

    def fail(self, error: Exception) -> None:
        """It did not come up."""
        self.refuse()
        if not self._outcome.done():
            self._outcome.set_result(error)


async def wait_decided(
    requests: Sequence[PendingRequest], reoffer: Reoffer, timeout_s: float
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
