"""The short ways of receiving do what the general way does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.sctp import SctpAssociation, SctpConfig
from dcsdk.sctp.receiving import short_ways
from dcsdk.sctp.receiving.receiver import Receiver
from dcsdk.sctp.receiving.short_ways import MAX_RUN
from dcsdk.sctp.wire.chunks import FLAG_IMMEDIATE
from tests.sctp.network import make_entropy

ACCIDENTS = ["lost", "twice", "swapped", "cut", "longer", "immediate", "reserved", "bit"]

Accident = tuple[str, int, int]


def make_pair(config: SctpConfig) -> tuple[SctpAssociation, SctpAssociation]:
    """Two established ends, the same at each call."""
    left = SctpAssociation(config, entropy=make_entropy(1))
    right = SctpAssociation(config, entropy=make_entropy(2))
    left.connect(now=0.0)
    right.connect(now=0.0)
    for _ in range(10):
        left.receive(right.poll_packets(), now=0.0)
        right.receive(left.poll_packets(), now=0.0)
    left.poll_batch(), right.poll_batch()
    return left, right


def happen(packets: list[bytes], accident: Accident) -> None:
    """Do something to one packet of a batch."""
    kind, where, what = accident
    at = where % len(packets)
    packet = packets[at]
    match kind:
        case "lost":
            del packets[at : at + 1 + what % 3]
        case "twice":
            packets.insert((at + what) % len(packets), packet)
        case "swapped":
            other = what % len(packets)
            packets[at], packets[other] = packets[other], packet
        case "cut":
            packets[at] = packet[: -1 - what % 40]
        case "longer":
            packets[at] = packet + bytes(1 + what % 40)
        case "immediate":
            packets[at] = packet[:13] + bytes([packet[13] | FLAG_IMMEDIATE]) + packet[14:]
        case "reserved":
            packets[at] = packet[:22] + bytes([what % 256]) + packet[23:]
        case _:
            place = what % min(len(packet), 40)
            changed = packet[place] ^ 1 << where % 8
            packets[at] = packet[:place] + bytes([changed]) + packet[place + 1 :]


def receive(
    sizes: list[int],
    accidents: list[Accident],
    batch: int,
    max_size: int,
    window: int = 4 << 20,
    *,
    is_interleaving: bool = True,
) -> list[object]:
    """Let one end send and the other receive, whose program reads nothing; return all it said."""
    config = SctpConfig(
        is_zero_checksum_offered=True,
        is_interleaving_offered=is_interleaving,
        max_message_size=max_size,
        receive_window=max(window, max_size),
        remote_max_message_size=1 << 20,
        initial_window_packets=100,
        max_window=1 << 24,
    )
    left, right = make_pair(config)
    for number, size in enumerate(sizes):
        left.send(number % 3, 53, bytes([number]) * size, is_ordered=number % 4 > 0, now=1.0)
    said: list[object] = []
    rest = accidents[:]
    now = 1.0
    for _ in range(30):
        now += 0.3
        left.handle_timer(now=now)
        packets = left.poll_packets()
        while packets and rest:
            happen(packets, rest.pop())
        for start in range(0, len(packets), batch):
            right.receive(packets[start : start + batch], now=now)
            said += right.poll_batch()
            answer = right.poll_packets()
            said += answer
            left.receive(answer, now=now)
        left.poll_batch()
        right.handle_timer(now=now)
    receiver = right.receiver
    if receiver is not None:
        said.append((receiver.window, receiver.cumulative_tsn))
    return [*said, right.stats()]


@given(
    sizes=st.lists(st.sampled_from([1, 500, 1128, 3000, 16_384, 90_000]), min_size=1, max_size=6),
    accidents=st.lists(
        st.tuples(st.sampled_from(ACCIDENTS), st.integers(0, 200), st.integers(0, 400)), max_size=4
    ),
    batch=st.integers(1, 100),
    max_size=st.sampled_from([2000, 20_000, 1 << 20]),
    window=st.sampled_from([20_000, 4 << 20]),
)
def test_taking_runs_changes_nothing_that_can_be_seen(
    sizes: list[int], accidents: list[Accident], batch: int, max_size: int, window: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(short_ways, "take_run", lambda receiver, head, packets, index: 0)
        one_by_one = receive(sizes, accidents, batch, max_size, window)
    assert receive(sizes, accidents, batch, max_size, window) == one_by_one


def take_by_receiver(receiver: Receiver, packet: bytes, position: int, end: int) -> int:
    """Take data chunks the general way."""
    return receiver.data(packet, position, end)


@pytest.mark.parametrize("is_interleaving", [True, False])
@given(
    sizes=st.lists(st.sampled_from([1, 500, 1128, 3000, 16_384, 90_000]), min_size=1, max_size=6),
    accidents=st.lists(
        st.tuples(st.sampled_from(ACCIDENTS), st.integers(0, 200), st.integers(0, 400)), max_size=4
    ),
    batch=st.integers(1, 100),
    window=st.sampled_from([20_000, 4 << 20]),
)
def test_without_the_short_ways_the_receiver_says_the_same(
    is_interleaving: bool, sizes: list[int], accidents: list[Accident], batch: int, window: int
) -> None:
    def say() -> list[object]:
        size = 1 << 17
        return receive(
            sizes, accidents, batch, size, max(size, window), is_interleaving=is_interleaving
        )

    with pytest.MonkeyPatch.context() as general:
        general.setattr(short_ways, "take_run", lambda receiver, head, packets, index: 0)
        for name in ("take_data", "take_i_data", "take_fragment"):
            general.setattr(short_ways, name, take_by_receiver)
        general.setattr(short_ways, "sack", lambda receiver: b"")
        expected = say()
    assert say() == expected


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many packets each run had."""
    counts: list[int] = []
    run = short_ways.take_run

    def count(receiver: Receiver, head: bytes, packets: list[bytes], index: int) -> int:
        counts.append(run(receiver, head, packets, index))
        return counts[-1]

    monkeypatch.setattr(short_ways, "take_run", count)
    return counts


@pytest.mark.parametrize("pieces", [2, 3, MAX_RUN, MAX_RUN + 1, 3 * MAX_RUN])
def test_the_middle_of_a_message_is_taken_in_runs(pieces: int, taken: list[int]) -> None:
    said = receive([1128 * pieces + 1], [], 1000, 1 << 20)
    (message,) = [item for item in said if type(item) is tuple and len(item) == 4]
    assert message[2] == bytes(1128 * pieces + 1)
    assert pieces - 1 - len(taken) <= sum(taken) <= pieces - 1


def test_a_gap_ends_a_run(taken: list[int]) -> None:
    left, right = make_pair(SctpConfig(is_zero_checksum_offered=True))
    left.send(1, 53, bytes(10_000), now=1.0)
    packets = left.poll_packets()
    right.receive([*packets[:3], packets[4]], now=1.0)
    assert taken == [2, 0]
    right.receive([packets[3], *packets[5:]], now=1.0)
    assert [event[2] for event in right.poll_batch() if type(event) is tuple] == [bytes(10_000)]
