"""Where the time of a round trip goes.

``python -m benchmarks.rtt_micro [--rounds N]`` prints microseconds of CPU time that both ends
together take for a message of 100 bytes and its answer, both in this process, each kind in turn in
every round: an event loop with two UDP sockets and a future for each message, which is the least
that an ``await`` on a socket costs; our DTLS in memory; our SCTP in memory; and channels on
sockets, with pyOpenSSL's methods and with raw OpenSSL.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

from benchmarks.engines import load
from benchmarks.engines.base import Session
from benchmarks.setup_micro import HOST, SCTP
from dcsdk.sctp.association import SctpAssociation
from dcsdk.tls.certificate import Certificate
from dcsdk.tls.context import DtlsContext
from dcsdk.tls.dtls import DtlsAssociation

TRIPS = 200
MESSAGE = bytes(100)
PACKET = bytes(148)
"""What SCTP makes of the message, with the acknowledgement of the one before."""

Trips = Callable[[], Awaitable[None]]


class Echo:
    """Two sockets of one event loop, and who waits for what comes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        self._waiting: list[asyncio.Future[bytes]] = [self._loop.create_future() for _ in range(2)]
        for index, sock in enumerate(self._sockets):
            sock.bind((HOST, 0))
            sock.setblocking(False)
            self._loop.add_reader(sock, self._read, index)
        for one, other in (self._sockets, reversed(self._sockets)):
            one.connect(other.getsockname())

    def _read(self, index: int) -> None:
        self._waiting[index].set_result(self._sockets[index].recv(2048))

    async def _next(self, index: int) -> bytes:
        data = await self._waiting[index]
        self._waiting[index] = self._loop.create_future()
        return data

    async def trips(self) -> None:
        """Send and answer."""

        async def answer() -> None:
            for _ in range(TRIPS):
                self._sockets[1].send(await self._next(1))

        answering = self._loop.create_task(answer())
        for _ in range(TRIPS):
            self._sockets[0].send(PACKET)
            await self._next(0)
        await answering

    def close(self) -> None:
        """Close the sockets."""
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()


def dtls() -> Trips:
    """Return what sends packets both ways through DTLS in memory."""
    ours, theirs = Certificate.generate(), Certificate.generate()
    one = DtlsAssociation(DtlsContext(ours), role="client", fingerprints=(theirs.fingerprint,))
    other = DtlsAssociation(DtlsContext(theirs), role="server", fingerprints=(ours.fingerprint,))
    one.start(now=0.0)
    other.start(now=0.0)
    while not (one.is_established and other.is_established):
        for end, peer in ((one, other), (other, one)):
            while (transmit := end.poll_transmit()) is not None:
                peer.receive([transmit], now=0.0)

    async def trips() -> None:
        for _ in range(TRIPS):
            for end, peer in ((one, other), (other, one)):
                end.send([PACKET])
                transmit = end.poll_transmit()
                if transmit is not None:
                    peer.receive([transmit], now=0.0)

    return trips


def sctp() -> Trips:
    """Return what sends messages both ways through SCTP in memory."""
    one, other = (SctpAssociation(SCTP, entropy=os.urandom) for _ in range(2))
    one.connect(now=0.0)
    other.connect(now=0.0, patience_s=1.0)
    for _ in range(2):
        other.receive(one.poll_packets(), now=0.0)
        one.receive(other.poll_packets(), now=0.0)
    now = 1.0

    async def trips() -> None:
        nonlocal now
        for _ in range(TRIPS):
            for end, peer in ((one, other), (other, one)):
                now += 1e-4
                end.send(1000, 53, MESSAGE, now=now)
                peer.receive(end.poll_packets(), now=now)
                end.next_timer()
                peer.poll_batch()
                peer.consumed(1000, len(MESSAGE))

    return trips


async def measure(rounds: int) -> None:
    """Print one line for each kind."""
    sessions: list[Session] = []

    async def channels(*options: str) -> Trips:
        engine = load("dcsdk", frozenset(options), HOST)
        one, other = engine.session(), engine.session()
        await one.accept(await other.answer(await one.offer()))
        await one.opened()
        await other.opened()
        sessions.extend((one, other))

        async def trips() -> None:
            echoing = asyncio.ensure_future(other.echo(TRIPS))
            await one.ping(MESSAGE, TRIPS)
            await echoing

        return trips

    bare = Echo()
    kinds: dict[str, Trips] = {
        "sockets and futures": bare.trips,
        "DTLS": dtls(),
        "SCTP": sctp(),
        "channels": await channels(),
        "channels, raw": await channels("raw"),
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(rounds + 1):
        for name, trips in kinds.items():
            began = time.process_time()
            await trips()
            if number:
                times[name].append((time.process_time() - began) / TRIPS * 1e6)
    for name, values in times.items():
        print(f"{name:>20}: p50 {statistics.median(values):.0f} us, best {min(values):.0f} us")
    bare.close()
    for session in sessions:
        await session.close()


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rtt_micro", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help=f"of {TRIPS} round trips each")
    asyncio.run(measure(parser.parse_args().rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
