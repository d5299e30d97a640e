"""What the worker needs of a transport, and the content that every transport carries.

Every receiver does the same work: it compares each message, byte for byte and in order, with what
it must be. Nothing of that is left out for anybody.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import Any

END = b"\x00END"
"""Ends a run of messages."""

VARIANTS = 13
"""So many different messages follow each other, so that a lost or a swapped one is seen."""

OPEN_TIMEOUT_S = 20.0
END_TIMEOUT_S = 60.0
CHECK_EVERY_BYTES = 64 << 10
"""A sender looks at the clock, and lets others work, once for so much data."""
WRONG_ECHO = "the echo is not what was sent"


@cache
def messages_of(size: int) -> tuple[bytes, ...]:
    """Return the messages of a run, to be sent one after the other, again and again."""
    return tuple(hashlib.shake_128(b"%d %d" % (size, n)).digest(size) for n in range(VARIANTS))


class Sink:
    """Checks and counts what arrives.

    Attributes:
        count: messages that were right.
        started_s: when the first came, of ``time.perf_counter``.
        ended_s: when the last came.
        is_damaged: a message was not what it must be.
    """

    def __init__(self, size: int) -> None:
        self.expected = messages_of(size)
        self.count = 0
        self.started_s = self.ended_s = 0.0
        self.is_damaged = False

    def take(self, message: str | bytes) -> bool:
        """Take the next message; returns whether more are to come."""
        if message == self.expected[self.count % VARIANTS]:
            if not self.count:
                self.started_s = time.perf_counter()
            self.count += 1
            return True
        self.ended_s = time.perf_counter()
        self.is_damaged = message != END
        return False


class Session(ABC):
    """One end of one data channel, with the association under it."""

    @abstractmethod
    async def offer(self) -> str:
        """Describe our end; we are the one who calls."""

    @abstractmethod
    async def answer(self, offer: str) -> str:
        """Take the description of the other end, describe ours and begin."""

    @abstractmethod
    async def accept(self, answer: str) -> None:
        """Take the answer and begin."""

    @abstractmethod
    async def opened(self) -> None:
        """Wait until messages can be sent."""

    @abstractmethod
    async def blast(self, size: int, seconds: float) -> int:
        """Send for a time, then END; return how many messages it were."""

    @abstractmethod
    async def drain(self, sink: Sink) -> None:
        """Receive until END."""

    @abstractmethod
    async def ping(self, payload: bytes, count: int) -> list[float]:
        """Send a message and wait for its echo, ``count`` times; return the times, seconds."""

    @abstractmethod
    async def echo(self, count: int) -> None:
        """Send back ``count`` messages."""

    @abstractmethod
    async def close(self) -> None:
        """Close the channel and the association."""


class Engine(ABC):
    """Makes sessions."""

    version: str

    def __init__(self, options: frozenset[str], host: str) -> None:
        self.options = options
        self.host = host

    @abstractmethod
    def session(self) -> Session:
        """Make one."""


class CallbackSession(Session):
    """A session of a transport that hands messages to a callback and has a buffered amount.

    Attributes:
        HIGH_BYTES: the sender stops when so much is buffered, and goes on at half of that.
    """

    HIGH_BYTES = 1 << 20

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.is_open = asyncio.Event()
        self.on_message: Callable[[Any], object] = lambda message: None
        self.is_low = asyncio.Event()

    @abstractmethod
    def send(self, message: bytes) -> None:
        """Hand one message to the transport."""

    @abstractmethod
    def buffered(self) -> int:
        """Bytes that the transport has not sent."""

    @abstractmethod
    def set_low_threshold(self, size: int) -> None:
        """Have ``is_low`` set when no more than ``size`` bytes are buffered."""

    def from_any_thread(self, call: Callable[[], object]) -> None:
        """Have something done in the event loop."""
        self.loop.call_soon_threadsafe(call)

    async def opened(self) -> None:
        """Wait until messages can be sent."""
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await self.is_open.wait()

    async def blast(self, size: int, seconds: float) -> int:
        """Send for a time, then END; return how many messages it were."""
        messages = messages_of(size)
        high, low = self.HIGH_BYTES, self.HIGH_BYTES // 2
        self.set_low_threshold(low)
        step = max(1, CHECK_EVERY_BYTES // size)
        count, end = 0, time.perf_counter() + seconds
        send, buffered = self.send, self.buffered
        while time.perf_counter() < end:
            if buffered() >= high:
                self.is_low.clear()
                while buffered() > low and time.perf_counter() < end:
                    try:
                        async with asyncio.timeout(0.05):  # some tell of low too early
                            await self.is_low.wait()
                    except TimeoutError:
                        continue
                    self.is_low.clear()
            for _ in range(step):
                send(messages[count % VARIANTS])
                count += 1
            await asyncio.sleep(0)
        send(END)
        return count

    async def drain(self, sink: Sink) -> None:
        """Receive until END."""
        done = self.loop.create_future()

        def take(message: Any) -> None:
            if not sink.take(message):
                self.from_any_thread(lambda: _finish(done))

        self.on_message = take
        async with asyncio.timeout(END_TIMEOUT_S):
            await done

    async def ping(self, payload: bytes, count: int) -> list[float]:
        """Send a message and wait for its echo, each from the callback of the last."""
        times: list[float] = []
        done = self.loop.create_future()
        clock, send = time.perf_counter, self.send
        started = 0.0

        def take(message: Any) -> None:
            nonlocal started
            now = clock()
            if message != payload:
                self.from_any_thread(lambda: _finish(done))
                return
            times.append(now - started)
            if len(times) >= count:
                self.from_any_thread(lambda: _finish(done))
                return
            started = clock()
            send(payload)

        self.on_message = take
        started = clock()
        send(payload)
        async with asyncio.timeout(END_TIMEOUT_S):
            await done
        if len(times) < count:
            raise RuntimeError(WRONG_ECHO)
        return times

    async def echo(self, count: int) -> None:
        """Send back ``count`` messages."""
        done = self.loop.create_future()
        left = count
        send = self.send

        def take(message: Any) -> None:
            nonlocal left
            send(message)
            left -= 1
            if not left:
                self.from_any_thread(lambda: _finish(done))

        self.on_message = take
        async with asyncio.timeout(END_TIMEOUT_S):
            await done


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
