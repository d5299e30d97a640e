"""Heartbeats (RFC 9260 8.3), and the path MTU by padded ones (RFC 8261 6.2)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.sctp import SctpConfig
from dcsdk.sctp.base.events import PeerUnreachableEvent
from dcsdk.sctp.control.heartbeat import MOMENTS, MTU_RAISE_INTERVAL_S, PROBE_STEP
from dcsdk.sctp.wire.chunks import ChunkType
from tests.sctp.network import Link, Network, Peer

INTERVAL_S = SctpConfig().hb_interval_s
LONGEST_S = INTERVAL_S * SctpConfig().hb_slowdown


def idle_network(*, seed: int = 1, **settings: float) -> Network:
    """Return an established network."""
    network = Network(SctpConfig(**settings), seed=seed)  # type: ignore[arg-type]
    network.connect()
    return network


def beats(*peers: Peer) -> int:
    """Count the HEARTBEATs of peers."""
    return sum(len(peer.sent_chunks(ChunkType.HEARTBEAT)) for peer in peers)


def asking(network: Network) -> Peer:
    """Let a long time pass and return the one end that sent HEARTBEATs in it."""
    network.advance(6 * LONGEST_S)
    for peer in (network.left, network.right):
        peer.sent_packets.clear()
    network.advance(3 * LONGEST_S)
    asker, other = sorted((network.left, network.right), key=beats, reverse=True)
    assert beats(other) == 0
    return asker


@pytest.mark.clause("RFC 9260 8.3")
@given(seed=st.integers(0, 10_000))
def test_in_the_end_one_end_asks_and_the_other_answers(seed: int) -> None:
    network = idle_network(seed=seed)
    asker = asking(network)
    assert 2 <= beats(asker) <= 3
    assert network.is_established()


@pytest.mark.clause("RFC 9260 8.3", "RFC 4787 REQ-5")
def test_heartbeats_of_an_idle_association_become_rare_but_never_rarer_than_nats_forget() -> None:
    network = idle_network()
    sent_s: list[float] = []

    def note(sender: Peer, packet: bytes) -> bytes:
        sent_s.append(network.now)
        return packet

    network.on_packet = note
    network.advance(1000)
    gaps = [after - before for before, after in pairwise(sent_s)]
    long_gaps = [gap for gap in gaps if gap > 1]
    assert INTERVAL_S < long_gaps[0] < 1.2 * 2 * INTERVAL_S
    assert max(long_gaps) > LONGEST_S
    assert max(gaps) < 120


@pytest.mark.clause("RFC 9260 8.3")
def test_use_makes_heartbeats_frequent_again() -> None:
    network = idle_network()
    asker = asking(network)
    asked_s: list[float] = []

    def note(sender: Peer, packet: bytes) -> bytes:
        if packet[12] == ChunkType.HEARTBEAT:
            asked_s.append(network.now)
        return packet

    network.on_packet = note
    network.advance(3 * LONGEST_S)
    assert min(after - before for before, after in pairwise(asked_s)) > LONGEST_S
    asked_s.clear()
    asker.association.send(1, 51, b"used", now=network.now)
    network.advance(3 * LONGEST_S)
    assert asked_s[1] - asked_s[0] < 0.75 * LONGEST_S


@pytest.mark.clause("RFC 9260 8.1", "RFC 9260 8.3")
@pytest.mark.parametrize("is_asker", [True, False])
def test_either_end_notices_that_an_idle_peer_is_gone(is_asker: bool) -> None:
    network = idle_network(max_retrans=5, rto_max_s=2.0)
    asker = asking(network)
    noticing = asker if is_asker else network.other(asker)
    network.set_links(Link(loss=1.0))
    network.advance(1.25 * LONGEST_S + 6 * 2.0)
    assert isinstance(noticing.events[-1], PeerUnreachableEvent)


@pytest.mark.clause("RFC 9260 8.3")
def test_the_heartbeats_of_many_associations_share_their_moments() -> None:
    networks = [idle_network(seed=seed) for seed in range(20)]
    for index, network in enumerate(networks):
        network.advance(5 * LONGEST_S + index * LONGEST_S / MOMENTS / 10)
    dues = {asking(network).association.next_timer() for network in networks}
    assert len(dues) <= 4


def test_an_answer_that_was_asked_for_starts_no_heartbeats_where_they_are_switched_off() -> None:
    network = idle_network(hb_interval_s=0)
    network.left.association.request_heartbeat(now=network.now)
    network.advance(1000)
    assert beats(network.left, network.right) == 1


def network_with_mtu(mtu: int, *, max_mtu: int = 1400) -> Network:
    """Return an established network that drops packets above ``mtu``."""
    network = Network(SctpConfig(is_pmtu_probing=True, max_mtu=max_mtu))

    def drop_large(sender: Peer, packet: bytes) -> bytes | None:
        return packet if len(packet) <= mtu else None

    network.on_packet = drop_large
    network.connect()
    return network


@pytest.mark.clause("RFC 8899 5.3")
@pytest.mark.parametrize("mtu", [1160, 1200, 1300, 1399, 1400, 9000])
def test_the_largest_packet_that_passes_is_found(mtu: int) -> None:
    network = network_with_mtu(mtu)
    network.advance(60)
    found = network.left.association.stats().mtu
    assert min(mtu, 1400) - PROBE_STEP - 4 < found <= min(mtu, 1400)
    assert found % 4 == 0
    network.left.sent_packets.clear()
    network.left.association.send(1, 53, bytes(20_000), now=network.now)
    network.run(until_s=5)
    assert max(map(len, network.left.sent_packets)) == found
    assert [len(m.data) for m in network.right.messages] == [20_000]


def test_probes_that_get_lost_are_no_error() -> None:
    network = network_with_mtu(1160)
    network.advance(20)
    assert network.left.association.stats().error_count == 0
    assert network.is_established()


@pytest.mark.clause("RFC 8899 5.1.1")
def test_a_larger_size_is_tried_again_after_a_while() -> None:
    network = network_with_mtu(1160)
    network.advance(60)
    network.on_packet = None
    network.advance(MTU_RAISE_INTERVAL_S + 60)
    assert network.left.association.stats().mtu > 1400 - PROBE_STEP


def test_without_the_option_nothing_is_probed() -> None:
    network = Network(SctpConfig(max_mtu=1400))
    network.connect()
    network.advance(20)
    assert not network.left.sent_chunks(ChunkType.PAD)
