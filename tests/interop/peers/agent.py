"""What a test asks of a peer, whatever the stack; the same operations as in ``agent.mjs``.

Runs in the peer's process, one JSON object per line: ``{"id", "op", ...}`` on stdin,
``{"id", "result" | "error"}`` on stdout. Nothing of dcsdk is imported by peers that are no part
of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

LINE_LIMIT_BYTES = 1 << 20

Message = str | bytes


class Channel(ABC):
    """A data channel of the stack; subclasses call :meth:`is_opened` and its like."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.opened, self.closed = asyncio.Event(), asyncio.Event()

    @abstractmethod
    def info(self) -> dict[str, Any]:
        """What the stack says about the channel, in the names of the W3C."""

    @abstractmethod
    def send(self, message: Message) -> None:
        """Send one message."""

    @abstractmethod
    def close(self) -> None:
        """Close the channel."""


class Connection(ABC):
    """A connection of the stack; puts what the other side opens into :attr:`incoming`."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[Channel] = asyncio.Queue()

    @abstractmethod
    async def offer(self) -> str:
        """Return an offer with all candidates."""

    @abstractmethod
    async def answer(self, sdp: str) -> str:
        """Return the answer to an offer, with all candidates."""

    @abstractmethod
    async def accept(self, sdp: str) -> None:
        """Take an answer."""

    @abstractmethod
    def open(self, label: str, options: dict[str, Any]) -> Channel:
        """Make a channel; options as in ``RTCDataChannelInit``."""

    @abstractmethod
    async def close(self) -> None:
        """Close everything."""


def digest(message: Message) -> list[Any]:
    """Return kind, size and SHA-256 of a message."""
    kind, data = ("text", message.encode()) if isinstance(message, str) else ("binary", message)
    return [kind, len(data), hashlib.sha256(data).hexdigest()]


class Agent:
    """Does what the test asks for.

    Args:
        connect: makes a connection of the stack from the test's options.
    """

    def __init__(self, connect: Callable[[dict[str, Any]], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._names = itertools.count(1)
        self._connections: dict[str, Connection] = {}
        self._channels: dict[str, Channel] = {}

    async def handle(self, op: str, values: dict[str, Any]) -> dict[str, Any]:
        """Do one operation."""
        method: Callable[..., Awaitable[dict[str, Any] | None]] = getattr(self, f"_do_{op}")
        return await method(**values) or {}

    def _keep(self, channel: Channel) -> str:
        name = f"channel-{next(self._names)}"
        self._channels[name] = channel
        return name

    async def _do_create(self, options: dict[str, Any]) -> dict[str, Any]:
        name = f"connection-{next(self._names)}"
        self._connections[name] = await self._connect(options)
        return {"connection": name}

    async def _do_offer(self, connection: str) -> dict[str, Any]:
        return {"sdp": await self._connections[connection].offer()}

    async def _do_answer(self, connection: str, sdp: str) -> dict[str, Any]:
        return {"sdp": await self._connections[connection].answer(sdp)}

    async def _do_accept(self, connection: str, sdp: str) -> None:
        await self._connections[connection].accept(sdp)

    async def _do_open(
        self, connection: str, label: str, options: dict[str, Any]
    ) -> dict[str, Any]:
        return {"channel": self._keep(self._connections[connection].open(label, options))}

    async def _do_incoming(self, connection: str) -> dict[str, Any]:
        channel = await self._connections[connection].incoming.get()
        return {"channel": self._keep(channel), "info": channel.info()}

    async def _do_info(self, channel: str) -> dict[str, Any]:
        return {"info": self._channels[channel].info()}

    async def _do_opened(self, channel: str) -> None:
        await self._channels[channel].opened.wait()

    async def _do_closed(self, channel: str) -> None:
        await self._channels[channel].closed.wait()

    async def _do_close_channel(self, channel: str) -> None:
        self._channels[channel].close()

    async def _do_send(
        self, channel: str, sizes: list[int] | None = None, texts: list[str] | None = None
    ) -> dict[str, Any]:
        messages: list[Message] = [os.urandom(size) for size in sizes or ()]
        messages += texts or ()
        for message in messages:
            self._channels[channel].send(message)
        return {"sent": [digest(message) for message in messages]}

    async def _do_receive(self, channel: str, count: int) -> dict[str, Any]:
        messages = self._channels[channel].messages
        return {"received": [digest(await messages.get()) for _ in range(count)]}

    async def _do_drain(self, channel: str) -> dict[str, Any]:
        messages = self._channels[channel].messages
        return {"received": [digest(messages.get_nowait()) for _ in range(messages.qsize())]}

    async def _do_close(self, connection: str) -> None:
        await self._connections.pop(connection).close()


async def serve(connect: Callable[[dict[str, Any]], Awaitable[Connection]]) -> None:
    """Answer the lines of stdin until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_LIMIT_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    agent = Agent(connect)
    running: set[asyncio.Task[None]] = set()

    def say(line: dict[str, Any]) -> None:
        print(json.dumps(line), flush=True)

    async def do(line: dict[str, Any]) -> None:
        number, op = line.pop("id"), line.pop("op")
        try:
            say({"id": number, "result": await agent.handle(op, line)})
        except Exception as exc:
            say({"id": number, "error": f"{type(exc).__name__}: {exc}"})

    say({"id": 0, "result": {}})
    async for text in reader:
        task = asyncio.create_task(do(json.loads(text)))
        running.add(task)
        task.add_done_callback(running.discard)
    for task in running:
        task.cancel()
