"""The trace bus: every message between the emulator's functions, and to and from UEs, crosses it.

Call-flow ladders, captures and the tests' "nothing was sent on media" checks all read from here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dcsdk.errors import OperationTimeout
from dcsdk.interfaces import Address

logger = logging.getLogger(__name__)

DEFAULT_CAPACITY = 20_000
"""Events kept; the oldest go first."""

MAX_SUBSCRIBERS = 256
MAX_NAMES = 65_536
"""Addresses with a name; the oldest are forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEvent:
    """One message.

    Attributes:
        time: when it was sent, seconds since the epoch.
        source: who sent it: ``"P-CSCF"``, ``"alice"``, or an address as text.
        destination: who gets it.
        protocol: ``"SIP"``, ``"HTTP"``, ``"DTLS"`` ...
        summary: one line for people: ``"REGISTER"``, ``"401 Unauthorized (REGISTER)"``.
        data: the message as on the wire, before transport encryption.
    """

    time: float
    source: str
    destination: str
    protocol: str
    summary: str
    data: bytes = b""


TraceSubscriber = Callable[[TraceEvent], None]


class TraceBus:
    """Keeps the last messages and tells subscribers of each one.

    A subscriber runs inside the sender's call: it must be quick and must not block. One that
    raises is logged and dropped, so that a broken viewer cannot break the network.

    Args:
        capacity: events kept, > 0.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._events: deque[TraceEvent] = deque(maxlen=capacity)
        self._subscribers: list[TraceSubscriber] = []
        self._names: dict[tuple[Address, Address | None], str] = {}

    def __iter__(self) -> Iterator[TraceEvent]:
        return iter(tuple(self._events))

    def __len__(self) -> int:
        return len(self._events)

    @property
    def events(self) -> tuple[TraceEvent, ...]:
        """The events kept, oldest first."""
        return tuple(self._events)

    def name_address(self, address: Address, name: str) -> None:
        """Say who listens at an address, so that events carry names instead of ports."""
        self._name((address, None), name)

    def name_connection(self, address: Address, name: str, peer: Address) -> None:
        """Say who opened a connection: one port may serve several, each to another peer.

        Args:
            address: of the one who opened it.
            name: of that one.
            peer: the other end.
        """
        self._name((address, peer), name)

    def forget_connection(self, address: Address, peer: Address) -> None:
        """A connection is over; the next one with its ports may be another's."""
        self._names.pop((address, peer), None)

    def _name(self, key: tuple[Address, Address | None], name: str) -> None:
        self._names.pop(key, None)
        while len(self._names) >= MAX_NAMES:
            del self._names[next(iter(self._names))]
        self._names[key] = name

    def has_name(self, address: Address, peer: Address | None = None) -> bool:
        """Whether somebody said who listens here, or who opened the connection to ``peer``."""
        return (address, None) in self._names or (address, peer) in self._names

    def name_of(self, address: Address, peer: Address | None = None) -> str:
        """Return who opened a connection, or who listens; as text when nobody said so."""
        name = self._names.get((address, peer)) or self._names.get((address, None))
        host, port = address
        return name or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    def publish(
        self, *, source: str, destination: str, protocol: str, summary: str, data: bytes = b""
    ) -> TraceEvent:
        """Record a message that is being sent now."""
        event = TraceEvent(
            time=time.time(),
            source=source,
            destination=destination,
            protocol=protocol,
            summary=summary,
            data=data,
        )
        self._events.append(event)
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(event)
            except Exception:
                logger.exception("a subscriber of the trace failed and is dropped")
                self._drop(subscriber)
        return event

    def subscribe(self, subscriber: TraceSubscriber) -> Callable[[], None]:
        """Call ``subscriber`` with each event from now on.

        Returns:
            A function that ends the subscription; calling it twice is no error.

        Raises:
            RuntimeError: there are ``MAX_SUBSCRIBERS`` already.
        """
        if len(self._subscribers) >= MAX_SUBSCRIBERS:
            raise RuntimeError(f"more than {MAX_SUBSCRIBERS} subscribers of the trace")
        self._subscribers.append(subscriber)
        return lambda: self._drop(subscriber)

    async def wait_for(
        self, predicate: Callable[[TraceEvent], bool], *, timeout_s: float = 10.0
    ) -> TraceEvent:
        """Return the first event, kept or to come, that ``predicate`` is true for.

        Args:
            predicate: what is waited for.
            timeout_s: longest wait, seconds.

        Raises:
            OperationTimeout: no such event in time.
        """
        for event in self._events:
            if predicate(event):
                return event
        found: asyncio.Future[TraceEvent] = asyncio.get_running_loop().create_future()

        def look(event: TraceEvent) -> None:
            if not found.done() and predicate(event):
                found.set_result(event)

        unsubscribe = self.subscribe(look)
        try:
            async with asyncio.timeout(timeout_s):
                return await found
        except TimeoutError:
            raise OperationTimeout(f"no such message in {timeout_s} s") from None
        finally:
            unsubscribe()

    def _drop(self, subscriber: TraceSubscriber) -> None:
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)


def format_ladder(events: Iterator[TraceEvent] | tuple[TraceEvent, ...]) -> str:
    """Write events as text, one line each: seconds, source, destination, summary."""
    rows = tuple(events)
    if not rows:
        return ""
    width = max(len(row.source) + len(row.destination) for row in rows) + 4
    return "\n".join(
        f"{row.time - rows[0].time:8.3f} "
        f"{f'{row.source} -> {row.destination}':<{width}} {row.protocol:<5} {row.summary}"
        for row in rows
    )
