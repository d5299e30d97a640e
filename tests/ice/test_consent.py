from __future__ import annotations

import itertools

import pytest
from aioice.stun import Class

from dcsdk.errors import LocalProtocolError
from dcsdk.ice import ConsentLost, IceConfig, IceTransmit, PairSelected, stun
from dcsdk.ice.consent import Consent

from .network import A2, A, B, Network, agent, connected, ends, introduce


def checks(net: Network, *, after: float) -> list[float]:
    """Return when A sent checks."""
    return [
        at
        for at, transmit in net.sent
        if at > after
        and transmit.local == A
        and stun.decode(transmit.data).message_class is Class.REQUEST
    ]


# --- consent --------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 7675 5.1")
def test_consent_is_asked_for_every_five_seconds_or_so_and_kept() -> None:
    net, one, other = connected()
    since = net.now
    net.run(600.0)
    times = checks(net, after=since)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 100 <= len(times) <= 150
    assert all(4.0 <= gap <= 6.0 for gap in gaps)
    assert max(gaps) - min(gaps) > 1.0  # spread, so that many sessions do not ask at once
    assert ends(one) == (A, B)
    assert ends(other) == (B, A)


@pytest.mark.clause("RFC 7675 5.1")
def test_consent_is_lost_thirty_seconds_after_the_last_answer() -> None:
    net, one, other = connected()
    net.run(60.0)
    last_heard = net.now
    net.delay = lambda _: None
    net.run(100.0)
    for made, local, remote in ((one, A, B), (other, B, A)):
        assert net.of(made, ConsentLost) == [ConsentLost(local=local, remote=remote)]
        assert made.selected is None
        assert made.next_timer() is None
    lost_at = max(at for at, _ in net.sent)
    assert 20.0 <= lost_at - last_heard <= 30.0


@pytest.mark.clause("RFC 7675 5.1")
def test_lost_consent_does_not_come_back_without_a_restart() -> None:
    net, one, other = connected()
    net.delay = lambda _: None
    net.run(40.0)
    net.delay = lambda _: 0.01
    check = stun.CheckRequest(
        username=f"{one.local_description.credentials.ufrag}:"
        f"{other.local_description.credentials.ufrag}",
        priority=1,
        is_controlling=False,
        tie_breaker=1,
    )
    one.receive(check.encode(bytes(12), one.local_description.credentials.key), A, B, now=net.now)
    net.run(100.0)
    assert one.selected is None


@pytest.mark.clause("RFC 7675 5.1")
def test_answers_that_are_not_signed_are_no_consent() -> None:
    net, one, _ = connected()

    def forge(transmit: IceTransmit) -> float | None:
        if transmit.local != A:
            return None
        message = stun.decode(transmit.data)
        if message.message_class is Class.REQUEST:
            forged = stun.encode_success(message.transaction_id, A, b"guess")
            one.receive(forged, A, B, now=net.now)
        return None

    net.delay = forge
    net.run(40.0)
    assert one.selected is None
    assert one.stats()["answers_unsigned"] > 3


def test_a_peer_that_moved_to_a_lesser_pair_is_followed_when_ours_is_silent() -> None:
    dead: set[tuple[str, int]] = set()
    net = Network(delay=lambda t: None if {t.local, t.destination} & dead else 0.01)
    one, other = agent(1, A, A2), agent(2, B)
    net.add(one, A, A2)
    net.add(other, B)
    introduce(net, one, other)
    net.run(2.0)
    assert ends(other) == (B, A)
    keys = other.local_description.credentials
    nomination = stun.CheckRequest(
        username=f"{keys.ufrag}:{one.local_description.credentials.ufrag}",
        priority=1,
        is_controlling=True,
        tie_breaker=1,
        use_candidate=True,
    ).encode(bytes(12), keys.key)
    other.receive(nomination, B, A2, now=net.now)
    net.run(0.1)
    assert ends(other) == (B, A)  # the better one answers still
    dead.add(A)
    net.run(9.0)
    other.receive(nomination, B, A2, now=net.now)
    net.run(0.1)
    assert ends(other) == (B, A2)
    assert len(net.of(other, PairSelected)) == 2


def test_open_consent_checks_are_bounded() -> None:
    consent = Consent(IceConfig(), lambda count: bytes(count), now=0.0)
    for number in range(50):
        consent.sent(bytes([number]), now=float(number))
    assert not consent.is_mine(bytes([0]))
    assert consent.is_mine(bytes([49]))


# --- restart --------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8445 9", "RFC 8839 4.4.3")
@pytest.mark.parametrize("swap", [False, True])
def test_a_restart_finds_a_pair_while_the_old_one_stays_in_use(swap: bool) -> None:
    net, one, other = connected()
    before = one.local_description.credentials
    one.restart()
    offer = one.local_description
    assert offer.credentials != before
    assert ends(one) == (A, B)
    assert other.needs_restart(offer)
    net.run(20.0)  # the answer takes its time; consent goes on with the old credentials
    assert ends(one) == (A, B)
    other.restart()
    other.set_remote_description(offer, now=net.now)
    other.start(is_controlling=swap, now=net.now)
    assert ends(other) == (B, A)
    assert one.is_validated(A, B)
    assert other.is_validated(B, A)
    one.set_remote_description(other.local_description, now=net.now)
    one.start(is_controlling=not swap, now=net.now)
    net.run(2.0)
    assert len(net.of(one, PairSelected)) == 2
    assert len(net.of(other, PairSelected)) == 2
    assert one.is_controlling is not swap
    net.run(300.0)
    assert ends(one) == (A, B)
    assert net.of(one, ConsentLost) == []


@pytest.mark.clause("RFC 8445 9")
def test_a_restart_gets_consent_again_after_it_was_lost() -> None:
    net, one, other = connected()
    net.delay = lambda _: None
    net.run(60.0)
    assert one.selected is None
    net.delay = lambda _: 0.01
    one.restart()
    other.restart()
    introduce(net, one, other)
    net.run(2.0)
    assert ends(one) == (A, B)
    assert ends(other) == (B, A)


@pytest.mark.clause("RFC 7675 5.1")
def test_the_old_pair_may_die_during_a_restart() -> None:
    net, one, _ = connected()
    one.restart()
    net.delay = lambda _: None
    net.run(60.0)
    assert len(net.of(one, ConsentLost)) == 1
    assert one.selected is None
    assert one.next_timer() is None


@pytest.mark.clause("RFC 8445 9")
def test_new_credentials_without_a_restart_of_ours_are_refused() -> None:
    net, one, _ = connected()
    with pytest.raises(LocalProtocolError, match="restart first"):
        one.set_remote_description(agent(9, B).local_description, now=net.now)


def test_the_same_description_again_changes_nothing() -> None:
    net, one, other = connected()
    one.set_remote_description(other.local_description, now=net.now)
    assert ends(one) == (A, B)
    assert one.remote_description == other.local_description


def test_a_restart_before_anything_was_found_begins_anew() -> None:
    net = Network()
    one, other = agent(1, A), agent(2, B)
    net.add(one, A)
    net.add(other, B)
    one.start(is_controlling=True, now=net.now)
    one.restart()
    introduce(net, one, other)
    net.run(1.0)
    assert ends(one) == (A, B)
