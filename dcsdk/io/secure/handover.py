"""Two DTLS associations beside each other: a new one that shakes hands, an old one that runs dry.

Source: RFC 8842 3.1: both live until the new one works; RFC 8841 9.1: SCTP above does not notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from dcsdk.interfaces.paths import DatagramPath, DatagramReceiver
from dcsdk.io.clock import LazyTimer
from dcsdk.tls.dtls import DtlsAssociation, DtlsClosed, HandshakeDone

MAX_EARLY_PACKETS = 256
"""Packets kept that came with the end of the handshake; SCTP repeats the rest."""


def send_all(path: DatagramPath, dtls: DtlsAssociation) -> None:
    """Put everything that DTLS has to send on a path."""
    while (transmit := dtls.poll_transmit()) is not None:
        path.send(*transmit)


class DtlsHandshake(DatagramReceiver):
    """Runs one handshake on a path of its own, while an older association goes on elsewhere.

    Args:
        path: not closed here.
        dtls: not yet started.
        on_done: called once when the peer is verified, with the packets that came already.
        on_failed: called once when there will be no association; ``None`` for a close alert.
    """

    def __init__(
        self,
        path: DatagramPath,
        dtls: DtlsAssociation,
        on_done: Callable[[HandshakeDone, Sequence[bytes]], None],
        on_failed: Callable[[Exception | None], None],
    ) -> None:
        self.path = path
        self.dtls = dtls
        self._on_done = on_done
        self._on_failed = on_failed
        self._loop = asyncio.get_running_loop()
        self._timer = LazyTimer(self._loop, self._timer_fired)
        self._packets: list[bytes] = []
        self._is_over = False

    def start(self) -> None:
        """Begin, once the path leads to the peer."""
        now = self._loop.time()
        self.dtls.start(now=now)
        self.path.attach(self)
        self._settle(now)

    def stop(self) -> None:
        """Give up, telling the peer, and close the path. Idempotent."""
        if not self._is_over:
            self._end()
            self.dtls.close()
            send_all(self.path, self.dtls)
            self.path.close()

    def datagrams_received(self, batch: Sequence[tuple[bytes, int]]) -> None:
        """Take what the path received."""
        if not self._is_over:
            now = self._loop.time()
            packets = self.dtls.receive(batch, now=now)
            self._packets += packets[: MAX_EARLY_PACKETS - len(self._packets)]
            self._settle(now)

    def path_writable(self) -> None:
        """Nothing waits here: a flight that was lost is sent again."""

    def _timer_fired(self, now: float) -> None:
        self.dtls.handle_timer(now=now)
        self._settle(now)

    def _end(self) -> None:
        self._is_over = True
        self._timer.cancel()

    def _settle(self, now: float) -> None:
        if self._is_over:
            return
        send_all(self.path, self.dtls)
        event = self.dtls.poll_event()
        if isinstance(event, HandshakeDone):
            self._end()
            self._on_done(event, self._packets)
        elif isinstance(event, DtlsClosed):
            self._end()
            self.path.close()
            self._on_failed(event.error)
        else:
            self._timer.set(self.dtls.next_timer())


class RetiredDtls(DatagramReceiver):
    """An association that another took the place of: what still comes on it is not lost.

    Args:
        path: closed here.
        dtls: established.
        on_packets: takes what was inside the records.
    """

    def __init__(
        self,
        path: DatagramPath,
        dtls: DtlsAssociation,
        on_packets: Callable[[Sequence[bytes]], None],
    ) -> None:
        self._path = path
        self._dtls = dtls
        self._on_packets = on_packets
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        path.attach(self)

    def datagrams_received(self, batch: Sequence[tuple[bytes, int]]) -> None:
        """Take the last of the peer's datagrams."""
        if self._is_closed:
            return
        packets = self._dtls.receive(batch, now=self._loop.time())
        is_over = isinstance(self._dtls.poll_event(), DtlsClosed)
        if packets:
            self._on_packets(packets)
        if is_over:
            self.close()

    def path_writable(self) -> None:
        """Nothing is sent here any more."""

    def close(self) -> None:
        """Tell the peer and close the path. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._dtls.close()
            send_all(self._path, self._dtls)
            self._path.close()
