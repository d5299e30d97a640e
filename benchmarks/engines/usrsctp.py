"""Debian's usrsctp through cffi, on dcsdk's own UDP path and DTLS: the same in all but SCTP.

The binding is that of the interop tests; what it does for each message is made quicker here.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from benchmarks.engines.base import CallbackSession, Engine
from benchmarks.workers import ROOT
from dcsdk.interfaces import DatagramReceiver, DtlsRole
from dcsdk.io.net.udp import UdpPath
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate
from dcsdk.tls.context import DtlsContext
from dcsdk.tls.dtls import DtlsAssociation, HandshakeDone

sys.path.insert(0, str(ROOT / "tests" / "interop" / "peers"))
library: Any = import_module("usrsctp_library")

STREAM_ID, PPID_BINARY, PORT = 1000, 53, 5000
MTU = 1200
TICK_S = 0.010
READ_BYTES = 1 << 18

_numbers = itertools.count(1)
_ffi = library._ffi
_usrsctp = library._library
_buffer = _ffi.new("char[]", READ_BYTES)
_info = _ffi.new("struct sctp_rcvinfo *")
_from_size, _info_size = _ffi.new("socklen_t *"), _ffi.new("socklen_t *")
_kind, _flags = _ffi.new("unsigned int *"), _ffi.new("int *")
_PPID = socket.htonl(PPID_BINARY)


class Association(library.Association):  # type: ignore[misc]
    """One association whose messages go to ``on_message`` as they are."""

    def __init__(self, session: UsrsctpSession) -> None:
        self._session = session
        self._pieces: list[bytes] = []
        self.waiting_bytes = 0
        super().__init__(
            next(_numbers),
            local_port=PORT,
            remote_port=PORT,
            send_packet=session.outgoing.append,
            is_interleaving=True,
        )
        self._options = _ffi.new("struct sctp_sendv_spa *")
        self._options.sendv_flags = library._SNDINFO_VALID
        self._options.sendv_sndinfo.snd_sid = STREAM_ID
        self._options.sendv_sndinfo.snd_ppid = _PPID
        self._options.sendv_sndinfo.snd_flags = library._EOR

    def send_binary(self, message: bytes) -> None:
        """Send one message as soon as there is room."""
        self.waiting_bytes += len(message)
        self._waiting.append((message, self._options))
        self._flush()

    def _flush(self) -> None:
        before = len(self._waiting)
        super()._flush()
        if before and not self._waiting:
            self.waiting_bytes = 0
            self._session.is_low.set()

    def _read_all(self) -> None:
        receive, handle = _usrsctp.usrsctp_recvv, self._socket
        size_of_info = _ffi.sizeof("struct sctp_rcvinfo")
        while True:
            _from_size[0], _info_size[0], _flags[0] = 0, size_of_info, 0
            size = receive(
                handle, _buffer, READ_BYTES, _ffi.NULL, _from_size, _info, _info_size, _kind, _flags
            )
            if size <= 0:
                return
            data = _ffi.buffer(_buffer, size)[:]
            flags = _flags[0]
            if flags & library._MSG_NOTIFICATION:
                self._notified(data)
            elif flags & library._MSG_EOR and not self._pieces:
                self._session.on_message(data)
            else:
                self._pieces.append(data)
                if flags & library._MSG_EOR:
                    whole = b"".join(self._pieces)
                    self._pieces.clear()
                    self._session.on_message(whole)


class UsrsctpSession(CallbackSession, DatagramReceiver):
    """One association, driven as dcsdk drives its own."""

    def __init__(self, engine: Usrsctp) -> None:
        super().__init__()
        self._engine = engine
        self._path = UdpPath.bind(engine.host)
        self._path.attach(self)
        self.outgoing: list[bytes] = []
        self._is_flush_due = False
        self._dtls: DtlsAssociation
        self._timer: asyncio.TimerHandle | None = None
        self._association = Association(self)
        self._association.events.on_up = self.is_open.set

    async def offer(self) -> str:
        """Describe our end; we are the DTLS server then."""
        return self._describe()

    async def answer(self, offer: str) -> str:
        """Begin as the DTLS client."""
        self._start(offer, "client")
        return self._describe()

    async def accept(self, answer: str) -> None:
        """Begin as the DTLS server."""
        self._start(answer, "server")

    def _describe(self) -> str:
        fingerprint = str(self._engine.certificate.fingerprint)
        return json.dumps({"address": self._path.local_address, "fingerprint": fingerprint})

    def _start(self, description: str, role: DtlsRole) -> None:
        remote = json.loads(description)
        fingerprints = (Fingerprint.parse(remote["fingerprint"]),)
        self._dtls = DtlsAssociation(
            self._engine.context, role=role, fingerprints=fingerprints, mtu=MTU
        )
        self._dtls.start(now=self.loop.time())
        self._path.set_remote((remote["address"][0], remote["address"][1]))
        self._engine.join(self)
        self.flush()
        self._timed_out()

    def _timed_out(self) -> None:
        self._timer = None
        now, due = self.loop.time(), self._dtls.next_timer()
        if due is not None and due <= now:
            self._dtls.handle_timer(now=now)
            self.flush()
            due = self._dtls.next_timer()
        if due is not None:
            self._timer = self.loop.call_at(due, self._timed_out)

    def datagrams_received(self, batch: Sequence[tuple[bytes, int]]) -> None:
        """Take what came and send what that causes."""
        for packet in self._dtls.receive(batch, now=self.loop.time()):
            self._association.receive(packet)
        while (event := self._dtls.poll_event()) is not None:
            if isinstance(event, HandshakeDone):
                self._association.connect()
        self.flush()

    def path_writable(self) -> None:
        """Go on after the path was full."""
        self.flush()

    def flush(self) -> None:
        """Send what is ready, in batches."""
        self._is_flush_due = False
        dtls, path = self._dtls, self._path
        if dtls.is_established and self.outgoing:
            # The library keeps the list it was given.
            packets = self.outgoing[:]
            self.outgoing.clear()
            start = 0
            while start < len(packets) and dtls.is_established:
                start = dtls.send(packets, start)
                while (transmit := dtls.poll_transmit()) is not None:
                    path.send(transmit.data, transmit.segment_size)
        while (transmit := dtls.poll_transmit()) is not None:
            path.send(transmit.data, transmit.segment_size)

    def send(self, message: bytes) -> None:
        """Send the first message of a turn of the loop now, and the others together."""
        self._association.send_binary(message)
        if not self._is_flush_due:
            self.flush()
            self._is_flush_due = True
            self.loop.call_soon(self.flush)

    def buffered(self) -> int:
        """Bytes that usrsctp has not taken."""
        return int(self._association.waiting_bytes)

    def set_low_threshold(self, size: int) -> None:
        """``is_low`` is set when usrsctp took everything."""

    async def close(self) -> None:
        """Abort the association, as the library does when told to close at once."""
        if self._timer is not None:
            self._timer.cancel()
        self._engine.leave(self)
        self._association.close()
        self.flush()
        self._dtls.close()
        self.flush()
        self._path.close()


class Usrsctp(Engine):
    """Moves the library's one clock, and shares a certificate."""

    def __init__(self, options: frozenset[str], host: str) -> None:
        super().__init__(options, host)
        self.version = "usrsctp 2 (libusrsctp2)"
        self.certificate = Certificate.generate()
        self.context = DtlsContext(self.certificate)
        self._sessions: set[UsrsctpSession] = set()
        self._told_s = 0.0

    def session(self) -> UsrsctpSession:
        """Make one."""
        return UsrsctpSession(self)

    def join(self, session: UsrsctpSession) -> None:
        """Run the clock for a session."""
        self._sessions.add(session)
        if len(self._sessions) == 1:
            self._told_s = time.monotonic()
            session.loop.call_later(TICK_S, self._tick)

    def leave(self, session: UsrsctpSession) -> None:
        """The session is over."""
        self._sessions.discard(session)

    def _tick(self) -> None:
        if not self._sessions:
            return
        elapsed_ms = int((time.monotonic() - self._told_s) * 1e3)
        self._told_s += elapsed_ms / 1e3
        library.tick(elapsed_ms)
        for session in self._sessions:
            if session.outgoing:
                session.flush()
        next(iter(self._sessions)).loop.call_later(TICK_S, self._tick)


ENGINE = Usrsctp
