"""aiortc as a program uses it: ``RTCPeerConnection`` with aioice under it."""

from __future__ import annotations

from importlib.metadata import version

import aioice.ice
import aiortc.rtcsctptransport
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcdtlstransport import RTCDtlsTransport

from benchmarks.engines.aiortc_udp import DATA_BYTES, AiortcSession
from benchmarks.engines.base import Engine


class AiortcIceSession(AiortcSession):
    """One peer connection."""

    def __init__(self) -> None:
        super().__init__()
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peer.on("datachannel", self.use)

    async def offer(self) -> str:
        """Make the channel and an offer with all candidates."""
        self.use(self._peer.createDataChannel("bench"))
        await self._peer.setLocalDescription(await self._peer.createOffer())
        return self._peer.localDescription.sdp

    async def answer(self, offer: str) -> str:
        """Answer."""
        await self._peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self._peer.setLocalDescription(await self._peer.createAnswer())
        return self._peer.localDescription.sdp

    async def accept(self, answer: str) -> None:
        """Take the answer."""
        await self._peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def close(self) -> None:
        """Close the connection."""
        await self._peer.close()


class AiortcIce(Engine):
    """aiortc with ICE between two host candidates, the addresses every engine uses here."""

    def __init__(self, options: frozenset[str], host: str) -> None:
        super().__init__(options, host)
        self.version = f"aiortc {version('aiortc')}, aioice {version('aioice')}"
        aiortc.rtcsctptransport.USERDATA_MAX_LENGTH = DATA_BYTES
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [host]
        RTCDtlsTransport._setup_srtp = lambda self: None  # type: ignore[method-assign]

    def session(self) -> AiortcIceSession:
        """Make one."""
        return AiortcIceSession()


ENGINE = AiortcIce
