"""aiortc's DTLS and SCTP on our datagram path, without ICE.

aiortc knows its transport as an "ICE transport" with ``role``, ``_send`` and ``_recv``; that is
all that is put under it here. The DTLS, the SCTP and the data channels are aiortc's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from aiortc.rtcdatachannel import RTCDataChannel, RTCDataChannelParameters
from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport

from dcsdk.interfaces import Address, DatagramReceiver, DtlsRole
from dcsdk.io.net.udp import UdpPath


class _PathTransport(DatagramReceiver):
    """A :class:`UdpPath` in the shape aiortc wants."""

    role = "controlling"

    def __init__(self, path: UdpPath) -> None:
        self._path = path
        self._received: asyncio.Queue[bytes | None] = asyncio.Queue()
        path.attach(self)

    def datagrams_received(self, batch: Sequence[tuple[bytes, int]]) -> None:
        for data, size in batch:
            for start in range(0, len(data), size):
                self._received.put_nowait(data[start : start + size])

    def path_writable(self) -> None:
        """Nothing waits here: the path keeps what the socket does not take."""

    async def _send(self, data: bytes) -> None:
        self._path.send(data, len(data))

    async def _recv(self) -> bytes:
        data = await self._received.get()
        if data is None:
            raise ConnectionError("closed")
        return data

    def close(self) -> None:
        self._path.close()
        self._received.put_nowait(None)


class _DataOnlyDtls(RTCDtlsTransport):
    """aiortc's DTLS gives up when no SRTP profile was agreed; a data channel needs none."""

    def _setup_srtp(self) -> None:
        pass


class AiortcPeer:
    """One aiortc association with one negotiated data channel.

    Args:
        host: local address to bind.
        stream_id: of the data channel.
        max_message_size: bytes the other end takes in one message.
    """

    def __init__(self, host: str, *, stream_id: int, max_message_size: int) -> None:
        self._path = UdpPath.bind(host)
        self._transport = _PathTransport(self._path)
        self._certificate = RTCCertificate.generateCertificate()
        self._dtls = _DataOnlyDtls(self._transport, [self._certificate])  # type: ignore[arg-type]
        self._sctp = RTCSctpTransport(self._dtls)
        self._max_message_size = max_message_size
        self.channel = RTCDataChannel(
            self._sctp, RTCDataChannelParameters(negotiated=True, id=stream_id)
        )
        self.messages: asyncio.Queue[str | bytes] = asyncio.Queue()
        self.opened, self.closed = asyncio.Event(), asyncio.Event()
        self.channel.on("message", self.messages.put_nowait)
        self.channel.on("open", self.opened.set)
        self.channel.on("close", self.closed.set)

    @property
    def address(self) -> Address:
        """Where the peer receives."""
        return self._path.local_address

    @property
    def fingerprint(self) -> str:
        """The text of ``a=fingerprint`` for the peer's certificate."""
        found = {item.algorithm: item.value for item in self._certificate.getFingerprints()}
        return f"sha-256 {found['sha-256']}"

    async def start(self, remote: Address, fingerprint: str, role: DtlsRole) -> None:
        """Shake hands with the other end and start SCTP.

        Args:
            remote: where the other end receives.
            fingerprint: the text of its ``a=fingerprint``.
            role: the peer's role in DTLS.

        Raises:
            ConnectionError: aiortc did not accept the other end.
        """
        self._path.set_remote(remote)
        self._dtls._set_role(role)
        algorithm, _, value = fingerprint.partition(" ")
        await self._dtls.start(RTCDtlsParameters([RTCDtlsFingerprint(algorithm, value)]))
        if self._dtls.state != "connected":
            raise ConnectionError(f"aiortc's DTLS is {self._dtls.state}")
        await self._sctp.start(RTCSctpCapabilities(self._max_message_size), 5000)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._sctp.stop()
        await self._dtls.stop()
        self._transport.close()
