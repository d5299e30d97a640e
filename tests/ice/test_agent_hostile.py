"""The ICE agent when nothing works, and what peers must not be able to do."""

from __future__ import annotations

import itertools
import random

import pytest
from aioice.stun import Class, Message, Method
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.ice import (
    Candidate,
    IceAgent,
    IceConfig,
    IceCredentials,
    IceDescription,
    IceFailed,
    stun,
)

from .network import A2, B2, A, B, agent, connected, introduce, pair
from .test_agent import ID, answers, request


# --- failure --------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8863 4")
def test_ice_fails_when_nothing_answers_and_patience_is_over() -> None:
    net, one, other = pair(delay=lambda _: None)
    introduce(net, one, other)
    net.run(39.0)
    assert net.of(one, IceFailed) == []
    net.run(5.0)
    assert len(net.of(one, IceFailed)) == 1
    assert one.next_timer() is None
    net.run(100.0)
    assert len(net.of(one, IceFailed)) == 1


@pytest.mark.clause("RFC 8863 4")
def test_a_peer_without_candidates_is_waited_for() -> None:
    made = agent(1, A)
    made.start(is_controlling=True, now=0.0)
    assert made.next_timer() is None  # the answer may take as long as people take to answer
    description = IceDescription(credentials=IceCredentials(ufrag="peer", password="p" * 22))
    made.set_remote_description(description, now=100.0)
    assert made.next_timer() == 139.5
    made.handle_timer(now=139.5)
    assert made.poll_event() == IceFailed(reason="no candidate pair")


@pytest.mark.clause("RFC 8863 4")
def test_a_pair_that_is_never_nominated_fails() -> None:
    net, one, other = pair()
    introduce(net, one, other, one_controls=True)
    net.delay = lambda t: None if "USE-CANDIDATE" in stun.decode(t.data).attributes else 0.01
    net.run(60.0)
    assert len(net.of(other, IceFailed)) == 1
    assert len(net.of(one, IceFailed)) == 1


def test_a_check_refused_by_the_right_peer_fails_its_pair() -> None:
    made = agent(1, A)
    peer = agent(2, B).local_description
    made.set_remote_description(peer, now=0.0)
    made.start(is_controlling=True, now=0.0)
    check = answers(made)[0]
    key = peer.credentials.key
    refusal = stun.encode_error(check.transaction_id, stun.BAD_REQUEST, key=key)
    made.receive(refusal, A, B, now=0.1)
    assert made.next_timer() == 39.5


@pytest.mark.clause("RFC 8445 7.2.5.2.1")
def test_an_answer_from_another_address_fails_the_pair() -> None:
    made = agent(1, A)
    peer = agent(2, B).local_description
    made.set_remote_description(peer, now=0.0)
    made.start(is_controlling=True, now=0.0)
    check = answers(made)[0]
    made.receive(stun.encode_success(check.transaction_id, A, peer.credentials.key), A, B2, now=0.1)
    assert not made.is_validated(A, B)
    assert made.next_timer() == 39.5


# --- hostile peers --------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8489 9.1.3")
def test_a_request_of_an_unknown_user_or_wrong_password_is_refused() -> None:
    made = agent(1, A)
    credentials = made.local_description.credentials
    wrong_key = stun.CheckRequest(
        username=f"{credentials.ufrag}:peer", priority=1, is_controlling=True, tie_breaker=1
    ).encode(ID, b"wrong")
    unsigned = Message(Method.BINDING, Class.REQUEST, ID, {"USERNAME": f"{credentials.ufrag}:peer"})
    unsigned.add_fingerprint()
    for data, code in (
        (wrong_key, stun.UNAUTHENTICATED),
        (request(made, username="other:peer"), stun.UNAUTHENTICATED),
        (request(made, username=credentials.ufrag), stun.UNAUTHENTICATED),
        (bytes(unsigned), stun.BAD_REQUEST),
    ):
        made.receive(data, A, B, now=0.0)
        assert [message.error_code for message in answers(made)] == [code]
    assert made.stats()["checks_refused"] == 4
    assert not made.is_validated(A, B)


@pytest.mark.clause("RFC 8445 7.3")
def test_a_request_of_another_peer_is_refused_once_ours_is_known() -> None:
    made = agent(1, A)
    made.set_remote_description(agent(2, B).local_description, now=0.0)
    made.receive(request(made, ufrag="stranger"), A, B, now=0.0)
    assert answers(made)[0].error_code == stun.UNAUTHENTICATED


@pytest.mark.clause("RFC 8489 9.1.4")
def test_an_answer_that_is_not_signed_changes_nothing() -> None:
    made = agent(1, A)
    peer = agent(2, B).local_description
    made.set_remote_description(peer, now=0.0)
    made.start(is_controlling=True, now=0.0)
    check = answers(made)[0]
    for data in (
        stun.encode_success(check.transaction_id, A, b"guess"),
        stun.encode_error(check.transaction_id, stun.UNAUTHENTICATED),
        stun.encode_success(bytes(range(12)), A, peer.credentials.key),
    ):
        made.receive(data, A, B, now=0.1)
        assert not made.is_validated(A, B)
    assert made.stats()["answers_unsigned"] == 2
    assert made.stats()["answers_unexpected"] == 1
    made.receive(stun.encode_success(check.transaction_id, A, peer.credentials.key), A, B, now=0.1)
    assert made.is_validated(A, B)


@pytest.mark.clause("RFC 8489 6.3.1")
def test_a_request_with_an_unknown_attribute_is_refused_by_name() -> None:
    from .test_stun import PASSWORD, signed

    entropy = random.Random(1).randbytes
    made = IceAgent(entropy=entropy)
    object.__setattr__(
        made._current, "local", IceCredentials(ufrag="ours", password=PASSWORD.decode())
    )
    data = signed(b"\x00\x06\x00\x06ours:x\0\0" + b"\x7a\xbc\0\0")
    made.receive(data, A, B, now=0.0)
    assert answers(made)[0].error_code == stun.UNKNOWN_ATTRIBUTE


def test_indications_and_other_methods_are_not_answered() -> None:
    made = agent(1, A)
    for method, kind in ((Method.BINDING, Class.INDICATION), (Method.ALLOCATE, Class.REQUEST)):
        message = Message(method, kind, ID)
        message.add_fingerprint()
        made.receive(bytes(message), A, B, now=0.0)
    assert answers(made) == []
    assert made.stats()["stun_unexpected"] == 1


@given(data=st.binary(max_size=100), start=st.binary(max_size=2))
def test_no_bytes_at_all_raise(data: bytes, start: bytes) -> None:
    made = agent(1, A)
    made.receive(start + data, A, B, now=0.0)
    made.receive(b"\0\1" + len(data).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + data, A, B, now=0.0)
    assert made.stats()["stun_malformed"] > 0


@given(
    changes=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=5),
    index=st.integers(0, 5),
)
def test_damaged_messages_raise_nothing_and_cost_one_answer(
    changes: list[tuple[int, int]], index: int
) -> None:
    net, one, other = connected()
    net.run(6.0)
    data = bytearray([transmit for _, transmit in net.sent][index].data)
    for position, value in changes:
        data[position % len(data)] = value
    for made, local, remote in ((one, A, B), (other, B, A)):
        made.receive(bytes(data), local, remote, now=net.now)
        assert len(answers(made)) <= 1


def test_a_flood_of_addresses_is_bounded() -> None:
    config = IceConfig(max_remote_candidates=10)
    made = agent(1, A, A2, config=config)
    peer = agent(2, B).local_description
    made.set_remote_description(peer, now=0.0)
    made.start(is_controlling=False, now=0.0)
    for port in range(1, 500):
        data = request(made, ufrag=peer.credentials.ufrag)
        made.receive(data, A, ("203.0.113.1", port), now=0.0)
        answers(made)
    assert made.stats()["pairs"] <= 20
    assert made.stats()["candidates_ignored"] == 490


@pytest.mark.clause("RFC 8445 6.1.2.5")
def test_pairs_are_bounded_and_the_best_are_kept() -> None:
    config = IceConfig(max_pairs=5)
    made = agent(1, A, config=config)
    peer = agent(2, B).local_description
    candidates = [
        Candidate.host_candidate((B[0], 6000 + n), preference=1000 + n) for n in range(20)
    ]
    made.set_remote_description(peer.with_candidates(candidates), now=0.0)
    assert made.stats()["pairs"] == 5
    made.start(is_controlling=True, now=0.0)
    first = made.poll_transmit()
    assert first is not None
    assert first.destination == (B[0], 6019)
    worse = Candidate.host_candidate((B[0], 7000), preference=1)
    made.add_remote_candidates([worse], now=0.0)
    assert made.stats()["pairs"] == 5


@pytest.mark.clause("RFC 8445 7.2.5.1", "RFC 8445 14.2")
@pytest.mark.parametrize("round_trip_s", [0.0, 0.02])
def test_a_peer_that_refuses_either_role_is_given_up(round_trip_s: float) -> None:
    made = agent(1, A)
    peer = agent(2, B).local_description
    made.set_remote_description(peer, now=0.0)
    made.start(is_controlling=True, now=0.0)
    sent: list[float] = []
    roles: set[bool] = set()
    now, ends = 0.0, 0
    while (timer := made.next_timer()) is not None:
        checks = answers(made)
        for check in checks:
            sent.append(now)
            roles.add("ICE-CONTROLLING" in check.attributes)
            refusal = stun.encode_error(
                check.transaction_id, stun.ROLE_CONFLICT, key=peer.credentials.key
            )
            now += round_trip_s
            made.receive(refusal, A, B, now=now)
        if not checks:
            now = max(now, timer)
            made.handle_timer(now=now)
        while (event := made.poll_event()) is not None:
            ends += isinstance(event, IceFailed)
    assert (len(sent), ends, now) == (7, 1, 39.5)
    assert roles == {True, False}
    assert all(later - earlier > 0.00499 for earlier, later in itertools.pairwise(sent))


@pytest.mark.clause("RFC 8445 7.3.1.4")
def test_checks_of_a_peer_that_refuses_either_role_do_not_keep_it_alive() -> None:
    made = agent(1, A)
    other = agent(2, B)
    made.set_remote_description(other.local_description, now=0.0)
    made.start(is_controlling=True, now=0.0)
    now, ends = 0.0, 0
    ufrag = other.local_description.credentials.ufrag
    while not ends and now < 60:
        now += 0.1
        mine = made.local_description.credentials
        made.receive(request(made, username=f"{mine.ufrag}:{ufrag}"), A, B, now=now)
        for check in answers(made):
            if check.message_class is Class.REQUEST:
                key = other.local_description.credentials.key
                refusal = stun.encode_error(check.transaction_id, stun.ROLE_CONFLICT, key=key)
                made.receive(refusal, A, B, now=now)
        if (made.next_timer() or now) <= now:
            made.handle_timer(now=now)
        while (event := made.poll_event()) is not None:
            ends += isinstance(event, IceFailed)
    assert ends == 1
    assert now == pytest.approx(39.5, abs=0.2)


def test_candidates_of_no_use_are_ignored() -> None:
    made = agent(1, A)
    texts = ["1 1 TCP 1 192.0.2.9 9 typ host", "1 1 UDP 1 127.0.0.1 5000 typ host"]
    peer = agent(2, B).local_description
    made.set_remote_description(
        peer.with_candidates(Candidate.parse(text) for text in texts), now=0.0
    )
    assert made.stats()["pairs"] == 0
    assert made.stats()["candidates_ignored"] == 2
