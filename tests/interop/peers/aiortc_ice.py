"""aiortc as a whole: ICE, DTLS, SCTP and DCEP of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import aioice.ice
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from .agent import Channel, Connection, Message, serve

# aioice takes no loopback address for a candidate.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


class _Channel(Channel):
    def __init__(self, channel: RTCDataChannel) -> None:
        super().__init__()
        self._channel = channel
        channel.on("message", self.messages.put_nowait)
        channel.on("open", self.opened.set)
        channel.on("close", self.closed.set)
        if channel.readyState == "open":
            self.opened.set()

    def info(self) -> dict[str, Any]:
        names = ("label", "protocol", "id", "ordered", "maxRetransmits", "maxPacketLifeTime")
        return {name: getattr(self._channel, name) for name in names}

    def send(self, message: Message) -> None:
        self._channel.send(message)

    def close(self) -> None:
        self._channel.close()


class _Connection(Connection):
    def __init__(self) -> None:
        super().__init__()
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connection.on("datachannel", lambda item: self.incoming.put_nowait(_Channel(item)))

    async def offer(self) -> str:
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return self._connection.localDescription.sdp

    async def answer(self, sdp: str) -> str:
        await self._connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return self._connection.localDescription.sdp

    async def accept(self, sdp: str) -> None:
        await self._connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    def open(self, label: str, options: dict[str, Any]) -> Channel:
        return _Channel(self._connection.createDataChannel(label, **options))

    async def close(self) -> None:
        await self._connection.close()


async def _connect(options: dict[str, Any]) -> Connection:
    return _Connection()


if __name__ == "__main__":
    asyncio.run(serve(_connect))
