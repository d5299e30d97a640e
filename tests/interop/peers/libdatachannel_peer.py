"""libdatachannel from Python; its callbacks come in threads of its own."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from typing import Any

import libdatachannel as rtc  # type: ignore[import-not-found]

from .agent import Channel, Connection, Message, serve

MAX_MESSAGE_BYTES = 1 << 20


class _Channel(Channel):
    def __init__(self, channel: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._channel = channel

        def later(function: Callable[..., object]) -> Callable[..., None]:
            return lambda *given: _call_later(loop, function, *given)

        channel.on_message(later(self.messages.put_nowait))
        channel.on_open(later(self.opened.set))
        channel.on_closed(later(self.closed.set))
        if channel.is_open():
            self.opened.set()

    def info(self) -> dict[str, Any]:
        reliability = self._channel.reliability()
        lifetime = reliability.max_packet_lifetime
        return {
            "label": self._channel.label(),
            "protocol": self._channel.protocol(),
            "id": self._channel.id(),
            "ordered": not reliability.unordered,
            "maxRetransmits": reliability.max_retransmits,
            "maxPacketLifeTime": lifetime and int(lifetime / datetime.timedelta(milliseconds=1)),
        }

    def send(self, message: Message) -> None:
        self._channel.send(message)

    def close(self) -> None:
        self._channel.close()


def _call_later(
    loop: asyncio.AbstractEventLoop, function: Callable[..., object], *given: Any
) -> None:
    loop.call_soon_threadsafe(function, *given)


class _Connection(Connection):
    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        config = rtc.Configuration()
        config.bind_address = "127.0.0.1"
        config.max_message_size = MAX_MESSAGE_BYTES
        config.disable_auto_negotiation = True
        self._gathered = asyncio.Event()
        self._peer = rtc.PeerConnection(config)
        self._peer.on_data_channel(self._incoming)
        self._peer.on_gathering_state_change(self._gathering)

    def _incoming(self, channel: Any) -> None:
        # Handlers at once, in this thread: a message may follow the OPEN in the same packet.
        _call_later(self._loop, self.incoming.put_nowait, _Channel(channel, self._loop))

    def _gathering(self, state: Any) -> None:
        if state == rtc.PeerConnection.GatheringState.Complete:
            _call_later(self._loop, self._gathered.set)

    async def _local(self, kind: Any) -> str:
        self._peer.set_local_description(kind)
        await self._gathered.wait()
        return str(self._peer.local_description())

    async def offer(self) -> str:
        return await self._local(rtc.Description.Type.Offer)

    async def answer(self, sdp: str) -> str:
        self._peer.set_remote_description(rtc.Description(sdp, "offer"))
        return await self._local(rtc.Description.Type.Answer)

    async def accept(self, sdp: str) -> None:
        self._peer.set_remote_description(rtc.Description(sdp, "answer"))

    def open(self, label: str, options: dict[str, Any]) -> Channel:
        reliability = rtc.Reliability()
        reliability.unordered = not options.get("ordered", True)
        reliability.max_retransmits = options.get("maxRetransmits")
        lifetime_ms = options.get("maxPacketLifeTime")
        if lifetime_ms is not None:
            reliability.max_packet_lifetime = datetime.timedelta(milliseconds=lifetime_ms)
        init = rtc.DataChannelInit()
        init.reliability = reliability
        init.negotiated = options.get("negotiated", False)
        init.id = options.get("id")
        init.protocol = options.get("protocol", "")
        return _Channel(self._peer.create_data_channel(label, init), self._loop)

    async def close(self) -> None:
        self._peer.close()


async def _connect(options: dict[str, Any]) -> Connection:
    return _Connection()


if __name__ == "__main__":
    asyncio.run(serve(_connect))
