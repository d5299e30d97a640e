"""A relay of datagrams between two ends on loopback, which loses some of them."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

HOST = "127.0.0.1"
_PORT = re.compile(r"(?m)^(m=application )[0-9]+ ")


class _Side(asyncio.DatagramProtocol):
    """The socket that one end sends to."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.other: _Side
        self.end: Any = None
        self.transport: Any = None
        self.lost = 0
        self.on_lost: Callable[[], None] = lambda: None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.end = addr
        if self._relay.loses():
            self.lost += 1
            self.on_lost()
        elif self.other.end is not None:
            self.other.transport.sendto(data, self.other.end)


class Relay:
    """Passes datagrams on; the same ones are lost in every run, as far as timing lets it.

    Attributes:
        loss: part of the datagrams that is lost from now on, 0..1.
    """

    def __init__(self) -> None:
        self.loss = 0.0
        self._random = random.Random(1)
        self.ours, self.theirs = _Side(self), _Side(self)
        self.ours.other, self.theirs.other = self.theirs, self.ours

    def loses(self) -> bool:
        """Decide about the next datagram."""
        return self.loss > 0 and self._random.random() < self.loss

    async def lose(self, loss: float, count: int) -> None:
        """Lose that part of the datagrams until so many are lost each way.

        Args:
            loss: 0..1.
            count: datagrams.
        """
        done = asyncio.Event()

        def look() -> None:
            if min(side.lost for side in sides) >= count:
                done.set()

        sides = (self.ours, self.theirs)
        for side in sides:
            side.lost, side.on_lost = 0, look
        self.loss = loss
        await done.wait()
        self.loss = 0.0

    def sdp_for_us(self, sdp: str) -> str:
        """Return the peer's SDP, leading to the relay."""
        return self._moved(self.theirs, self.ours, sdp)

    def sdp_for_them(self, sdp: str) -> str:
        """Return our SDP, leading to the relay."""
        return self._moved(self.ours, self.theirs, sdp)

    @staticmethod
    def _moved(end_of: _Side, side: _Side, sdp: str) -> str:
        """Remember where the end is; say that it is at ``side``."""
        found = _PORT.search(sdp)
        assert found is not None
        end_of.end = (HOST, int(found[0].split()[1]))
        return _PORT.sub(rf"\g<1>{side.transport.get_extra_info('sockname')[1]} ", sdp)


@asynccontextmanager
async def lossy_relay() -> AsyncIterator[Relay]:
    """Make a relay that loses nothing yet."""
    loop = asyncio.get_running_loop()
    relay = Relay()
    for side in (relay.ours, relay.theirs):
        await loop.create_datagram_endpoint(lambda side=side: side, (HOST, 0))  # type: ignore[misc]
    try:
        yield relay
    finally:
        for side in (relay.ours, relay.theirs):
            side.transport.abort()
