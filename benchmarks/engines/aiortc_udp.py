"""aiortc's DTLS and SCTP on a plain UDP socket of its own, without ICE: aiortc at its best."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from importlib.metadata import version

import aiortc.rtcsctptransport
from aiortc.rtcdatachannel import RTCDataChannel, RTCDataChannelParameters
from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport

from benchmarks.engines.base import CallbackSession, Engine

MAX_MESSAGE = 262_144
STREAM_ID = 1000
BUFFER_BYTES = 4 << 20
DATA_BYTES = (1200 - 37 - 28) // 4 * 4
"""User data of one packet, so that a datagram has at most 1200 bytes: aiortc's own are 1226."""


class UdpTransport:
    """What aiortc's DTLS wants of an "ICE transport"."""

    role = "controlling"

    def __init__(self, host: str) -> None:
        self._loop = asyncio.get_running_loop()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        self.socket.bind((host, 0))
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def start(self, address: tuple[str, int]) -> None:
        """Send to one address from now on."""
        self.socket.connect(address)
        self._loop.add_reader(self.socket.fileno(), self._read)

    def close(self) -> None:
        """Close the socket."""
        self._loop.remove_reader(self.socket.fileno())
        self.socket.close()
        self._queue.put_nowait(None)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            for _ in range(64):
                self._queue.put_nowait(self.socket.recv(2048))

    async def _send(self, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            self.socket.send(data)

    async def _recv(self) -> bytes:
        data = await self._queue.get()
        if data is None:
            raise ConnectionError("closed")
        return data


class DataOnlyDtls(RTCDtlsTransport):
    """aiortc gives up when no SRTP profile was agreed; a data channel needs none."""

    def _setup_srtp(self) -> None:
        pass


class AiortcSession(CallbackSession):
    """What both ways to use aiortc share: its data channel."""

    HIGH_BYTES = 256 << 10
    channel: RTCDataChannel

    def use(self, channel: RTCDataChannel) -> None:
        """Take the data channel."""
        self.channel = channel
        channel.on("message", lambda message: self.on_message(message))
        channel.on("bufferedamountlow", self.is_low.set)
        channel.on("open", self.is_open.set)
        if channel.readyState == "open":
            self.is_open.set()

    def send(self, message: bytes) -> None:
        """Hand one message to aiortc."""
        self.channel.send(message)

    def buffered(self) -> int:
        """Bytes that aiortc has not sent."""
        return self.channel.bufferedAmount

    def set_low_threshold(self, size: int) -> None:
        """Have ``is_low`` set when no more than ``size`` bytes are buffered."""
        self.channel.bufferedAmountLowThreshold = size


class AiortcUdpSession(AiortcSession):
    """aiortc's parts put together by hand, as IMS would have them."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self._transport = UdpTransport(host)
        self._certificate = RTCCertificate.generateCertificate()
        self._dtls = DataOnlyDtls(self._transport, [self._certificate])  # type: ignore[arg-type]
        self._sctp = RTCSctpTransport(self._dtls)
        self._task: asyncio.Task[None] | None = None

    async def offer(self) -> str:
        """Describe our end; we are the DTLS server then."""
        return self._describe()

    async def answer(self, offer: str) -> str:
        """Begin as the DTLS client."""
        self._task = self.loop.create_task(self._start(offer, "client"))
        return self._describe()

    async def accept(self, answer: str) -> None:
        """Begin as the DTLS server."""
        self._task = self.loop.create_task(self._start(answer, "server"))

    def _describe(self) -> str:
        found = {item.algorithm: item.value for item in self._certificate.getFingerprints()}
        return json.dumps(
            {
                "address": self._transport.socket.getsockname(),
                "fingerprint": f"sha-256 {found['sha-256']}",
            }
        )

    async def _start(self, description: str, role: str) -> None:
        remote = json.loads(description)
        self._transport.start((remote["address"][0], remote["address"][1]))
        self._dtls._set_role(role)
        algorithm, _, value = remote["fingerprint"].partition(" ")
        await self._dtls.start(RTCDtlsParameters([RTCDtlsFingerprint(algorithm, value)]))
        self.use(
            RTCDataChannel(self._sctp, RTCDataChannelParameters(negotiated=True, id=STREAM_ID))
        )
        await self._sctp.start(RTCSctpCapabilities(MAX_MESSAGE), 5000)

    async def close(self) -> None:
        """Close the association."""
        await self._sctp.stop()
        await self._dtls.stop()
        self._transport.close()


class AiortcUdp(Engine):
    """aiortc without ICE."""

    def __init__(self, options: frozenset[str], host: str) -> None:
        super().__init__(options, host)
        self.version = f"aiortc {version('aiortc')}"
        aiortc.rtcsctptransport.USERDATA_MAX_LENGTH = DATA_BYTES

    def session(self) -> AiortcUdpSession:
        """Make one."""
        return AiortcUdpSession(self.host)


ENGINE = AiortcUdp
