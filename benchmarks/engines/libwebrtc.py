"""libwebrtc in Python: reactor-webrtc, with data channel callbacks on its network thread."""

from __future__ import annotations

import asyncio
from importlib import import_module
from importlib.metadata import version
from typing import Any

from benchmarks.engines.base import OPEN_TIMEOUT_S, CallbackSession, Engine

webrtc: Any = import_module("reactor_webrtc")


class LibwebrtcSession(CallbackSession):
    """One peer connection. Its callbacks come on threads of its own."""

    def __init__(self, engine: Libwebrtc) -> None:
        super().__init__()
        self._host = engine.host
        self._candidates: list[str] = []
        self._gathered = asyncio.Event()
        self._channel: Any = None
        observer = webrtc.PeerConnectionObserver()
        observer.on_ice_candidate = lambda item: self._candidates.append(item.candidate)
        observer.on_ice_gathering_change = self._gathering
        observer.on_data_channel = self._came
        self._observer = observer
        self._peer = engine.factory.create_peer_connection(webrtc.RtcConfiguration(), observer)

    def _gathering(self, state: Any) -> None:
        if state == webrtc.IceGatheringState.Complete:
            self.from_any_thread(self._gathered.set)

    def _came(self, channel: Any) -> None:
        self._use(channel)
        self.from_any_thread(self.is_open.set)

    def _use(self, channel: Any) -> None:
        self._channel = channel
        channel.on_message(lambda data, is_binary: self.on_message(data))
        channel.on_buffered_amount_low(lambda: self.from_any_thread(self.is_low.set))

    async def _described(self, sdp: str) -> str:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await self._gathered.wait()
        wanted = [
            f"a={item}\r\n"
            for item in self._candidates
            if f" {self._host} " in item and " udp " in item.lower()
        ]
        return sdp + "".join(wanted)

    async def offer(self) -> str:
        """Make the channel and an offer with all candidates."""
        channel = self._peer.create_data_channel("bench")
        self._use(channel)
        channel.on_open(lambda: self.from_any_thread(self.is_open.set))
        offer = await self._peer.create_offer()
        await self._peer.set_local_description(offer)
        return await self._described(offer.sdp)

    async def answer(self, offer: str) -> str:
        """Answer."""
        await self._peer.set_remote_description(webrtc.SessionDescription("offer", offer))
        answer = await self._peer.create_answer()
        await self._peer.set_local_description(answer)
        return await self._described(answer.sdp)

    async def accept(self, answer: str) -> None:
        """Take the answer."""
        await self._peer.set_remote_description(webrtc.SessionDescription("answer", answer))

    def send(self, message: bytes) -> None:
        """Hand one message to libwebrtc."""
        self._channel.send(message)

    def buffered(self) -> int:
        """Bytes that libwebrtc has not sent."""
        return int(self._channel.buffered_amount())

    def set_low_threshold(self, size: int) -> None:
        """Have ``is_low`` set when no more than ``size`` bytes are buffered."""
        self._channel.set_buffered_amount_low_threshold(size)

    async def close(self) -> None:
        """Let go of the connection, which closes it."""
        self._channel.close()
        self._channel = self._peer = self._observer = None


class Libwebrtc(Engine):
    """One factory for all peer connections of the process."""

    def __init__(self, options: frozenset[str], host: str) -> None:
        super().__init__(options, host)
        self.version = f"reactor-webrtc {version('reactor-webrtc')}"
        builder = webrtc.PeerConnectionFactoryBuilder()
        builder.with_dc_callbacks_on_network_thread(True)
        self.factory = builder.build()

    def session(self) -> LibwebrtcSession:
        """Make one."""
        return LibwebrtcSession(self)


ENGINE = Libwebrtc
