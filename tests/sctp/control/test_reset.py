"""Streams are reset, in both directions, and used again (RFC 6525)."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsdk.errors import LocalProtocolError
from dcsdk.sctp import SctpConfig
from dcsdk.sctp.base.events import ResetDone, StreamsReset
from dcsdk.sctp.base.tsn import MASK
from dcsdk.sctp.wire.chunks import CauseChunk, ChunkType
from dcsdk.sctp.wire.parameters import (
    IncomingResetRequest,
    OtherRequest,
    OutgoingResetRequest,
    ReconfigResponse,
    ReconfigResult,
    decode_reconfig,
    decode_tlvs,
)
from tests.sctp.network import Link, Network, Peer, established

BOTH = pytest.mark.parametrize("interleaving", [True, False])


def responses(peer: Peer) -> list[int]:
    """Return the results in all RE-CONFIG chunks a peer sent."""
    results = []
    for chunk in peer.sent_chunks(ChunkType.RE_CONFIG):
        assert isinstance(chunk, CauseChunk)
        for item in chunk.items:
            parameter = decode_reconfig(item)
            if isinstance(parameter, ReconfigResponse):
                results.append(parameter.result)
    return results


def request_of(peer: Peer) -> OutgoingResetRequest:
    """Return the first reset request a peer sent."""
    for chunk in peer.sent_chunks(ChunkType.RE_CONFIG):
        assert isinstance(chunk, CauseChunk)
        parameter = decode_reconfig(chunk.items[0])
        if isinstance(parameter, OutgoingResetRequest):
            return parameter
    raise AssertionError("no request")


def reconfig(*items: bytes) -> CauseChunk:
    """Wrap encoded parameters."""
    return CauseChunk(kind=ChunkType.RE_CONFIG, items=decode_tlvs(b"".join(items)))


@pytest.mark.clause("RFC 6525 5.1.2")
@pytest.mark.clause("RFC 8831 6.7")
@BOTH
def test_a_stream_is_reset_after_its_data_and_can_be_used_again(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving)
    left, right = network.left.association, network.right.association
    left.send(7, 51, bytes(50_000), now=network.now)
    left.reset_streams([7], now=network.now)
    with pytest.raises(LocalProtocolError, match="reset"):
        left.send(7, 51, b"too late", now=network.now)
    left.send(8, 51, b"not affected", now=network.now)
    network.run(until_s=5)
    assert sorted(len(m.data) for m in network.right.messages) == [12, 50_000]
    assert network.left.events == [ResetDone((7,), True)]
    assert network.right.events == [StreamsReset((7,))]
    right.reset_streams([7], now=network.now)
    network.run(until_s=5)
    assert network.left.events[-1] == StreamsReset((7,))
    for number in range(3):
        left.send(7, 51, b"%d" % number, now=network.now)
        right.send(7, 51, b"%d" % number, now=network.now)
    network.run(until_s=5)
    assert [m.data for m in network.right.messages][-3:] == [b"0", b"1", b"2"]
    assert [m.data for m in network.left.messages] == [b"0", b"1", b"2"]


@pytest.mark.clause("RFC 6525 5.1.1")
def test_one_request_is_outstanding_and_the_next_waits() -> None:
    network = established()
    association = network.left.association
    association.reset_streams([1], now=network.now)
    network.settle()
    association.reset_streams([1, 2, 3], now=network.now)
    network.run(until_s=5)
    assert network.left.events == [ResetDone((1,), True), ResetDone((2, 3), True)]


def test_both_ends_may_reset_at_once() -> None:
    network = established()
    network.left.association.reset_streams([1], now=network.now)
    network.right.association.reset_streams([1], now=network.now)
    network.run(until_s=5)
    for peer in (network.left, network.right):
        assert sorted(map(type, peer.events), key=str) == [ResetDone, StreamsReset]


@pytest.mark.clause("RFC 6525 5.2.1")
@pytest.mark.parametrize("direction", ["request", "response"])
def test_a_lost_request_or_response_is_repeated(direction: str) -> None:
    network = established()
    lossy = network.left if direction == "request" else network.right
    lossy.link = Link(loss=1.0)
    network.left.association.reset_streams([1], now=network.now)
    network.run(until_s=1)
    lossy.link = Link()
    network.run(until_s=20)
    assert network.left.events == [ResetDone((1,), True)]
    assert network.right.events == [StreamsReset((1,))]


@pytest.mark.clause("RFC 6525 5.2.2")
@BOTH
def test_a_reset_waits_for_data_that_is_still_missing(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving)
    dropped: list[bytes] = []

    def lose_data(sender: Peer, packet: bytes) -> bytes | None:
        if sender is network.left and packet[12] in (0, 64) and len(dropped) < 2:
            dropped.append(packet)
            return None
        return packet

    network.on_packet = lose_data
    network.left.association.send(1, 51, bytes(1500), now=network.now)
    network.left.association.reset_streams([1], now=network.now)
    network.run(until_s=20)
    assert [len(m.data) for m in network.right.messages] == [1500]
    assert network.right.events == [StreamsReset((1,))]
    assert network.left.events == [ResetDone((1,), True)]
    assert responses(network.right)[0] == ReconfigResult.IN_PROGRESS
    assert ReconfigResult.PERFORMED in responses(network.right)


@pytest.mark.clause("RFC 6525 5.2.1")
def test_a_request_out_of_sequence_is_refused() -> None:
    network = established()
    network.left.association.reset_streams([1], now=network.now)
    network.run(until_s=5)
    first = request_of(network.left)
    network.right.events.clear()
    network.right.sent_packets.clear()
    wrong = OutgoingResetRequest(
        request_sequence=(first.request_sequence + 5) & MASK,
        response_sequence=0,
        last_tsn=first.last_tsn,
        stream_ids=(2,),
    )
    network.forge(network.right, reconfig(wrong.encode()))
    network.forge(network.right, reconfig(first.encode()))  # a repetition: same answer, no event
    network.settle()
    assert responses(network.right) == [
        ReconfigResult.BAD_SEQUENCE_NUMBER,
        ReconfigResult.PERFORMED,
    ]
    assert not network.right.events


@pytest.mark.clause("RFC 6525 5.2.3")
def test_the_peer_may_ask_for_our_streams_to_be_reset() -> None:
    network = established()
    network.left.association.reset_streams([1], now=network.now)
    network.run(until_s=5)
    sequence = request_of(network.left).request_sequence
    network.right.association.send(4, 51, b"x", now=network.now)
    network.run(until_s=5)
    for peer in (network.left, network.right):
        peer.events.clear()
        peer.sent_packets.clear()
    ask = IncomingResetRequest(request_sequence=(sequence + 1) & MASK, stream_ids=(4, 5))
    network.forge(network.right, reconfig(ask.encode()))
    nothing = IncomingResetRequest(request_sequence=(sequence + 2) & MASK, stream_ids=(99,))
    network.forge(network.right, reconfig(nothing.encode()))
    network.settle()
    assert responses(network.right) == [ReconfigResult.PERFORMED, ReconfigResult.NOTHING_TO_DO]
    request = request_of(network.right)
    assert (request.stream_ids, request.response_sequence) == ((4,), (sequence + 1) & MASK)
    network.run(until_s=5)
    assert network.left.of(StreamsReset) == [StreamsReset((4,))]


@pytest.mark.clause("RFC 6525 5.2.4")
@pytest.mark.parametrize("kind", [15, 17, 18])
def test_other_reconfigurations_are_denied(kind: int) -> None:
    network = established()
    network.left.association.reset_streams([1], now=network.now)
    network.run(until_s=5)
    sequence = request_of(network.left).request_sequence
    network.right.sent_packets.clear()
    other = OtherRequest(kind=kind, request_sequence=(sequence + 1) & MASK, rest=bytes(4))
    network.forge(network.right, reconfig(other.encode()))
    network.settle()
    assert responses(network.right) == [ReconfigResult.DENIED]


@pytest.mark.clause("RFC 6525 4.4")
@pytest.mark.parametrize(
    ("result", "is_performed"),
    [
        (ReconfigResult.NOTHING_TO_DO, True),
        (ReconfigResult.DENIED, False),
        (ReconfigResult.WRONG_SSN, False),
        (ReconfigResult.BAD_SEQUENCE_NUMBER, False),
    ],
)
def test_the_result_of_the_peer_is_told(result: ReconfigResult, is_performed: bool) -> None:
    network = established()
    network.set_links(Link(loss=1.0))
    network.left.association.reset_streams([1], now=network.now)
    network.settle()
    sequence = request_of(network.left).request_sequence
    stray = ReconfigResponse(response_sequence=sequence ^ 1, result=0)
    retry = ReconfigResponse(
        response_sequence=sequence, result=ReconfigResult.REQUEST_ALREADY_IN_PROGRESS
    )
    network.forge(network.left, reconfig(stray.encode(), retry.encode()))
    assert not network.left.events
    answer = ReconfigResponse(response_sequence=sequence, result=result)
    network.forge(network.left, reconfig(answer.encode()))
    assert network.left.events == [ResetDone((1,), is_performed)]


def test_without_the_extension_a_reset_fails_at_once() -> None:
    network = Network()

    def hide(sender: Peer, packet: bytes) -> bytes | None:
        # 0x8008 becomes an unknown parameter to be skipped
        from dcsdk.sctp.wire.packet import Seal

        if packet[12] not in (ChunkType.INIT, ChunkType.INIT_ACK):
            return packet
        body = packet[12:].replace(b"\x80\x08\x00", b"\x80\x99\x00")
        return Seal(5000, 5000, int.from_bytes(packet[4:8], "big")).close(body)

    network.on_packet = hide
    network.connect()
    network.left.events.clear()
    network.left.association.reset_streams([1], now=network.now)
    network.left.drain_events()
    assert network.left.events == [ResetDone((1,), False)]


def test_resets_before_set_up_or_of_unknown_streams_are_refused() -> None:
    network = Network(SctpConfig(outbound_streams=10))
    with pytest.raises(LocalProtocolError):
        network.left.association.reset_streams([1], now=network.now)
    network.connect()
    with pytest.raises(LocalProtocolError):
        network.left.association.reset_streams([10], now=network.now)


def test_discarded_data_does_not_delay_a_reset() -> None:
    network = established()
    association = network.left.association
    for _ in range(20):
        association.send(1, 51, bytes(50_000), now=network.now)
    network.settle()
    association.discard(1)
    association.reset_streams([1], now=network.now)
    network.run(until_s=5)
    assert [len(m.data) for m in network.right.messages] == [50_000]
    assert network.left.events == [ResetDone((1,), True)]


def test_a_reset_of_all_streams_by_the_peer_is_performed() -> None:
    network = established()
    network.left.association.send(1, 51, b"x", now=network.now)
    network.run(until_s=1)
    network.left.association.reset_streams([1], now=network.now)
    network.run(until_s=1)
    first = request_of(network.left)
    everything = OutgoingResetRequest(
        request_sequence=(first.request_sequence + 1) & MASK,
        response_sequence=0,
        last_tsn=first.last_tsn,
    )
    network.forge(network.right, reconfig(everything.encode()))
    assert network.right.events[-1] == StreamsReset(())


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1 << 16),
    loss=st.sampled_from([0.0, 0.1, 0.3]),
    jitter=st.sampled_from([0.0, 0.05]),
    rounds=st.integers(1, 4),
    interleaving=st.booleans(),
)
def test_ids_are_reused_without_mixing_up_messages_on_random_networks(
    seed: int, loss: float, jitter: float, rounds: int, interleaving: bool
) -> None:
    config = SctpConfig(
        is_interleaving_offered=interleaving, max_retrans=100, max_init_retrans=100, rto_max_s=3.0
    )
    network = Network(config, link=Link(loss=loss, jitter_s=jitter), seed=seed)
    network.connect(until_s=500)

    def is_reset(times: int) -> bool:
        return len(network.left.of(ResetDone)) == times

    for number in range(rounds):
        for part in range(5):
            network.left.association.send(
                1, 51, bytes([number, part]) * (1 + 700 * part), now=network.now
            )
        network.left.association.reset_streams([1], now=network.now)
        network.run(until_s=500, until=partial(is_reset, number + 1))
    network.run(until_s=5)
    assert [m.data[:2] for m in network.right.messages] == [
        bytes([number, part]) for number in range(rounds) for part in range(5)
    ]
    assert network.right.of(StreamsReset) == [StreamsReset((1,))] * rounds
