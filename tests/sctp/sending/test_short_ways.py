"""The short ways of sending and acknowledging do what the general ways do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsdk.sctp import SctpConfig
from dcsdk.sctp.sending import short_ways
from dcsdk.sctp.sending.packetizer import Packetizer
from dcsdk.sctp.sending.scheduler import OutboundStream
from tests.sctp.network import Link, Network, Peer


@dataclass(frozen=True)
class Step:
    """One end sends messages after a time; what was sent before may still wait then."""

    pause_s: float
    is_flushed: bool
    count: int
    is_left: bool
    stream_id: int
    size: int
    is_ordered: bool
    max_retr: int | None
    priority: int


STEPS = st.lists(
    st.builds(
        Step,
        pause_s=st.sampled_from([0.0, 0.0, 0.001, 0.005, 0.03, 0.5, 5.0]),
        is_flushed=st.booleans(),
        count=st.sampled_from([1, 1, 1, 2, 10, 60]),
        is_left=st.booleans(),
        stream_id=st.sampled_from([1, 1, 1, 7, 9]),
        size=st.one_of(st.integers(1, 200), st.integers(1080, 1180), st.integers(1, 9000)),
        is_ordered=st.booleans(),
        max_retr=st.sampled_from([None, None, None, 0, 2]),
        priority=st.sampled_from([256, 256, 128, 1024]),
    ),
    min_size=1,
    max_size=30,
)

BURST = st.lists(
    st.builds(
        Step,
        pause_s=st.just(0.0),
        is_flushed=st.just(False),
        count=st.integers(1, 12),
        is_left=st.just(True),
        stream_id=st.sampled_from([1, 1, 7]),
        size=st.sampled_from([1, 60, 100, 400, 1000, 3000]),
        is_ordered=st.sampled_from([True, True, False]),
        max_retr=st.sampled_from([None, None, None, 1]),
        priority=st.sampled_from([256, 512]),
    ),
    min_size=2,
    max_size=8,
)
"""Much that waits at once, so that packets can be filled in several ways."""


def play(
    steps: list[Step], config: SctpConfig, link: Link, seed: int
) -> tuple[list[tuple[float, bool, bytes]], list[object], Network]:
    """Return every packet with its time and sender, and every message and event."""
    network = Network(config, link=link, seed=seed)
    network.connect()
    packets: list[tuple[float, bool, bytes]] = []

    def see(sender: Peer, packet: bytes) -> bytes:
        packets.append((network.now, sender is network.left, packet))
        return packet

    network.on_packet = see
    for step in steps:
        if step.is_flushed:
            network.settle()
            network.advance(step.pause_s)
        peer = network.left if step.is_left else network.right
        for _ in range(step.count):
            peer.association.send(
                step.stream_id,
                53,
                bytes([step.size % 251]) * step.size,
                is_ordered=step.is_ordered,
                max_retr=step.max_retr,
                priority=step.priority,
                now=network.now,
            )
    network.advance(3.0)
    told: list[object] = [network.left.messages, network.right.messages]
    told += [network.left.events, network.right.events]
    return packets, told, network


def counters(network: Network) -> list[object]:
    """Return what both ends know of the path and of each other."""
    found: list[object] = []
    for peer in (network.left, network.right):
        sender = peer.association.sender
        assert sender is not None
        outstanding, trip = sender.outstanding, sender._round_trip
        found += [peer.association.stats(), peer.association.next_timer(), sender.peer_window]
        found += [outstanding.ends, outstanding.totals, outstanding.times, outstanding.in_flight]
        found += [outstanding.cumulative, outstanding.highest, outstanding.base_total]
        found += [trip.smoothed_s, trip.variation_s, trip.minimum_s, trip.timeout_s]
        found += [sender.packetizer.next_tsn, sender.packetizer.queued_bytes]
    return found


def by_stream(peer: Peer) -> dict[tuple[int, bool], list[bytes]]:
    """Return what came on each stream, ordered and unordered messages apart."""
    found: dict[tuple[int, bool], list[bytes]] = {}
    for message in peer.messages:
        found.setdefault((message.stream_id, message.is_unordered), []).append(message.data)
    return found


def write_one_packet(packetizer: Packetizer, stream: OutboundStream, room: int) -> list[bytes]:
    """Write what fills a packet as the general way does; nothing of it can expire meanwhile."""
    return [packetizer.seal.close(packetizer._write_bundle(b"", 0.0))]


@pytest.mark.parametrize("is_interleaving", [True, False])
@settings(max_examples=60, deadline=None)
@given(
    steps=st.one_of(STEPS, BURST),
    loss=st.sampled_from([0.0, 0.0, 0.1]),
    jitter_s=st.sampled_from([0.0, 0.004]),
    is_zero_checksum=st.booleans(),
    seed=st.integers(1, 1000),
)
def test_any_exchange_has_the_same_packets_without_the_short_ways(
    is_interleaving: bool,
    steps: list[Step],
    loss: float,
    jitter_s: float,
    is_zero_checksum: bool,
    seed: int,
) -> None:
    config = SctpConfig(
        is_interleaving_offered=is_interleaving, is_zero_checksum_offered=is_zero_checksum
    )
    link = Link(delay_s=0.002, jitter_s=jitter_s, loss=loss)
    packets, told, network = play(steps, config, link, seed)
    with pytest.MonkeyPatch.context() as general:
        general.setattr(short_ways, "write_lone", lambda packetizer, stream, lead: [])
        general.setattr(short_ways, "write_full_packets", write_one_packet)
        general.setattr(short_ways, "acknowledge_plain", lambda outstanding, cumulative, now: None)
        expected_packets, expected_told, expected = play(steps, config, link, seed)
    assert packets == expected_packets
    assert told == expected_told
    assert counters(network) == counters(expected)


@pytest.mark.parametrize("is_interleaving", [True, False])
@settings(max_examples=60, deadline=None)
@given(steps=st.one_of(STEPS, BURST), seed=st.integers(1, 1000))
def test_packets_of_small_messages_hold_what_the_general_way_writes(
    is_interleaving: bool, steps: list[Step], seed: int
) -> None:
    """Where a packet ends may differ; messages, their order and the state of both ends do not."""
    config = SctpConfig(is_interleaving_offered=is_interleaving)
    _, _, network = play(steps, config, Link(delay_s=0.002), seed)
    with pytest.MonkeyPatch.context() as general:
        general.setattr(short_ways, "write_messages", lambda packetizer, stream, room: [])
        _, _, expected = play(steps, config, Link(delay_s=0.002), seed)
    for ours, theirs in ((network.left, expected.left), (network.right, expected.right)):
        assert by_stream(ours) == by_stream(theirs)
        assert ours.events == theirs.events
        assert ours.association.is_idle


def test_an_answer_carries_the_acknowledgement_of_its_request_in_one_packet() -> None:
    network = Network(SctpConfig())
    network.connect()
    network.advance(1.0)
    network.left.sent_packets.clear()
    network.right.sent_packets.clear()
    for _ in range(3):
        for peer in (network.left, network.right):
            peer.association.send(1, 53, b"ping", now=network.now)
            network.advance(0.011)
    kinds = [[packet[12] for packet in end.sent_packets] for end in (network.left, network.right)]
    assert kinds == [[64, 3, 3], [3, 3, 3]]  # all but the first begin with a SACK
    assert len(network.left.messages) == len(network.right.messages) == 3
