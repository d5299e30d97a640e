"""Ends of DTLS associations for tests: ours, and a bare OpenSSL one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from OpenSSL import SSL, _util

from dcsdk.interfaces import DtlsRole
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate
from dcsdk.tls.context import CIPHERS, DtlsContext
from dcsdk.tls.dtls import (
    DtlsAssociation,
    DtlsClosed,
    DtlsEvent,
    Transmit,
)

OURS, PEERS = Certificate.generate(), Certificate.generate()
ROLES: list[DtlsRole] = ["client", "server"]


class End:
    """One end with everything it gave out."""

    def __init__(
        self,
        role: DtlsRole,
        *,
        certificate: Certificate,
        fingerprints: Sequence[Fingerprint],
        context: DtlsContext | None = None,
        mtu: int = 1200,
    ) -> None:
        context = context or DtlsContext(certificate)
        self.machine = DtlsAssociation(context, role=role, fingerprints=fingerprints, mtu=mtu)
        self.packets: list[bytes] = []
        self.events: list[DtlsEvent] = []

    def take(self) -> list[Transmit]:
        while (event := self.machine.poll_event()) is not None:
            self.events.append(event)
        transmits = []
        while (transmit := self.machine.poll_transmit()) is not None:
            transmits.append(transmit)
        return transmits

    def give(self, batch: Sequence[tuple[bytes, int]]) -> None:
        self.packets += self.machine.receive(batch, now=time.monotonic())

    def send(self, packets: Sequence[bytes]) -> None:
        start = 0
        while start < len(packets):
            start = self.machine.send(packets, start)

    @property
    def error(self) -> Exception | None:
        (closed,) = [event for event in self.events if isinstance(event, DtlsClosed)]
        return closed.error


def pump(one: End, other: End) -> list[Transmit]:
    """Carry datagrams until both are silent; return all of them."""
    carried: list[Transmit] = []
    while True:
        first, second = one.take(), other.take()
        if not first and not second:
            return carried
        carried += first + second
        if first:
            other.give(first)
        if second:
            one.give(second)


def make_pair(mtu: int = 1200) -> tuple[End, End]:
    client = End("client", certificate=OURS, fingerprints=[PEERS.fingerprint], mtu=mtu)
    server = End("server", certificate=PEERS, fingerprints=[OURS.fingerprint], mtu=mtu)
    server.machine.start(now=time.monotonic())
    client.machine.start(now=time.monotonic())
    return client, server


def datagrams(transmits: Sequence[Transmit]) -> Iterator[bytes]:
    for data, size in transmits:
        for start in range(0, len(data), size):
            yield data[start : start + size]


class Plain:
    """A bare OpenSSL end, for what our own machine would never do."""

    def __init__(self, role: DtlsRole, *, ciphers: bytes = CIPHERS, version: int = 0xFEFD) -> None:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.set_cipher_list(ciphers)
        context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
        if role == "server":
            context.use_certificate(PEERS.x509)
            context.use_privatekey(PEERS.key)
        self.ssl = SSL.Connection(context)
        self.ssl.set_ciphertext_mtu(1200)
        (self.ssl.set_connect_state if role == "client" else self.ssl.set_accept_state)()
        self.error: SSL.Error | None = None

    def step(self, received: Sequence[bytes]) -> list[bytes]:
        for datagram in received or [b""]:
            if datagram:
                self.ssl.bio_write(datagram)
            try:
                self.ssl.do_handshake()
            except SSL.WantReadError:
                continue
            except SSL.Error as exc:
                self.error = exc
        try:
            return [self.ssl.bio_read(65536)]
        except SSL.WantReadError:
            return []


def shake(plain: Plain, end: End) -> None:
    given: list[bytes] = []
    for _ in range(8):
        for datagram in plain.step(given):
            end.give([(datagram, len(datagram))])
        given = list(datagrams(end.take()))


def errors_left() -> int:
    """Return the first error on OpenSSL's queue, which the next call would be blamed for; or 0."""
    error: int = _util.lib.ERR_peek_error()
    return error
