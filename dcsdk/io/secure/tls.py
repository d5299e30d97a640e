"""TLS over a stream path: certificates, known by the fingerprints of the signalling (RFC 8122).

Who is client in TLS and who opened the TCP connection are agreed on apart. When the peer opens it,
every connection that comes in gets a handshake, and the first peer that proves its certificate is
taken; see ``dcsdk.io.net.stream``.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import NamedTuple

from dcsdk.errors import SecurityError, TransportError
from dcsdk.interfaces.keying import TlsParameters
from dcsdk.interfaces.paths import StreamConnection, StreamPath
from dcsdk.interfaces.stats import PathStats, TransportStats
from dcsdk.interfaces.transports import StreamTransport
from dcsdk.io.deadline import Deadline
from dcsdk.io.secure.stream_life import READ_BYTES, StreamLife
from dcsdk.sdp.fingerprint import preferred
from dcsdk.security import SecurityReport, SecurityScope
from dcsdk.tls.connection import TlsClosed, TlsConnection, TlsContext
from dcsdk.tls.dtls import HandshakeDone

BACKEND = "tls"
"""Name of the mechanism in reports."""

HANDSHAKE_TIMEOUT_S = 30.0
"""Bound on connecting and the TLS handshake together, unless another is given."""

ENCRYPT_BYTES = 64 << 10
"""Bytes encrypted at once; the path takes them before the next are."""


class _Verified(NamedTuple):
    machine: TlsConnection
    done: HandshakeDone


class TlsTransport(StreamTransport):
    """TLS 1.2 or 1.3 with both certificates on one TCP connection.

    Args:
        context: of our certificate.
        path: owned from now on.
        parameters: as agreed. Its fingerprints are those that the policy of the line let through:
            SHA-1 is among them only where that policy allows it, and is not judged again.
        handshake_timeout_s: bound on connecting and handshake together, seconds; covers a
            ``start`` that nobody waits for.

    Raises:
        SecurityError: no usable fingerprint.
    """

    def __init__(
        self,
        context: TlsContext,
        path: StreamPath,
        parameters: TlsParameters,
        *,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
    ) -> None:
        self._context = context
        self._path = path
        self._parameters = parameters
        self._fingerprints = preferred(parameters.remote_fingerprints, allow_sha1=True)
        if not self._fingerprints:
            raise SecurityError("no fingerprint to verify the peer by", source="RFC 8122 5")
        self._handshake_timeout_s = handshake_timeout_s
        self._machine: TlsConnection | None = None
        self._life = StreamLife("tls", path)
        self._writing = asyncio.Lock()
        self._report = SecurityReport(
            scope=SecurityScope.NONE,
            backend=BACKEND,
            local_fingerprint=str(context.certificate.fingerprint),
            reason="the peer is not verified yet",
        )

    @property
    def report(self) -> SecurityReport:
        """What protects the stream: suite and peer once verified, scope by the session."""
        return self._report

    @report.setter
    def report(self, report: SecurityReport) -> None:
        self._report = report

    def start(self) -> None:
        """Begin to connect or to wait, then to shake hands.

        Raises:
            LocalProtocolError: started before.
            TransportError: closed.
        """
        self._life.start(self._carry())

    async def wait_established(self, timeout_s: float) -> None:
        """Wait until the peer is verified.

        In TLS 1.3 a client is done before the server has judged its certificate; a refusal is told
        by ``read``, ``write`` and ``wait_closed`` (RFC 8446 4.4.2.4).
        """
        await self._life.wait_established(timeout_s)

    async def wait_closed(self) -> Exception | None:
        """Wait for the end; returns what ended it, ``None`` for an end in order."""
        return await self._life.wait_closed()

    async def read(self, max_bytes: int = 65_536) -> bytes:
        """Take what came, waiting for it; ``b""`` when the peer closed in order."""
        return await self._life.read(max_bytes)

    async def write(self, data: bytes) -> None:
        """Send, waiting while too much is queued. A cancelled call may have sent a part."""
        async with self._writing:
            view = memoryview(data)
            for start in range(0, len(view), ENCRYPT_BYTES):
                machine = self._writable()
                machine.send(view[start : start + ENCRYPT_BYTES])
                if (output := machine.poll_transmit()) is not None:
                    await self._life.send(output)
        self._writable()

    def _writable(self) -> TlsConnection:
        self._life.check_writable()
        if self._machine is None or not self._machine.is_established:
            raise TransportError("the TLS connection is closed")
        return self._machine

    def stats(self) -> TransportStats:
        """What the path did so far."""
        return TransportStats(path=PathStats.of(self._path.stats()))

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Send the close alert, then close the path. Idempotent and bounded."""
        deadline = Deadline(timeout_s)
        machine = self._machine
        try:
            if machine is not None:
                machine.close()
                with contextlib.suppress(TimeoutError, TransportError):
                    async with asyncio.timeout(deadline.left_s):
                        await _send_output(machine, self._path)
        finally:
            await self._life.aclose(deadline.left_s)

    # --- inside -----------------------------------------------------------------------------------
    async def _carry(self) -> None:
        """Find the peer, then decrypt what it sends, until one side ends it."""
        machine, done = await self._path.open_verified(
            self._parameters.tcp_role,
            verify=self._shake_hands,
            timeout_s=self._handshake_timeout_s,
        )
        self._machine = machine
        self._report = replace(
            self._report,
            suite=done.suite,
            version=done.version,
            peer_fingerprint=str(done.peer_fingerprint),
        )
        self._life.establish()
        while True:
            if data := machine.take_data():
                await self._life.put(data)
            await _send_output(machine, self._path)
            event = machine.poll_event()
            if isinstance(event, TlsClosed):
                if event.error is not None:
                    raise event.error
                return
            await _receive(machine, self._path)

    async def _shake_hands(self, connection: StreamConnection) -> _Verified:
        """Find out whether the other end of a connection is the peer."""
        machine = TlsConnection(
            self._context, role=self._parameters.tls_role, fingerprints=self._fingerprints
        )
        machine.start()
        while True:
            await _send_output(machine, connection)
            event = machine.poll_event()
            if isinstance(event, HandshakeDone):
                return _Verified(machine, event)
            if isinstance(event, TlsClosed):
                raise event.error or SecurityError("the peer closed during the TLS handshake")
            await _receive(machine, connection)


async def _send_output(machine: TlsConnection, connection: StreamConnection) -> None:
    """Send what the machine has to send.

    The connection queues it before it waits, so records leave in the order they were made.
    """
    if (output := machine.poll_transmit()) is not None:
        await connection.write(output)


async def _receive(machine: TlsConnection, connection: StreamConnection) -> None:
    """Wait for the next bytes or the end of the stream, and give them to the machine."""
    data = await connection.read(READ_BYTES)
    if data:
        machine.receive(data)
    else:
        machine.receive_eof()
