from __future__ import annotations

import pytest
from OpenSSL import SSL

from dcsdk.errors import (
    PeerUnreachable,
    SecurityError,
)
from dcsdk.interfaces import DtlsRole
from dcsdk.tls.dtls import (
    MAX_RESTARTS,
)

from .ends import ROLES, End, errors_left, make_pair, pump

pytestmark = pytest.mark.usefixtures("protection")


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
@pytest.mark.clause("RFC 8446 6.1")
def test_a_close_alert_in_the_handshake_is_named() -> None:
    client, server = make_pair()
    server.give(client.take())
    client.give([(b"\x15\xfe\xfd\0\0" + bytes(5) + b"\5\0\2\1\0", 15)])
    client.take()
    assert isinstance(client.error, SecurityError)
    assert str(client.error) == "the peer closed during the DTLS handshake"


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
    assert errors_left() == 0


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
