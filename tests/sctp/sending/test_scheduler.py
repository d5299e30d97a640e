"""Streams share the association by weight, and a file never starves a chat (RFC 8831 6.4)."""

from __future__ import annotations

from collections import deque
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.sctp.sending.scheduler import NOTHING, QUANTUM, SHORT_TURN, OutboundStream, Scheduler
from dcsdk.sctp.wire.chunks import ChunkType, IData
from tests.sctp.network import Link, Network, established


def waiting(number: int, size: int, weight: int = 256) -> OutboundStream:
    """Return a stream with a message of that size to send, again and again."""
    stream = OutboundStream(number)
    stream.weight = weight
    stream.queue = deque(((bytes(size), 53, 3, None),))
    return stream


@given(weights=st.lists(st.integers(1, 2000), min_size=1, max_size=6), interleaving=st.booleans())
def test_streams_get_octets_in_proportion_to_their_weights(
    weights: list[int], interleaving: bool
) -> None:
    scheduler = Scheduler(is_interleaving=interleaving)
    streams = [waiting(number, 1000, weight) for number, weight in enumerate(weights)]
    for stream in streams:
        scheduler.activate(stream)
    served = [0] * len(weights)
    for _ in range(2000):
        assert scheduler.current is not None
        served[scheduler.current.stream_id] += 1000
        scheduler.charge(1000)
    total = sum(served)
    for octets, weight in zip(served, weights, strict=True):
        share = weight / sum(weights)
        assert octets == pytest.approx(share * total, abs=1000 * (len(weights) + 1))


@pytest.mark.clause("RFC 8831 6.4")
@given(
    weights=st.lists(st.integers(1, 2000), min_size=2, max_size=8),
    pieces=st.lists(st.integers(1, 1200), min_size=1, max_size=20),
)
def test_files_never_differ_by_more_than_a_turn_of_each(
    weights: list[int], pieces: list[int]
) -> None:
    scheduler = Scheduler(is_interleaving=True)
    for number, weight in enumerate(weights):
        scheduler.activate(waiting(number, 1 << 30, weight))
    served = [0.0] * len(weights)
    turn = QUANTUM + max(pieces)
    for step in range(500):
        assert scheduler.current is not None
        piece = pieces[step % len(pieces)]
        served[scheduler.current.stream_id] += piece / scheduler.current.weight
        scheduler.charge(piece)
        order = sorted(range(len(weights)), key=served.__getitem__)
        least, most = order[0], order[-1]
        bound = turn / weights[least] + turn / weights[most]
        assert served[most] - served[least] <= bound * (1 + 1e-9)


@pytest.mark.parametrize("interleaving", [True, False])
@pytest.mark.parametrize("size", [10, 100, 700, 1024, 3000])
def test_small_messages_take_short_turns_in_full_packets(size: int, interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving)
    association = network.left.association
    weights = {1: 256, 2: 512, 3: 1024}
    count = 60_000 // size
    for number in range(count):
        for stream_id, weight in weights.items():
            data = b"%d-" % number + bytes(size)
            association.send(stream_id, 51, data[:size], priority=weight, now=network.now)
    network.run(until_s=20, until=lambda: len(network.right.messages) >= count)
    octets = {stream_id: 0 for stream_id in weights}
    for message in network.right.messages:
        octets[message.stream_id] += len(message.data)
    for stream_id, weight in weights.items():
        share = weight / sum(weights.values())
        assert octets[stream_id] == pytest.approx(
            share * sum(octets.values()), abs=len(weights) * (SHORT_TURN + 1200)
        )
    network.run(until_s=20)
    for stream_id in weights:
        seen = [m.data for m in network.right.messages if m.stream_id == stream_id]
        assert seen == [(b"%d-" % number + bytes(size))[:size] for number in range(count)]
    if size <= 700:
        with_data = [p for p in network.left.sent_packets if p[12] in (0, 64)]
        full = sum(len(packet) for packet in with_data) / len(with_data)
        assert full > association.config.mtu - size - 100


@pytest.mark.parametrize("interleaving", [True, False])
def test_a_small_message_waits_for_no_more_than_the_packet_under_way(interleaving: bool) -> None:
    scheduler = Scheduler(is_interleaving=interleaving)
    busy = [waiting(number, 100) for number in range(50)]
    for stream in busy:
        stream.queued_bytes = 100_000
        scheduler.activate(stream)
    for _ in range(300):
        scheduler.charge(1100)
        text = waiting(99, 100)
        text.queued_bytes = 100
        scheduler.activate(text)
        assert scheduler.current is text
        scheduler.retire(100)


@pytest.mark.clause("RFC 8260 3.6")
@given(
    weights=st.lists(st.integers(1, 65_535), min_size=1, max_size=8),
    text_weights=st.lists(st.integers(1, 65_535), min_size=1, max_size=8),
    charges=st.lists(st.integers(1, 1200), max_size=60),
    part=st.floats(0.01, 0.999),
)
def test_small_messages_go_before_any_number_of_files(
    weights: list[int], text_weights: list[int], charges: list[int], part: float
) -> None:
    scheduler = Scheduler(is_interleaving=True)
    for number, weight in enumerate(weights):
        scheduler.activate(waiting(number, 1 << 30, weight))
    for number, weight in enumerate(text_weights, len(weights)):
        for octets in charges:
            assert scheduler.current is not None
            scheduler.current.offset += octets
            scheduler.charge(octets)
        interrupted = scheduler.current
        assert interrupted is not None
        before = interrupted.turn
        size = int(QUANTUM * weight * part / max(weights))
        if not size:
            continue
        text = waiting(number, size, weight)
        scheduler.activate(text)
        assert scheduler.current is text
        scheduler.retire(min(size, QUANTUM))
        assert scheduler.current is interrupted
        assert interrupted.turn == before


@given(
    sizes=st.lists(st.integers(1, 20_000), min_size=1, max_size=6),
    weights=st.lists(st.integers(1, 2000), min_size=6, max_size=6),
    file_weight=st.integers(1, 2000),
)
def test_small_messages_without_end_do_not_starve_a_file(
    sizes: list[int], weights: list[int], file_weight: int
) -> None:
    scheduler = Scheduler(is_interleaving=True)
    file = waiting(99, 1 << 30, file_weight)
    scheduler.activate(file)
    scheduler.charge(QUANTUM)
    others = [waiting(*item) for item in zip(range(len(sizes)), sizes, weights, strict=False)]
    served = [0] * len(others)
    for _ in range(20_000):
        for stream in others:
            if not stream.is_active:
                stream.queue = deque(((bytes(sizes[stream.stream_id]), 51, 3, None),))
                scheduler.activate(stream)
        current = scheduler.current
        assert current is not None
        if current is file:
            break
        served[current.stream_id] += sizes[current.stream_id]
        scheduler.retire(sizes[current.stream_id])
        for octets, stream, size in zip(served, others, sizes, strict=True):
            assert octets / stream.weight <= QUANTUM / file.weight + 2 * size / stream.weight


def test_a_message_is_not_interrupted_without_interleaving() -> None:
    scheduler = Scheduler(is_interleaving=False)
    file, text = waiting(1, 100_000), waiting(2, 10, 1024)
    scheduler.activate(file)
    file.offset = 1000
    scheduler.activate(text)
    assert scheduler.current is file
    assert file.turn == 100_000
    file.offset = 0
    scheduler.charge(100_000)
    assert scheduler.current is text


@pytest.mark.parametrize("interleaving", [True, False])
def test_a_stream_that_was_silent_gets_no_credit(interleaving: bool) -> None:
    scheduler = Scheduler(is_interleaving=interleaving)
    first, second = waiting(1, 1000), waiting(2, 1000)
    scheduler.activate(first)
    scheduler.activate(second)
    second.queue.clear()
    scheduler.gave_up(second)
    for _ in range(100):
        scheduler.charge(1000)
    second.queue = deque(first.queue)
    scheduler.activate(second)
    served = []
    for _ in range(10):
        assert scheduler.current is not None
        served.append(scheduler.current.stream_id)
        scheduler.charge(1000)
    assert 4 <= served.count(2) <= 6


def test_streams_can_be_given_up_parked_and_retired() -> None:
    scheduler = Scheduler(is_interleaving=True)
    scheduler.charge(1)
    scheduler.end_turn()
    scheduler.retire(1)
    assert not scheduler.park()
    assert not scheduler
    streams = [waiting(number, 1000) for number in range(4)]
    for stream in streams[:3]:
        scheduler.activate(stream)
    assert scheduler.park()
    assert scheduler.current is streams[1]
    streams[2].queue.clear()
    scheduler.gave_up(streams[2])
    scheduler.gave_up(streams[2])
    assert not scheduler.park()
    streams[0].queue.clear()
    scheduler.gave_up(streams[0])
    scheduler.unpark()
    scheduler.activate(streams[3])
    assert scheduler.park()
    assert scheduler.current is streams[3]
    scheduler.retire(10)
    assert scheduler.current is streams[1]
    scheduler.retire(10)
    assert scheduler.current is None
    assert all(stream.queue is NOTHING for stream in streams)


@pytest.mark.clause("RFC 8260 1")
@pytest.mark.parametrize("interleaving", [True, False])
def test_a_large_message_delays_a_small_one_only_without_interleaving(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving, remote_max_message_size=0)
    network.set_links(Link(delay_s=0.01, bytes_per_s=500_000))
    association = network.left.association
    association.send(1, 53, bytes(250_000), now=network.now)
    network.advance(0.05)
    start = network.now
    association.send(2, 51, b"chat", priority=1024, now=network.now)
    network.run(until_s=20, until=lambda: any(m.stream_id == 2 for m in network.right.messages))
    waited = network.now - start
    assert (waited < 0.2) is interleaving
    network.run(until_s=20)
    assert len(network.right.messages) == 2


@pytest.mark.clause("RFC 8831 6.4")
@pytest.mark.parametrize("interleaving", [True, False])
def test_priorities_decide_how_fast_streams_move(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving)
    association = network.left.association
    for _ in range(100):
        association.send(1, 53, bytes(5000), priority=128, now=network.now)
        association.send(2, 53, bytes(5000), priority=512, now=network.now)
    network.run(until_s=20, until=lambda: len(network.right.messages) >= 60)
    counts = [sum(m.stream_id == number for m in network.right.messages) for number in (1, 2)]
    assert counts[1] == pytest.approx(4 * counts[0], abs=8)


@pytest.mark.clause("RFC 8260 2.2")
def test_a_megabyte_and_ten_octets_interleave_on_the_wire() -> None:
    network = established(remote_max_message_size=0, initial_window_packets=20)
    association = network.left.association
    association.send(1, 53, bytes(200_000), now=network.now)
    network.settle()
    association.send(2, 51, b"ten octets", now=network.now)
    network.run(until_s=20)
    chunks = [c for c in network.left.sent_chunks(ChunkType.I_DATA) if isinstance(c, IData)]
    order = [chunk.stream_id for chunk in chunks]
    assert 1 in order[: order.index(2)]
    assert 1 in order[order.index(2) :]
    big = [chunk for chunk in chunks if chunk.stream_id == 1]
    assert [chunk.ppid_or_fsn for chunk in big[1:]] == list(range(1, len(big)))
    assert big[0].ppid_or_fsn == 53


@pytest.mark.clause("RFC 8260 3")
def test_messages_begun_at_once_are_bounded_by_the_window_of_the_peer() -> None:
    network: Network = established(receive_window=40_000, max_message_size=20_000)
    association = network.left.association
    for stream_id in range(30):
        association.send(stream_id, 53, bytes(15_000), now=network.now)
    network.run(until_s=60, until=lambda: len(network.right.messages) == 30)
    assert len(network.right.messages) == 30
    assert network.right.association.stats().chunks_dropped == 0


@pytest.mark.clause("RFC 8831 6.4")
@pytest.mark.parametrize(("file_priority", "text_priority"), [(256, 256), (1024, 128)])
def test_text_is_in_the_next_packet_whatever_files_there_are(
    file_priority: int, text_priority: int
) -> None:
    network = established(remote_max_message_size=0)
    network.set_links(Link(delay_s=0.01, bytes_per_s=500_000))
    association = network.left.association
    for stream_id in range(20):
        association.send(stream_id, 53, bytes(200_000), priority=file_priority, now=network.now)
    for _ in range(20):
        network.advance(0.03)
        network.left.sent_packets.clear()
        association.send(99, 51, b"t" * 40, priority=text_priority, now=network.now)
        network.run(until_s=5, until=lambda: bool(network.left.sent_chunks(ChunkType.I_DATA)))
        first = network.left.sent_chunks(ChunkType.I_DATA)[0]
        assert isinstance(first, IData)
        assert first.stream_id == 99


@pytest.mark.parametrize("size", [1500, 3000, 5000, QUANTUM])
def test_messages_of_no_more_than_a_quantum_go_out_whole_and_in_turn(size: int) -> None:
    network = established(remote_max_message_size=0)
    association = network.left.association
    for _ in range(6):
        for stream_id in range(4):
            association.send(stream_id, 53, bytes(size), now=network.now)
    network.run(until_s=20)
    chunks = [c for c in network.left.sent_chunks(ChunkType.I_DATA) if isinstance(c, IData)]
    messages = [key for key, _ in groupby((c.stream_id, c.message_id) for c in chunks)]
    assert len(messages) == 24
    if size > SHORT_TURN // 2:
        assert [stream_id for stream_id, _ in messages] == [0, 1, 2, 3] * 6
