from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from dcsdk.errors import (
    FingerprintMismatch,
    LocalProtocolError,
    PeerUnreachable,
    SecurityError,
    TransportError,
)
from dcsdk.interfaces import DtlsRole
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate
from dcsdk.tls.context import CIPHERS, DtlsContext
from dcsdk.tls.dtls import (
    MAX_RESTARTS,
    DtlsAssociation,
    DtlsClosed,
    DtlsEvent,
    HandshakeDone,
    Transmit,
)
from dcsdk.tls.records import HEADER_LENGTH

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


@pytest.fixture
def pair() -> tuple[End, End]:
    client, server = make_pair()
    pump(client, server)
    assert client.machine.is_established
    assert server.machine.is_established
    return client, server


def datagrams(transmits: Sequence[Transmit]) -> Iterator[bytes]:
    for data, size in transmits:
        for start in range(0, len(data), size):
            yield data[start : start + size]


# --- handshake ------------------------------------------------------------------------------------
@pytest.mark.clause("TS 33.328 Annex M", "RFC 8122 6.2")
def test_both_ends_prove_their_certificates(pair: tuple[End, End]) -> None:
    client, server = pair
    (done,) = client.events
    assert isinstance(done, HandshakeDone)
    assert done.suite == "ECDHE-ECDSA-AES128-GCM-SHA256"
    assert done.version == "DTLSv1.2"
    assert done.peer_certificate == PEERS.der
    assert done.peer_fingerprint == PEERS.fingerprint
    (done,) = server.events
    assert isinstance(done, HandshakeDone)
    assert done.peer_fingerprint == OURS.fingerprint


@pytest.mark.clause("RFC 8831 5")
@pytest.mark.parametrize("mtu", [256, 600, 1200])
def test_no_datagram_exceeds_the_mtu(mtu: int) -> None:
    client, server = make_pair(mtu)
    carried = list(datagrams(pump(client, server)))
    assert client.machine.is_established
    assert max(map(len, carried)) <= mtu
    client.send([bytes(client.machine.max_plaintext)])
    assert [len(item) for item in datagrams(client.take())] == [mtu]


@pytest.mark.clause("RFC 8122 6.2", "D13")
@pytest.mark.parametrize("role", ROLES)
def test_a_wrong_fingerprint_ends_with_bad_certificate(role: DtlsRole) -> None:
    wrong = End(role, certificate=OURS, fingerprints=[Certificate.generate().fingerprint])
    other_role: DtlsRole = "server" if role == "client" else "client"
    other = End(other_role, certificate=PEERS, fingerprints=[OURS.fingerprint])
    for end in (wrong, other):
        end.machine.start(now=time.monotonic())
    pump(wrong, other)
    assert isinstance(wrong.error, FingerprintMismatch)
    assert isinstance(other.error, SecurityError)
    assert "bad certificate" in str(other.error)
    assert not any(isinstance(event, HandshakeDone) for event in wrong.events)
    with pytest.raises(LocalProtocolError):
        wrong.send([b"never"])


@pytest.mark.clause("RFC 8122 5")
def test_one_of_several_fingerprints_is_enough() -> None:
    client, server = make_pair()
    server = End(
        "server",
        certificate=PEERS,
        fingerprints=[
            Certificate.generate().fingerprint,
            Fingerprint.of_certificate(OURS.der, "sha-512"),
        ],
    )
    server.machine.start(now=time.monotonic())
    pump(client, server)
    assert server.machine.is_established


@pytest.mark.clause("RFC 8122 5")
def test_an_unknown_hash_never_matches() -> None:
    odd = Fingerprint(hash_function="sha3-256", digest=bytes(32))
    client = End("client", certificate=OURS, fingerprints=[odd])
    server = End("server", certificate=PEERS, fingerprints=[OURS.fingerprint])
    for end in (server, client):
        end.machine.start(now=time.monotonic())
    pump(client, server)
    assert isinstance(client.error, FingerprintMismatch)


@pytest.mark.clause("RFC 8122 5")
def test_no_fingerprint_at_all_is_refused() -> None:
    with pytest.raises(SecurityError, match="no fingerprint"):
        DtlsAssociation(DtlsContext(OURS), role="client", fingerprints=[])


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


@pytest.mark.clause("RFC 8122 6.2", "RFC 8842 5.2")
def test_a_client_without_a_certificate_is_refused() -> None:
    server = End("server", certificate=PEERS, fingerprints=[OURS.fingerprint])
    server.machine.start(now=time.monotonic())
    plain = Plain("client")
    shake(plain, server)
    assert isinstance(server.error, FingerprintMismatch)
    assert "no certificate" in str(server.error)
    assert plain.error is not None


def test_a_server_that_asks_for_no_certificate_is_still_verified() -> None:
    client = End("client", certificate=OURS, fingerprints=[PEERS.fingerprint])
    client.machine.start(now=time.monotonic())
    shake(Plain("server"), client)
    assert client.machine.is_established


@pytest.mark.clause("TS 33.210 6.2.2")
@pytest.mark.parametrize("suite", [b"ECDHE-ECDSA-CHACHA20-POLY1305", b"ECDHE-ECDSA-AES128-SHA256"])
def test_a_suite_outside_the_profile_is_refused(suite: bytes) -> None:
    server = End("server", certificate=PEERS, fingerprints=[OURS.fingerprint])
    server.machine.start(now=time.monotonic())
    plain = Plain("client", ciphers=suite)
    shake(plain, server)
    assert isinstance(server.error, SecurityError)
    assert plain.error is not None


def test_starting_twice_is_an_error(pair: tuple[End, End]) -> None:
    with pytest.raises(LocalProtocolError, match="started before"):
        pair[0].machine.start(now=0.0)


# --- a bad network --------------------------------------------------------------------------------
def test_a_timer_that_is_not_due_does_nothing() -> None:
    client, _ = make_pair()
    client.take()
    due = client.machine.next_timer()
    assert due is not None
    client.machine.handle_timer(now=due - 0.5)
    assert client.take() == []
    assert client.machine.next_timer() == due


def test_giving_up_the_handshake_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = make_pair()
    client.take()

    def refuse(self: SSL.Connection) -> bool:
        raise SSL.Error([("SSL routines", "", "read timeout expired")])

    monkeypatch.setattr(SSL.Connection, "DTLSv1_handle_timeout", refuse)
    due = client.machine.next_timer()
    assert due is not None
    client.machine.handle_timer(now=due)
    client.take()
    assert isinstance(client.error, PeerUnreachable)


# --- hostile input --------------------------------------------------------------------------------
@pytest.mark.clause("RFC 6347 4.1.2.7")
@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\x00" * 40,
        b"\x16",
        b"\x16\xfe\xfd" + bytes(20),
        b"\x17\xfe\xfd\x00\x00" + bytes(6) + b"\x00\x05hello",
        bytes(range(256)),
    ],
    ids=["empty", "stun-like", "one byte", "zeros", "plain data", "counting"],
)
@pytest.mark.parametrize("role", ROLES)
def test_junk_before_the_handshake_changes_nothing(role: DtlsRole, junk: bytes) -> None:
    client, server = make_pair()
    target = client if role == "client" else server
    target.give([(junk, max(1, len(junk)))])
    pump(client, server)
    assert client.machine.is_established
    assert server.machine.is_established


def test_a_nonsensical_first_flight_does_not_end_the_server() -> None:
    client, server = make_pair()
    body = b"\x63" + (20).to_bytes(3, "big") + bytes(2) + bytes(3) + (20).to_bytes(3, "big")
    nonsense = b"\x16\xfe\xfd" + bytes(8) + (len(body) + 20).to_bytes(2, "big") + body + bytes(20)
    for _ in range(MAX_RESTARTS):
        server.give([(nonsense, len(nonsense))])
    assert server.machine.records_dropped == MAX_RESTARTS
    pump(client, server)
    assert server.machine.is_established


def test_nonsense_without_end_is_bounded() -> None:
    _, server = make_pair()
    body = b"\x63" + (20).to_bytes(3, "big") + bytes(2) + bytes(3) + (20).to_bytes(3, "big")
    nonsense = b"\x16\xfe\xfd" + bytes(8) + (len(body) + 20).to_bytes(2, "big") + body + bytes(20)
    for _ in range(MAX_RESTARTS + 1):
        server.give([(nonsense, len(nonsense))])
    server.take()
    assert isinstance(server.error, SecurityError)
    server.give([(nonsense, len(nonsense))])


@pytest.mark.parametrize("flip", [0, 1, 2, 4, 10, 11, 12, 13, 40, -1])
def test_a_corrupt_record_costs_only_itself(pair: tuple[End, End], flip: int) -> None:
    client, server = pair
    packets = [bytes([n]) * 100 for n in range(20)]
    client.send(packets)
    ((data, size),) = client.take()
    damaged = bytearray(data)
    start = 7 * size
    damaged[start + flip if flip >= 0 else start + size - 1] ^= 0x41
    server.give([(bytes(damaged), size)])
    assert server.packets == packets[:7] + packets[8:]
    assert server.machine.is_established
    client.send([b"after"])
    pump(client, server)
    assert server.packets[-1] == b"after"


@pytest.mark.clause("RFC 6347 4.1.2.6")
def test_replayed_records_are_dropped(pair: tuple[End, End]) -> None:
    client, server = pair
    client.send([b"one", b"two", b"six"])
    transmits = client.take()
    for _ in range(3):
        server.give(transmits)
    assert server.packets == [b"one", b"two", b"six"]
    assert server.machine.records_dropped > 0


def test_plain_data_after_the_handshake_is_ignored(pair: tuple[End, End]) -> None:
    _, server = pair
    plain = b"\x17\xfe\xfd\x00\x00" + bytes(6) + b"\x00\x05hello"
    server.give([(plain, len(plain)), (plain * 3, len(plain))])
    assert server.packets == []
    assert server.machine.is_established


def test_an_unencrypted_alert_after_the_handshake_is_ignored(pair: tuple[End, End]) -> None:
    _, server = pair
    alert = b"\x15\xfe\xfd\x00\x00" + bytes(6) + b"\x00\x02\x02\x28"
    server.give([(alert, len(alert))])
    server.take()
    assert server.machine.is_established


# --- data -----------------------------------------------------------------------------------------
def test_packets_arrive_whole_and_in_order(pair: tuple[End, End]) -> None:
    client, server = pair
    sizes = [1160] * 130 + [40, 40, 1160, 7, 900, 900, 1, 1160]
    packets = [bytes([n % 251]) * size for n, size in enumerate(sizes)]
    client.send(packets)
    pump(client, server)
    assert server.packets == packets
    server.send(packets[:3])
    pump(client, server)
    assert client.packets == packets[:3]


def test_equal_packets_leave_as_one_segmented_send(pair: tuple[End, End]) -> None:
    client, _ = pair
    client.send([bytes(1160)] * 40 + [bytes(100)])
    (transmit,) = client.take()
    assert transmit.segment_size == 1160 + 37
    assert len(transmit.data) == 40 * (1160 + 37) + 137


@pytest.mark.parametrize(("size", "count"), [(1160, 200), (20, 500)])
def test_one_send_never_exceeds_what_the_kernel_takes(
    pair: tuple[End, End], size: int, count: int
) -> None:
    client, server = pair
    client.send([bytes(size)] * count)
    transmits = client.take()
    for data, segment_size in transmits:
        assert len(data) <= 64_000
        assert -(-len(data) // segment_size) <= 60
    server.give(transmits)
    assert server.packets == [bytes(size)] * count


def test_several_records_in_one_datagram_are_read(pair: tuple[End, End]) -> None:
    client, server = pair
    client.send([b"a", b"bb", b"ccc"])
    glued = b"".join(datagrams(client.take()))
    server.give([(glued, len(glued))])
    assert server.packets == [b"a", b"bb", b"ccc"]


def test_data_that_overtakes_the_last_flight_is_not_lost() -> None:
    client, server = make_pair()
    server.give(client.take())
    client.give(server.take())
    server.give(client.take())
    assert server.machine.is_established
    last_flight = server.take()
    server.send([b"early"])
    (early,) = server.take()
    client.give([early])
    client.give(last_flight)
    client.take()
    assert client.machine.is_established
    assert client.packets == [b"early"]


def test_data_before_the_handshake_is_an_error_of_ours() -> None:
    client, _ = make_pair()
    with pytest.raises(LocalProtocolError):
        client.send([b"x"])
    with pytest.raises(LocalProtocolError):
        client.machine.export_keying_material(b"EXPERIMENTAL", 16)


# --- the end --------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8446 6.1", "RFC 5246 7.2.1")
@pytest.mark.parametrize("role", ROLES)
def test_a_close_alert_ends_both_ends(pair: tuple[End, End], role: DtlsRole) -> None:
    client, server = pair
    closing, other = (client, server) if role == "client" else (server, client)
    closing.send([b"last"])
    closing.machine.close()
    closing.machine.close()
    pump(client, server)
    assert other.packets == [b"last"]
    assert closing.error is None
    assert other.error is None
    with pytest.raises(LocalProtocolError):
        other.send([b"x"])


def test_closing_in_mid_handshake_is_quiet() -> None:
    client, _ = make_pair()
    client.machine.close()
    client.take()
    assert client.error is None
    assert client.machine.next_timer() is None
    client.machine.handle_timer(now=time.monotonic() + 60)


def test_a_failing_write_is_a_typed_error(
    pair: tuple[End, End], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = pair

    def refuse(self: SSL.Connection, data: bytes, flags: int = 0) -> int:
        raise SSL.Error([("SSL routines", "", "broken")])

    monkeypatch.setattr(SSL.Connection, "send", refuse)
    client.send([b"x"])
    client.take()
    assert isinstance(client.error, TransportError)
    assert "broken" in str(client.error)


def test_a_failing_read_is_a_typed_error(
    pair: tuple[End, End], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair
    client.send([b"x"])

    def refuse(self: SSL.Connection, size: int) -> bytes:
        raise SSL.Error([])

    monkeypatch.setattr(SSL.Connection, "recv", refuse)
    server.give(client.take())
    server.take()
    assert isinstance(server.error, TransportError)


# --- beside the data ------------------------------------------------------------------------------
@pytest.mark.clause("RFC 5705")
def test_both_ends_export_the_same_keys(pair: tuple[End, End]) -> None:
    client, server = pair
    label = b"EXTRACTOR-dtls_srtp"
    keys = client.machine.export_keying_material(label, 60)
    assert len(keys) == 60
    assert keys == server.machine.export_keying_material(label, 60)
    assert keys != server.machine.export_keying_material(label, 60, b"")


def test_the_key_log_gets_the_secrets_and_nothing_gets_them_without_it() -> None:
    lines: list[bytes] = []
    context = DtlsContext(OURS, keylog=lines.append)
    client = End("client", certificate=OURS, fingerprints=[PEERS.fingerprint], context=context)
    server = End("server", certificate=PEERS, fingerprints=[OURS.fingerprint])
    for end in (server, client):
        end.machine.start(now=time.monotonic())
    pump(client, server)
    assert len(lines) == 1
    assert lines[0].startswith(b"CLIENT_RANDOM ")


def test_one_context_serves_many_associations() -> None:
    context = DtlsContext(OURS)
    server_context = DtlsContext(PEERS)
    for _ in range(3):
        client = End("client", certificate=OURS, fingerprints=[PEERS.fingerprint], context=context)
        server = End(
            "server", certificate=PEERS, fingerprints=[OURS.fingerprint], context=server_context
        )
        for end in (server, client):
            end.machine.start(now=time.monotonic())
        pump(client, server)
        assert server.machine.is_established


def test_records_of_another_length_than_expected_are_split_by_their_headers(
    pair: tuple[End, End], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suite with another overhead than AES-GCM's must still give whole records."""
    client, _ = pair
    record = b"\x17\xfe\xfd\x00\x01" + bytes(6) + (29).to_bytes(2, "big") + bytes(29)
    monkeypatch.setattr(DtlsAssociation, "_encrypt", lambda *_: record * 2)
    client.send([b"x" * 6, b"y" * 6])
    assert client.take() == [Transmit(record, HEADER_LENGTH + 29)] * 2


def test_the_certificate_key_is_the_one_that_signs() -> None:
    """A context refuses a key that does not belong to the certificate."""
    other = ec.generate_private_key(ec.SECP256R1())
    assert isinstance(OURS.x509, x509.Certificate)
    with pytest.raises(SSL.Error):
        DtlsContext(Certificate(other, OURS.x509))
