"""TLS without I/O: against itself, and against Python's ssl module."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from dcsdk.errors import (
    FingerprintMismatch,
    LocalProtocolError,
    SecurityError,
    TransportError,
)
from dcsdk.sdp.association import DtlsRole
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate
from dcsdk.tls.connection import TlsClosed, TlsConnection, TlsContext, TlsEvent
from dcsdk.tls.dtls import HandshakeDone

from .ends import OURS, PEERS, ROLES, errors_left
from .foreign import TLS1_2, TLS1_3, VERSIONS, Foreign, foreign_context

STRANGERS = Certificate.generate()
OTHER: dict[DtlsRole, DtlsRole] = {"client": "server", "server": "client"}
# What Python's ssl calls the alert bad_certificate; the name is as old as SSL 3.
BAD_CERTIFICATE = "BAD_CERTIFICATE"


class TlsEnd:
    """One end of ours, with everything it gave out."""

    def __init__(
        self,
        role: DtlsRole,
        *,
        certificate: Certificate = OURS,
        fingerprints: Sequence[Fingerprint] = (PEERS.fingerprint,),
        context: TlsContext | None = None,
    ) -> None:
        self.machine = TlsConnection(
            context or TlsContext(certificate), role=role, fingerprints=fingerprints
        )
        self.events: list[TlsEvent] = []
        self.received = b""

    def step(self, data: bytes) -> bytes:
        self.machine.receive(data)
        self.received += self.machine.take_data()
        while (event := self.machine.poll_event()) is not None:
            self.events.append(event)
        return self.machine.poll_transmit() or b""

    @property
    def done(self) -> HandshakeDone:
        (done,) = [event for event in self.events if isinstance(event, HandshakeDone)]
        return done

    @property
    def error(self) -> Exception | None:
        (closed,) = [event for event in self.events if isinstance(event, TlsClosed)]
        return closed.error


def exchange(one: TlsEnd, other: TlsEnd | Foreign, first: bytes = b"") -> bytes:
    """Carry bytes until both are silent; return all that ours sent."""
    to_other, carried = one.step(b""), b""
    to_one = first + other.step(b"")
    while to_other or to_one:
        carried += to_other
        to_other, to_one = one.step(to_one), other.step(to_other)
    return carried


def started(role: DtlsRole, **options: Sequence[Fingerprint]) -> TlsEnd:
    end = TlsEnd(role, **options)
    end.machine.start()
    return end


def foreign(
    role: DtlsRole,
    version: ssl.TLSVersion = TLS1_3,
    certificate: Certificate | None = PEERS,
    trusted: Certificate | None = OURS,
) -> Foreign:
    return Foreign(
        role, foreign_context(role, certificate=certificate, trusted=trusted, version=version)
    )


# --- against ourselves ----------------------------------------------------------------------------
@pytest.fixture
def pair() -> tuple[TlsEnd, TlsEnd]:
    client = started("client")
    server = TlsEnd("server", certificate=PEERS, fingerprints=[OURS.fingerprint])
    server.machine.start()
    exchange(client, server)
    assert client.machine.is_established
    assert server.machine.is_established
    return client, server


@pytest.mark.clause("RFC 8122 6.2", "TS 33.210 6.2")
def test_two_ends_know_each_other_and_speak_tls_1_3(pair: tuple[TlsEnd, TlsEnd]) -> None:
    client, server = pair
    assert client.done.version == server.done.version == "TLSv1.3"
    assert client.done.peer_fingerprint == PEERS.fingerprint
    assert server.done.peer_certificate == OURS.der
    client.machine.send(b"from the client")
    server.machine.send(memoryview(bytes(1 << 20)))
    exchange(client, server)
    assert server.received == b"from the client"
    assert client.received == bytes(1 << 20)


@pytest.mark.clause("RFC 8446 6.1")
@pytest.mark.parametrize("closer", [0, 1])
def test_a_close_alert_is_answered_and_ends_both_in_order(
    pair: tuple[TlsEnd, TlsEnd], closer: int
) -> None:
    pair[closer].machine.send(b"last words")
    pair[closer].machine.close()
    pair[closer].machine.close()
    exchange(*pair)
    assert pair[1 - closer].received == b"last words"
    for end in pair:
        assert end.error is None
        assert not end.machine.is_established
        end.machine.receive_eof()
        end.machine.receive(b"late")
        with pytest.raises(LocalProtocolError):
            end.machine.send(b"late")


@pytest.mark.clause("RFC 8446 6.1")
def test_an_end_without_close_alert_is_an_error(pair: tuple[TlsEnd, TlsEnd]) -> None:
    client, _ = pair
    client.machine.receive_eof()
    client.step(b"")
    assert isinstance(client.error, TransportError)
    assert "may be missing" in str(client.error)


def test_a_forged_record_ends_the_connection(pair: tuple[TlsEnd, TlsEnd]) -> None:
    client, server = pair
    client.machine.send(b"true")
    record = bytearray(client.step(b""))
    record[-1] ^= 1
    assert server.step(bytes(record)), "an alert"
    assert server.received == b""
    assert isinstance(server.error, TransportError)
    assert errors_left() == 0


def test_data_that_cannot_be_encrypted_ends_the_connection(
    pair: tuple[TlsEnd, TlsEnd], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: SSL.Connection, data: bytes) -> int:
        raise SSL.Error([("SSL routines", "", "no room")])

    monkeypatch.setattr(SSL.Connection, "sendall", refuse)
    client, _ = pair
    client.machine.send(b"x")
    client.step(b"")
    assert "no room" in str(client.error)
    assert not client.machine.is_established


@pytest.mark.clause("RFC 8122 5")
def test_no_fingerprint_is_no_peer() -> None:
    with pytest.raises(SecurityError):
        TlsEnd("client", fingerprints=[])


@pytest.mark.parametrize("role", ROLES)
def test_nothing_of_the_user_is_sent_before_the_peer_is_verified(role: DtlsRole) -> None:
    end = TlsEnd(role)
    with pytest.raises(LocalProtocolError):
        end.machine.send(b"early")
    end.machine.start()
    with pytest.raises(LocalProtocolError):
        end.machine.send(b"early")
    with pytest.raises(LocalProtocolError):
        end.machine.start()


def test_closing_in_the_handshake_says_nothing_of_the_user() -> None:
    end = started("client")
    end.machine.close()
    end.step(b"")
    assert end.error is None


def test_the_end_of_the_stream_in_the_handshake_is_named() -> None:
    end = started("server")
    end.machine.receive_eof()
    end.step(b"")
    assert str(end.error) == "the peer closed during the TLS handshake"


def test_a_key_log_gets_the_secrets_and_nobody_else(pair: tuple[TlsEnd, TlsEnd]) -> None:
    lines: list[bytes] = []
    client = TlsEnd("client", context=TlsContext(OURS, keylog=lines.append))
    client.machine.start()
    exchange(client, foreign("server"))
    assert any(line.startswith(b"CLIENT_TRAFFIC_SECRET_0 ") for line in lines)


# --- against Python's ssl -------------------------------------------------------------------------
@pytest.mark.clause("RFC 8122 6.2")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("role", ROLES)
def test_the_right_fingerprint_is_accepted(role: DtlsRole, version: ssl.TLSVersion) -> None:
    ours, peer = started(role), foreign(OTHER[role], version)
    exchange(ours, peer)
    assert ours.done.version == peer.tls.version()
    assert peer.tls.getpeercert(binary_form=True) == OURS.der
    ours.machine.send(b"ours")
    exchange(ours, peer, peer.say(b"theirs"))
    assert (peer.received, ours.received) == (b"ours", b"theirs")
    exchange(ours, peer, peer.say_goodbye())
    assert ours.error is None


@pytest.mark.clause("RFC 8122 6.2")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("role", ROLES)
def test_a_wrong_fingerprint_is_refused_in_the_handshake_and_the_peer_told(
    role: DtlsRole, version: ssl.TLSVersion
) -> None:
    ours, peer = started(role), foreign(OTHER[role], version, certificate=STRANGERS)
    exchange(ours, peer)
    assert isinstance(ours.error, FingerprintMismatch)
    assert peer.error is not None
    assert BAD_CERTIFICATE in peer.error.reason
    assert not ours.machine.is_established


@pytest.mark.clause("RFC 8122 6.2")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_without_certificate_is_refused(version: ssl.TLSVersion) -> None:
    ours, peer = started("server"), foreign("client", version, certificate=None)
    exchange(ours, peer)
    assert isinstance(ours.error, FingerprintMismatch)
    assert "no certificate" in str(ours.error)
    assert peer.error is not None


@pytest.mark.clause("RFC 8446 4.4.2.4")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_refuses_our_certificate_is_a_security_error(
    version: ssl.TLSVersion,
) -> None:
    """In TLS 1.3 our handshake was over by then."""
    ours, peer = started("client"), foreign("server", version, trusted=STRANGERS)
    exchange(ours, peer)
    assert isinstance(ours.error, SecurityError)
    assert "the peer ended the TLS handshake" in str(ours.error)
    assert bool([event for event in ours.events if isinstance(event, HandshakeDone)]) == (
        version is TLS1_3
    )


@pytest.mark.clause("RFC 8446 6.2")
def test_an_alert_after_data_is_no_refusal(pair: tuple[TlsEnd, TlsEnd]) -> None:
    client, server = pair
    server.machine.send(b"welcome")
    exchange(client, server)
    forged = server.step(b"\x17\x03\x03\x00\x20" + bytes(32))
    client.step(forged)
    assert isinstance(client.error, TransportError)
    assert "alert" in str(client.error)


@pytest.mark.clause("TS 33.210 6.2", "RFC 8996 4")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.parametrize("role", ROLES)
def test_old_versions_are_refused(role: DtlsRole, version: ssl.TLSVersion) -> None:
    ours, peer = started(role), foreign(OTHER[role], version)
    exchange(ours, peer)
    assert isinstance(ours.error, SecurityError)
    assert peer.error is not None
    assert not peer.is_done


@pytest.mark.clause("TS 33.210 6.2")
@pytest.mark.parametrize("role", ROLES)
def test_weak_suites_are_refused(role: DtlsRole) -> None:
    context = foreign_context(OTHER[role], certificate=PEERS, version=TLS1_2)
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA")
    ours, peer = started(role), Foreign(OTHER[role], context)
    exchange(ours, peer)
    assert isinstance(ours.error, SecurityError)
    assert not peer.is_done


@pytest.mark.clause("RFC 8122 6.2")
@pytest.mark.parametrize("version", VERSIONS)
def test_no_session_is_resumed(version: ssl.TLSVersion) -> None:
    """A resumed session would show no certificate."""
    context = foreign_context("client", certificate=PEERS, trusted=OURS, version=version)
    ours_context = TlsContext(OURS)
    session = None
    for _ in range(2):
        ours = TlsEnd("server", context=ours_context)
        ours.machine.start()
        peer = Foreign("client", context, session)
        exchange(ours, peer)
        ours.machine.send(b"data, behind tickets if there are any")
        exchange(ours, peer)
        assert ours.done.peer_fingerprint == PEERS.fingerprint
        assert not peer.tls.session_reused
        session = peer.tls.session


@pytest.mark.clause("RFC 8122 6.2", "RFC 9325 3.5")
@pytest.mark.parametrize("role", ROLES)
def test_renegotiation_is_refused(role: DtlsRole) -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    context.use_certificate(PEERS.x509)
    context.use_privatekey(PEERS.key)
    peer = SSL.Connection(context)
    (peer.set_accept_state if role == "client" else peer.set_connect_state)()
    ours = started(role)

    refusals: list[SSL.Error] = []

    def carry() -> None:
        for _ in range(6):
            try:
                peer.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as exc:
                refusals.append(exc)
            try:
                to_ours = peer.bio_read(65_536)
            except SSL.WantReadError:
                to_ours = b""
            if to_peer := ours.step(to_ours):
                peer.bio_write(to_peer)

    carry()
    assert ours.machine.is_established
    assert not refusals
    peer.renegotiate()
    carry()
    assert len([event for event in ours.events if isinstance(event, HandshakeDone)]) == 1
    if role == "server":
        assert "no renegotiation" in str(refusals[0])
    else:
        assert ours.machine.is_established, "a request to renegotiate is not followed"


@given(st.binary(max_size=200), st.sampled_from(ROLES))
def test_any_bytes_give_nothing_or_a_security_error(data: bytes, role: DtlsRole) -> None:
    end = TlsEnd(role, context=CONTEXT)
    end.machine.start()
    end.step(data)
    end.machine.receive_eof()
    end.step(b"")
    assert isinstance(end.error, SecurityError)
    assert end.received == b""
    assert errors_left() == 0


CONTEXT = TlsContext(OURS)
