"""What the ICE agent tells of itself, and candidates that come late."""

from __future__ import annotations

import random

import pytest

from dcsdk.errors import ConfigError, LocalProtocolError
from dcsdk.ice import (
    Candidate,
    ConsentLost,
    IceAgent,
    IceConfig,
    IceFailed,
    stun,
)
from dcsdk.ice.agent import MAX_LOCAL_CANDIDATES

from .network import A2, A, B, agent, connected, ends, introduce, pair
from .test_agent import answers, request


# --- candidates that come late --------------------------------------------------------------------
@pytest.mark.clause("RFC 8838 11")
def test_a_candidate_that_comes_late_is_used() -> None:
    net, one, other = pair()
    theirs = other.local_description
    other.set_remote_description(one.local_description, now=net.now)
    other.start(is_controlling=False, now=net.now)
    net.delay = lambda t: None if t.local == B else 0.01
    one.set_remote_description(theirs.with_candidates(()), now=net.now)
    one.start(is_controlling=True, now=net.now)
    net.run(0.2)
    assert one.selected is None
    net.delay = lambda _: 0.01
    one.add_remote_candidates(theirs.candidates, now=net.now)
    net.run(0.2)
    assert ends(one) == (A, B)


@pytest.mark.clause("RFC 8838 11")
def test_a_late_candidate_replaces_what_a_check_had_shown() -> None:
    made = agent(1, A)
    peer = agent(2, B).local_description
    made.set_remote_description(peer.with_candidates(()), now=0.0)
    made.start(is_controlling=False, now=0.0)
    made.receive(request(made, ufrag=peer.credentials.ufrag, use_candidate=True), A, B, now=0.0)
    made.add_remote_candidates(peer.candidates * 2, now=0.0)
    check = answers(made)[-1]
    made.receive(stun.encode_success(check.transaction_id, A, peer.credentials.key), A, B, now=0.0)
    assert made.selected is not None
    assert made.selected.remote_candidate.type == "host"
    assert made.stats()["pairs"] == 1


def test_late_candidates_need_a_description() -> None:
    with pytest.raises(LocalProtocolError, match="no description"):
        agent(1, A).add_remote_candidates([], now=0.0)


# --- our description ------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8839 4.2.1")
def test_the_description_holds_all_of_our_candidates() -> None:
    made = agent(1, A, A2)
    reflexive = Candidate.peer_reflexive(("203.0.113.9", 1), 5, "2")
    made.add_local_candidate(reflexive, base=A)
    description = made.local_description
    assert [item.address for item in description.candidates] == [A, A2, ("203.0.113.9", 1)]
    assert description.is_complete
    assert description.options == ("ice2",)
    assert description.pacing_ms == 5
    assert description.remote_candidates == ()
    assert made.remote_description is None


@pytest.mark.clause("RFC 8839 4.4.1.2.2")
def test_the_controlling_side_names_the_candidate_in_use() -> None:
    _, one, other = connected()
    assert one.local_description.remote_candidates == ((1, *B),)
    assert other.local_description.remote_candidates == ()


def test_what_cannot_be_is_refused() -> None:
    made = IceAgent(entropy=random.Random(1).randbytes)
    with pytest.raises(LocalProtocolError, match="needs a local candidate"):
        made.start(is_controlling=True, now=0.0)
    with pytest.raises(LocalProtocolError, match="without an address"):
        made.add_local_candidate(Candidate.parse("1 1 UDP 1 x.local 5000 typ host"))
    for port in range(1, MAX_LOCAL_CANDIDATES + 1):
        made.add_local_candidate(Candidate.host_candidate((A[0], port)))
    with pytest.raises(LocalProtocolError, match="too many"):
        made.add_local_candidate(Candidate.host_candidate(A))
    made.start(is_controlling=True, now=0.0)
    made.start(is_controlling=True, now=0.0)
    with pytest.raises(LocalProtocolError, match="has started"):
        made.add_local_candidate(Candidate.host_candidate(A))


@pytest.mark.parametrize(
    "options",
    [
        {"pace_s": 0.001},
        {"max_pairs": 0},
        {"max_transmissions": 0},
        {"rto_s": 0.0},
        {"consent_expiry_s": 5.0},
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        IceConfig(**options)  # type: ignore[arg-type]


def test_a_check_is_sent_once_where_that_is_asked_for() -> None:
    net, one, other = pair(configs=(IceConfig(max_transmissions=1), None))
    net.delay = lambda _: None
    introduce(net, one, other)
    net.run(60.0)
    assert len([t for _, t in net.sent if t.local == A]) == 1
    assert len(net.of(one, IceFailed)) == 1


def test_a_lost_event_is_told_once() -> None:
    net, one, _ = connected()
    net.delay = lambda _: None
    net.run(120.0)
    assert len(net.of(one, ConsentLost)) == 1
