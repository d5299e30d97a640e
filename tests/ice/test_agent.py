from __future__ import annotations

import random

import pytest
from aioice.stun import Class, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsdk.ice import (
    IceAgent,
    IceConfig,
    IceCredentials,
    IceDescription,
    IceTransmit,
    PairSelected,
    RoleChanged,
    stun,
)
from dcsdk.ice.config import MAX_EARLY_CHECKS

from .network import A2, A6, B2, B6, A, B, Network, agent, ends, introduce, pair

LITE = IceConfig(is_lite=True)

ID = bytes(12)


def request(
    to: IceAgent, *, ufrag: str = "peer", is_controlling: bool = True, **kw: object
) -> bytes:
    """Return a check that ``to`` accepts, unless told otherwise."""
    fields: dict[str, object] = {
        "username": f"{to.local_description.credentials.ufrag}:{ufrag}",
        "priority": 1000,
        "is_controlling": is_controlling,
        "tie_breaker": 5,
    } | kw
    check = stun.CheckRequest(**fields)  # type: ignore[arg-type]
    return check.encode(ID, to.local_description.credentials.key)


def answers(to: IceAgent) -> list[Message]:
    """Take what an agent sends and read it."""
    found = []
    while (transmit := to.poll_transmit()) is not None:
        found.append(stun.decode(transmit.data))
    return found


def nominations(net: Network, *, after: float = 0.0) -> list[IceTransmit]:
    """Return the nominations among what was sent."""
    return [
        transmit
        for at, transmit in net.sent
        if at >= after and "USE-CANDIDATE" in stun.decode(transmit.data).attributes
    ]


# --- two full agents ------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8445 7", "RFC 8445 8.1.1")
def test_two_agents_find_their_pair_in_two_round_trips() -> None:
    net, one, other = pair(delay=lambda _: 0.009)
    introduce(net, one, other)
    net.run(0.037)
    assert ends(one) == (A, B)
    assert ends(other) == (B, A)
    # Each side checks, the controlling one nominates; nothing is sent twice.
    assert len(net.sent) == 6
    assert len(nominations(net)) == 1
    event = net.of(one, PairSelected)[0]
    assert isinstance(event, PairSelected)
    assert event.local_candidate.type == event.remote_candidate.type == "host"
    assert event.round_trip_s == pytest.approx(0.018)


@pytest.mark.clause("RFC 8445 7.3.1.4")
def test_a_check_of_the_peer_triggers_ours() -> None:
    net, one, other = pair()
    net.add(other, B)
    ours, theirs = one.local_description, other.local_description
    other.set_remote_description(
        IceDescription(credentials=ours.credentials), now=net.now
    )  # no candidates: only the check tells where the peer is
    other.start(is_controlling=False, now=net.now)
    one.set_remote_description(theirs, now=net.now)
    one.start(is_controlling=True, now=net.now)
    net.run(1.0)
    assert ends(one) == (A, B)
    assert ends(other) == (B, A)
    selected = other.selected
    assert selected is not None
    assert selected.remote_candidate.type == "prflx"
    assert selected.remote_candidate.priority == (110 << 24) + (65_535 << 8) + 255


@pytest.mark.clause("RFC 8445 7.3")
def test_checks_that_come_before_the_description_are_answered_and_remembered() -> None:
    net, one, other = pair()
    one.set_remote_description(other.local_description, now=net.now)
    one.start(is_controlling=True, now=net.now)
    net.run(0.5)
    assert ends(other) is None
    assert len(nominations(net)) >= 1  # the check was answered, or there would be none
    other.set_remote_description(one.local_description, now=net.now)
    other.start(is_controlling=False, now=net.now)
    net.run(0.1)
    assert ends(one) == (A, B)
    assert ends(other) == (B, A)


@pytest.mark.clause("RFC 8445 7.3")
def test_early_checks_of_somebody_else_are_forgotten() -> None:
    made = agent(1, A)
    made.receive(request(made, ufrag="stranger"), A, B, now=0.0)
    assert answers(made)[0].message_class is Class.RESPONSE
    assert made.is_validated(A, B)  # it knows our password, so it has our offer
    description = IceDescription(credentials=IceCredentials(ufrag="peer", password="p" * 22))
    made.set_remote_description(description, now=0.0)
    made.start(is_controlling=False, now=0.0)
    assert answers(made) == []
    assert not made.is_validated(A, B)


def test_early_checks_are_bounded() -> None:
    made = agent(1, A)
    for port in range(1, 200):
        made.receive(request(made), A, (B[0], port), now=0.0)
    answers(made)
    description = IceDescription(credentials=IceCredentials(ufrag="peer", password="p" * 22))
    made.set_remote_description(description, now=0.0)
    made.start(is_controlling=False, now=0.0)
    assert len(answers(made)) == MAX_EARLY_CHECKS


@pytest.mark.clause("RFC 8445 7.2.5.3.1")
def test_an_address_that_only_the_peer_sees_is_peer_reflexive() -> None:
    public = ("203.0.113.9", 61_000)
    net, one, other = pair(nat={A: public})
    introduce(net, one, other)
    net.run(2.0)
    assert ends(one) == (A, B)
    assert ends(other) == (B, public)
    ours, theirs = one.selected, other.selected
    assert ours is not None
    assert theirs is not None
    assert ours.local_candidate.type == "prflx"
    assert ours.local_candidate.address == public
    assert theirs.remote_candidate.type == "prflx"


def test_ipv6_and_ipv4_are_not_mixed() -> None:
    net = Network()
    one, other = agent(1, A6, A), agent(2, B6, B)
    net.add(one, A, A6)
    net.add(other, B, B6)
    introduce(net, one, other)
    net.run(1.0)
    assert ends(one) == (A6, B6)
    assert ends(other) == (B6, A6)
    assert one.stats()["pairs"] == 2


# --- order of checks and nomination ---------------------------------------------------------------
@pytest.mark.clause("RFC 8445 6.1.4.2", "RFC 8445 14.2")
def test_further_checks_are_paced() -> None:
    net = Network(delay=lambda _: None)
    one, other = agent(1, A, A2), agent(2, B, B2)
    net.add(one, A, A2)
    introduce(net, one, other)
    net.run(0.4)
    times = [round(at - 1000.0, 6) for at, _ in net.sent]
    assert times == [0.0, 0.005, 0.010, 0.015]
    first = net.sent[0][1]
    assert (first.local, first.destination) == (A, B)


@pytest.mark.clause("RFC 8839 5.5")
def test_a_slower_pace_of_the_peer_is_followed() -> None:
    net = Network(delay=lambda _: None)
    one, other = agent(1, A, A2), agent(2, B, config=IceConfig(pace_s=0.05))
    net.add(one, A, A2)
    introduce(net, one, other)
    net.run(0.4)
    assert [round(at - 1000.0, 6) for at, _ in net.sent] == [0.0, 0.05]


@pytest.mark.clause("RFC 8445 8.1.1")
def test_a_better_pair_that_is_a_little_slower_is_waited_for() -> None:
    net = Network(delay=lambda t: 0.02 if B in (t.local, t.destination) else 0.001)
    one, other = agent(1, A), agent(2, B, B2)
    net.add(one, A)
    net.add(other, B, B2)
    introduce(net, one, other)
    net.run(1.0)
    assert ends(one) == (A, B)
    assert ends(other) == (B, A)


@pytest.mark.clause("RFC 8445 8.1.1")
def test_a_pair_that_works_is_nominated_when_the_better_one_does_not_answer() -> None:
    net = Network(delay=lambda t: None if B in (t.local, t.destination) else 0.001)
    one, other = agent(1, A), agent(2, B, B2)
    net.add(one, A)
    net.add(other, B, B2)
    introduce(net, one, other)
    net.run(0.1)
    assert ends(one) == (A, B2)
    assert ends(other) == (B2, A)
    net.run(100.0)
    assert len(net.of(one, PairSelected)) == 1


@pytest.mark.clause("RFC 8445 8.1.1")
def test_a_nomination_that_fails_leads_to_another_pair() -> None:
    broken: set[tuple[str, int]] = set()
    net = Network(delay=lambda t: None if {t.local, t.destination} & broken else 0.001)
    config = IceConfig(rto_s=0.05, max_transmissions=3, last_wait=2)
    one, other = agent(1, A, config=config), agent(2, B, B2)
    net.add(one, A)
    net.add(other, B, B2)
    introduce(net, one, other)
    net.run(1.0, until=lambda: bool(nominations(net)))
    assert nominations(net)[0].destination == B
    broken.add(B)
    net.run(2.0)
    assert ends(one) == (A, B2)


@pytest.mark.clause("RFC 8445 8.1.1")
@pytest.mark.parametrize("answered_first", [True, False])
def test_of_several_nominations_the_best_pair_counts(answered_first: bool) -> None:
    made, peer = agent(2, B), agent(1, A, A2).local_description
    keys = peer.credentials
    nomination = request(made, ufrag=keys.ufrag, use_candidate=True)
    made.set_remote_description(peer, now=0.0)
    made.start(is_controlling=False, now=0.0)
    made.handle_timer(now=0.005)
    checks = []
    while (transmit := made.poll_transmit()) is not None:
        checks.append(transmit)

    def nominate() -> None:
        for address in (A2, A, A2):
            made.receive(nomination, B, address, now=0.01)

    if not answered_first:
        nominate()
    for check in reversed(checks):  # the worse pair first
        reply = stun.encode_success(check.data[8:20], B, keys.key)
        made.receive(reply, B, check.destination, now=0.01)
    if answered_first:
        nominate()
    events = []
    while (event := made.poll_event()) is not None:
        events.append(event)
    assert [event.remote for event in events if isinstance(event, PairSelected)] == [A2, A]
    assert ends(made) == (B, A)


# --- roles ----------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8445 7.3.1.1", "RFC 8445 7.2.5.1")
@pytest.mark.parametrize("seeds", [(1, 2), (2, 1), (3, 4)])
@pytest.mark.parametrize("role", [True, False])
def test_a_role_conflict_ends_with_one_of_each(seeds: tuple[int, int], role: bool) -> None:
    net, one, other = pair(seeds=seeds)
    introduce(net, one, other, one_controls=role, other_controls=role)
    net.run(2.0)
    assert one.is_controlling is not other.is_controlling
    assert ends(one) == (A, B)
    assert ends(other) == (B, A)
    changed = net.of(one, RoleChanged) + net.of(other, RoleChanged)
    assert len(changed) == 1


@pytest.mark.clause("RFC 8445 7.3.1.1")
def test_a_role_conflict_that_we_win_is_answered_487() -> None:
    _, one, other = pair()
    introduce(Network(), one, other)
    answers(one)
    ufrag = other.local_description.credentials.ufrag
    one.receive(request(one, ufrag=ufrag, tie_breaker=0), A, B, now=1000.0)
    conflict = answers(one)[0]
    assert conflict.error_code == stun.ROLE_CONFLICT
    assert conflict.check_message_integrity(one.local_description.credentials.key)
    one.receive(request(one, ufrag=ufrag, tie_breaker=2**64 - 1), A, B, now=1000.0)
    assert answers(one)[0].message_class is Class.RESPONSE
    assert not one.is_controlling


# --- lite -----------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8445 6.1.1", "RFC 8445 2.5")
@pytest.mark.parametrize("full_offers", [True, False])
def test_a_lite_peer_is_checked_and_controlled(full_offers: bool) -> None:
    net, one, lite = pair(configs=(None, LITE))
    introduce(net, one, lite, one_controls=full_offers, other_controls=not full_offers)
    net.run(2.0)
    assert one.is_controlling
    assert ends(one) == (A, B)
    assert ends(lite) == (B, A)
    sent_by_lite = [stun.decode(t.data) for _, t in net.sent if t.local == B]
    assert all(message.message_class is not Class.REQUEST for message in sent_by_lite)
    net.run(300.0)  # the lite side only answers the consent checks
    assert ends(one) == (A, B)
    assert ends(lite) == (B, A)


@pytest.mark.clause("RFC 8445 6.1.1", "RFC 8445 7.3")
def test_a_lite_offerer_takes_a_nomination_that_came_before_the_answer() -> None:
    net, one, lite = pair(configs=(None, LITE))
    one.set_remote_description(lite.local_description, now=net.now)
    one.start(is_controlling=False, now=net.now)
    net.run(0.5)
    assert len(nominations(net)) == 1  # answered, and not to come again
    assert ends(one) == (A, B)
    lite.set_remote_description(one.local_description, now=net.now)
    lite.start(is_controlling=True, now=net.now)
    assert ends(lite) == (B, A)
    assert not lite.is_controlling


@pytest.mark.clause("RFC 8445 7.3.1.1")
def test_a_lite_agent_never_becomes_controlling() -> None:
    net, one, lite = pair(configs=(None, LITE))
    credentials = one.local_description.credentials
    lite.set_remote_description(one.local_description, now=net.now)
    lite.start(is_controlling=False, now=net.now)
    check = request(lite, ufrag=credentials.ufrag, is_controlling=False, tie_breaker=0)
    lite.receive(check, B, A, now=net.now)
    assert answers(lite)[0].error_code == stun.ROLE_CONFLICT


@pytest.mark.clause("RFC 8445 6.1.1")
def test_two_lite_agents_use_their_best_pair_unchecked() -> None:
    net, one, other = pair(configs=(LITE, LITE))
    introduce(net, one, other)
    net.run(1.0)
    assert net.sent == []
    assert ends(one) == (A, B)
    assert ends(other) == (B, A)
    assert one.is_validated(A, B)


def test_a_lite_agent_follows_the_peer_to_another_pair() -> None:
    lite = agent(2, B, config=LITE)
    peer = agent(1, A, A2)
    lite.set_remote_description(peer.local_description, now=0.0)
    lite.start(is_controlling=False, now=0.0)
    ufrag = peer.local_description.credentials.ufrag
    for address in (A, A2):
        lite.receive(request(lite, ufrag=ufrag, use_candidate=True), B, address, now=0.0)
        assert ends(lite) == (B, address)


# --- loss, reordering, duplication ----------------------------------------------------------------
@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), loss=st.floats(0, 0.5), spread=st.floats(0, 0.3))
def test_agents_connect_over_a_bad_network(seed: int, loss: float, spread: float) -> None:
    dice = random.Random(seed)
    net = Network(delay=lambda _: None if dice.random() < loss else 0.01 + spread * dice.random())
    one, other = agent(seed, A, A2), agent(seed + 1, B)
    net.add(one, A, A2)
    net.add(other, B)
    role = dice.random() < 0.5
    introduce(net, one, other, one_controls=role, other_controls=dice.random() < 0.5)
    net.run(39.0, until=lambda: None not in (one.selected, other.selected))
    if loss < 0.3:
        assert one.selected is not None
        assert other.selected is not None
    net.run(20.0)
    if net.of(one, PairSelected) and net.of(other, PairSelected):
        ours, theirs = ends(one), ends(other)
        assert one.is_controlling is not other.is_controlling
        # Both may send on what they selected: the other end takes it.
        if ours is not None and theirs is not None:
            assert other.is_validated(ours[1], ours[0])
            assert one.is_validated(theirs[1], theirs[0])


@pytest.mark.clause("RFC 8489 6.2.1", "RFC 8445 14.3")
def test_a_check_is_repeated_seven_times_and_given_up() -> None:
    net, one, other = pair(delay=lambda _: None)
    introduce(net, one, other)
    net.run(100.0)
    times = [round(at - 1000.0, 3) for at, transmit in net.sent if transmit.local == A]
    assert times == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]


@pytest.mark.clause("RFC 8445 7.3.1.4")
def test_a_check_that_was_lost_is_repeated_when_the_peers_arrives() -> None:
    lost = []

    def delay(transmit: IceTransmit) -> float | None:
        if transmit.local == A and not lost:
            lost.append(transmit)
            return None
        return 0.03

    net, one, other = pair(delay=delay)
    introduce(net, one, other)
    net.run(0.3)  # sooner than the first repetition would be due
    assert ends(one) == (A, B)
