"""What an association costs to set up, and how much of that is cryptography.

``python -m benchmarks.setup_micro [--rounds N]`` prints milliseconds of CPU time of one end, both
ends in this process, each kind in turn in every round: what pyOpenSSL takes for a DTLS handshake in
memory; the same with our machine round it, certificates checked by fingerprint; SCTP in memory; and
associations on sockets, without and with ICE. Nothing that opens an association can cost less than
the first line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

from OpenSSL import SSL

from benchmarks.engines import load
from benchmarks.engines.base import Engine
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.sctp.association import SctpAssociation
from dcsdk.tls.certificate import Certificate
from dcsdk.tls.context import DtlsContext
from dcsdk.tls.dtls import DtlsAssociation

HOST = "127.0.0.1"
WARM_UP = 10
SCTP = EngineConfig().sctp_for(
    local_port=5000, remote_port=5000, max_message_size=262_144, remote_max_message_size=262_144
)

SetUp = Callable[[], Awaitable[None]]


class Trusting:
    """Takes any certificate: what checking costs is not OpenSSL's."""

    def accepts(self, der: bytes) -> bool:
        """Tell that the certificate is right."""
        return True


def openssl() -> SetUp:
    """Return what shakes hands with pyOpenSSL alone."""
    contexts = [DtlsContext(Certificate.generate()) for _ in range(2)]

    async def set_up() -> None:
        ends = [SSL.Connection(context.ssl) for context in contexts]
        for end in ends:
            end.set_app_data(Trusting())
            end.set_ciphertext_mtu(1200)
        ends[0].set_connect_state()
        ends[1].set_accept_state()
        waiting = set(ends)
        while waiting:
            for one, other in (ends, reversed(ends)):
                with contextlib.suppress(SSL.WantReadError):
                    one.do_handshake()
                    waiting.discard(one)
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(one.bio_read(1 << 16))

    return set_up


def dtls() -> SetUp:
    """Return what shakes hands in memory."""
    ours, theirs = Certificate.generate(), Certificate.generate()
    contexts = DtlsContext(ours), DtlsContext(theirs)

    async def set_up() -> None:
        client = DtlsAssociation(contexts[0], role="client", fingerprints=(theirs.fingerprint,))
        server = DtlsAssociation(contexts[1], role="server", fingerprints=(ours.fingerprint,))
        client.start(now=0.0)
        server.start(now=0.0)
        while not (client.is_established and server.is_established):
            for one, other in ((client, server), (server, client)):
                while (transmit := one.poll_transmit()) is not None:
                    other.receive([transmit], now=0.0)

    return set_up


async def sctp() -> None:
    """Set SCTP up in memory, one end waiting for the other as on sockets."""
    server = SctpAssociation(SCTP, entropy=os.urandom)
    client = SctpAssociation(SCTP, entropy=os.urandom)
    server.connect(now=0.0)
    client.connect(now=0.0, patience_s=1.0)
    for _ in range(2):
        client.receive(server.poll_packets(), now=0.0)
        server.receive(client.poll_packets(), now=0.0)


def associations(engine: Engine) -> SetUp:
    """Return what opens a channel over sockets, and closes it."""

    async def set_up() -> None:
        one, other = engine.session(), engine.session()
        await one.accept(await other.answer(await one.offer()))
        await one.opened()
        await other.opened()
        used.append(time.process_time())
        await one.close()
        await other.close()

    return set_up


used: list[float] = []
"""When an association was up, of the process's CPU clock: closing it is not set-up."""


async def measure(rounds: int) -> None:
    """Print one line for each kind."""
    kinds: dict[str, SetUp] = {
        "OpenSSL": openssl(),
        "DTLS": dtls(),
        "SCTP": sctp,
        "association": associations(load("dcsdk", frozenset(), HOST)),
        "with ICE": associations(load("dcsdk", frozenset({"ice"}), HOST)),
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds + WARM_UP):
        for name, set_up in kinds.items():
            used.clear()
            began = time.process_time()
            await set_up()
            ended = used[0] if used else time.process_time()
            times[name].append((ended - began) / 2 * 1e3)
    floor = statistics.median(times["OpenSSL"][WARM_UP:])
    for name, values in times.items():
        middle = statistics.median(values[WARM_UP:])
        print(f"{name:>12}: p50 {middle:.2f} ms, {middle / floor:.1f} x OpenSSL")


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.setup_micro", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="set-ups of each kind")
    asyncio.run(measure(parser.parse_args().rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
