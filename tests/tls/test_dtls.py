from __future__ import annotations

import gc
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from dcsdk.errors import (
    FingerprintMismatch,
    LocalProtocolError,
    SecurityError,
    TransportError,
)
from dcsdk.interfaces import DtlsRole
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate
from dcsdk.tls.context import DtlsContext
from dcsdk.tls.dtls import (
    DtlsAssociation,
    HandshakeDone,
    Transmit,
)
from dcsdk.tls.records import GCM_OVERHEAD, HEADER_LENGTH

from .ends import (
    OURS,
    PEERS,
    ROLES,
    End,
    Plain,
    datagrams,
    errors_left,
    make_pair,
    pump,
    shake,
)

pytestmark = pytest.mark.usefixtures("protection")


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


@pytest.mark.clause("RFC 5764 4.1.1")
@pytest.mark.parametrize("role", ROLES)
def test_an_srtp_profile_is_agreed_with_peers_that_want_one(role: DtlsRole) -> None:
    client, server = make_pair()
    pump(client, server)
    ours = client if role == "client" else server
    assert ours.machine._ssl is not None
    assert ours.machine._ssl.get_selected_srtp_profile() == b"SRTP_AEAD_AES_128_GCM"


@pytest.mark.clause("RFC 5764 4.1.1")
@pytest.mark.parametrize("role", ROLES)
def test_peers_that_know_no_srtp_are_connected_too(
    role: DtlsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(SSL.Context, "set_tlsext_use_srtp", lambda context, profiles: None)
        without = DtlsContext(PEERS)
    peer_role: DtlsRole = "server" if role == "client" else "client"
    ours = End(role, certificate=OURS, fingerprints=[PEERS.fingerprint])
    peer = End(peer_role, certificate=PEERS, fingerprints=[OURS.fingerprint], context=without)
    pair = (ours, peer) if role == "client" else (peer, ours)
    for end in pair:
        end.machine.start(now=time.monotonic())
    pump(*pair)
    assert ours.machine.is_established and peer.machine.is_established
    assert ours.machine._ssl is not None
    assert ours.machine._ssl.get_selected_srtp_profile() == b""


@pytest.mark.clause("RFC 8831 5")
@pytest.mark.parametrize("mtu", [256, 600, 1200])
def test_no_datagram_exceeds_the_mtu(mtu: int) -> None:
    client, server = make_pair(mtu)
    carried = list(datagrams(pump(client, server)))
    assert client.machine.is_established
    assert max(map(len, carried)) <= mtu
    client.send([bytes(mtu - GCM_OVERHEAD)])
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


def test_a_failing_write_is_a_typed_error(pair: tuple[End, End]) -> None:
    client, _ = pair
    assert client.machine._ssl is not None
    client.machine._ssl.shutdown()
    client.send([b"x"])
    client.take()
    assert isinstance(client.error, TransportError)
    assert "protocol is shutdown" in str(client.error)
    assert errors_left() == 0


def test_a_failing_read_is_a_typed_error(
    pair: tuple[End, End], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair
    client.send([b"x"])
    sent = client.take()
    server.give(sent)

    def refuse(self: SSL.Connection, ssl: object, result: int) -> None:
        raise SSL.Error([])

    monkeypatch.setattr(SSL.Connection, "_raise_ssl_error", refuse)
    server.give(sent)  # nothing to read, for it came before
    server.take()
    assert isinstance(server.error, TransportError)


def test_a_peer_that_closed_is_noticed_by_the_next_read(pair: tuple[End, End]) -> None:
    client, server = pair
    client.send([b"x"])
    assert server.machine._ssl is not None
    server.machine._ssl.set_shutdown(SSL.RECEIVED_SHUTDOWN)
    server.give(client.take())
    server.take()
    assert server.error is None
    assert server.packets == []


def test_nothing_goes_through_a_closed_association(pair: tuple[End, End]) -> None:
    client, server = pair
    client.send([b"late"])
    late = client.take()
    server.machine.close()
    gc.collect()
    server.give(late)
    assert server.packets == []
    with pytest.raises(LocalProtocolError):
        server.send([b"x"])


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
    monkeypatch.setattr(type(client.machine._protection), "protect", lambda *_: record * 2)
    client.send([b"x" * 6, b"y" * 6])
    assert client.take() == [Transmit(record, HEADER_LENGTH + 29)] * 2


def test_the_certificate_key_is_the_one_that_signs() -> None:
    """A context refuses a key that does not belong to the certificate."""
    other = ec.generate_private_key(ec.SECP256R1())
    assert isinstance(OURS.x509, x509.Certificate)
    with pytest.raises(SSL.Error):
        DtlsContext(Certificate(other, OURS.x509))
