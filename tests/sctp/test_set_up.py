"""Association set-up from both ends: collisions, losses, cookies, extensions and restarts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dcsdk.errors import LocalProtocolError
from dcsdk.sctp import SctpAssociation, SctpConfig
from dcsdk.sctp.base.events import (
    AssociationState,
    Established,
    PeerUnreachableEvent,
    Restarted,
)
from dcsdk.sctp.wire.chunks import CauseChunk, ChunkType, Init, PlainChunk
from dcsdk.sctp.wire.packet import Packet
from dcsdk.sctp.wire.parameters import CauseCode, ParameterType, Tlv
from tests.sctp.network import Link, Network, Peer, established, make_entropy


def first_types(peer: Peer) -> list[int]:
    """Return the type of the first chunk of every packet a peer sent."""
    return [packet[12] for packet in peer.sent_packets]


# --- set-up --------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 9260 5.2.1")
def test_inits_that_cross_lead_to_one_association() -> None:
    network = Network()
    network.connect()
    for peer in (network.left, network.right):
        assert peer.of(Established) == [Established(65_535, 65_535, True, True, True)]
        assert first_types(peer)[:3] == [
            ChunkType.INIT,
            ChunkType.INIT_ACK,
            ChunkType.COOKIE_ECHO,
        ]


@pytest.mark.clause("RFC 9260 5.1")
def test_one_end_alone_sets_an_association_up() -> None:
    network = Network()
    network.left.association.connect(now=network.now)
    network.run(until=network.is_established)
    assert first_types(network.left) == [ChunkType.INIT, ChunkType.COOKIE_ECHO]
    network.right.association.connect(now=network.now)  # late, and of no effect
    network.run(until_s=5)
    assert network.right.of(Established)
    assert not network.right.of(Restarted)


@pytest.mark.clause("RFC 9260 5.1", "RFC 8841 9.3")
def test_who_waits_for_the_init_of_the_peer_sends_none_when_it_comes() -> None:
    network = Network()
    network.left.association.connect(now=network.now)
    network.right.association.connect(now=network.now, patience_s=0.02)
    network.run(until_s=5)
    assert network.is_established()
    assert first_types(network.left) == [ChunkType.INIT, ChunkType.COOKIE_ECHO]
    assert first_types(network.right) == [ChunkType.INIT_ACK, ChunkType.COOKIE_ACK]


@pytest.mark.clause("RFC 8841 9.3")
def test_who_waits_in_vain_for_the_init_of_the_peer_sends_its_own() -> None:
    network = Network()
    network.right.association.connect(now=network.now, patience_s=0.02)
    network.run(until_s=0.019)
    assert not network.right.sent_packets
    network.run(until_s=5)
    assert network.is_established()


@pytest.mark.clause("RFC 9260 5.1")
@pytest.mark.parametrize("dropped", range(4))
def test_any_lost_packet_is_repeated_where_one_end_waits(dropped: int) -> None:
    network = Network()
    count = 0

    def drop_one(sender: Peer, packet: bytes) -> bytes | None:
        nonlocal count
        count += 1
        return None if count == dropped + 1 else packet

    network.on_packet = drop_one
    network.left.association.connect(now=network.now)
    network.right.association.connect(now=network.now, patience_s=0.02)
    network.run(until_s=20)
    assert network.is_established()
    assert not network.left.of(Restarted) + network.right.of(Restarted)


@pytest.mark.clause("RFC 9260 5.1")
def test_who_answered_an_init_and_hears_no_more_of_it_sends_its_own() -> None:
    network = Network()
    network.left.association.connect(now=network.now)
    network.right.association.connect(now=network.now, patience_s=0.02)
    network.on_packet = lambda sender, packet: packet if packet[12] == ChunkType.INIT else None
    network.run(until_s=0.5)
    assert first_types(network.right) == [ChunkType.INIT_ACK]
    network.run(until_s=2.0)
    assert ChunkType.INIT in first_types(network.right)


@pytest.mark.clause("RFC 9260 5.2.1")
@pytest.mark.parametrize("dropped", range(6))
def test_any_lost_packet_of_set_up_is_repeated(dropped: int) -> None:
    network = Network()
    count = 0

    def drop_one(sender: Peer, packet: bytes) -> bytes | None:
        nonlocal count
        count += 1
        return None if count - 1 == dropped else packet

    network.on_packet = drop_one
    network.connect()
    assert network.is_established()
    network.left.association.send(1, 51, b"ping", now=network.now)
    network.right.association.send(1, 51, b"pong", now=network.now)
    network.run(until_s=20)
    assert [m.data for m in network.right.messages] == [b"ping"]
    assert [m.data for m in network.left.messages] == [b"pong"]


@pytest.mark.clause("RFC 9260 5.2.2")
def test_a_late_peer_whose_init_was_lost_still_finds_one_association() -> None:
    network = Network()
    network.left.association.connect(now=network.now)
    network.run(until=network.is_established)
    # A duplicate of the first INIT arrives after everything.
    init = next(packet for packet in network.left.sent_packets if packet[12] == ChunkType.INIT)
    network.inject(network.right, init)
    network.run(until_s=5)
    assert network.is_established()
    network.left.association.send(1, 51, b"still here", now=network.now)
    network.run(until_s=5)
    assert [m.data for m in network.right.messages] == [b"still here"]


@pytest.mark.clause("RFC 9260 5.1")
def test_set_up_gives_up_after_max_init_retransmits() -> None:
    network = Network(SctpConfig(max_init_retrans=3), link=Link(loss=1.0))
    network.left.association.connect(now=network.now)
    network.run(until_s=1000)
    assert len(network.left.sent_packets) == 4
    assert isinstance(network.left.events[-1], PeerUnreachableEvent)
    assert network.left.association.next_timer() is None


@pytest.mark.clause("RFC 9260 5.1.1")
def test_streams_are_the_least_of_both_sides() -> None:
    network = Network(
        SctpConfig(outbound_streams=10, inbound_streams=20),
        SctpConfig(outbound_streams=30, inbound_streams=5),
    )
    network.connect()
    (left,), (right,) = network.left.of(Established), network.right.of(Established)
    assert isinstance(left, Established)
    assert isinstance(right, Established)
    assert (left.outbound_streams, left.inbound_streams) == (5, 20)
    assert (right.outbound_streams, right.inbound_streams) == (20, 5)
    with pytest.raises(LocalProtocolError):
        network.left.association.send(5, 51, b"x", now=network.now)


@pytest.mark.clause("RFC 9260 5.3.1")
def test_a_random_tag_of_zero_is_not_used() -> None:
    association = SctpAssociation(SctpConfig(), entropy=bytes)
    association.connect(now=0.0)
    (packet,) = association.poll_packets()
    (init,) = Packet.decode(packet).chunks
    assert isinstance(init, Init)
    assert init.initiate_tag == 1
    assert Packet.decode(packet).verification_tag == 0


@pytest.mark.clause("RFC 8261 6.1")
def test_init_carries_no_addresses_and_lists_the_extensions() -> None:
    association = SctpAssociation(SctpConfig(), entropy=make_entropy(1))
    association.connect(now=0.0)
    (init,) = Packet.decode(association.poll_packets()[0]).chunks
    assert isinstance(init, Init)
    assert {item.kind for item in init.parameters} == {
        ParameterType.FORWARD_TSN_SUPPORTED,
        ParameterType.SUPPORTED_EXTENSIONS,
    }
    extensions = init.parameter(ParameterType.SUPPORTED_EXTENSIONS)
    assert extensions is not None
    assert set(extensions) == {0x82, 0xC0, 0x40, 0xC2}


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ({}, {"is_interleaving_offered": False}, (False, True)),
        ({"is_partial_reliability_offered": False}, {}, (True, False)),
        ({"is_interleaving_offered": False, "is_partial_reliability_offered": False}, {}, (0, 0)),
    ],
)
def test_an_extension_needs_both_sides(
    left: dict[str, bool], right: dict[str, bool], expected: tuple[bool, bool]
) -> None:
    network = Network(SctpConfig(**left), SctpConfig(**right))  # type: ignore[arg-type]
    network.connect()
    for peer in (network.left, network.right):
        (event,) = peer.of(Established)
        assert isinstance(event, Established)
        assert (event.is_interleaving, event.is_partial_reliability) == expected


@pytest.mark.clause("RFC 9653 5.2")
def test_zero_checksums_are_used_when_both_sides_agree_but_not_for_set_up() -> None:
    network = Network(SctpConfig(is_zero_checksum_offered=True))
    network.connect()
    for packet in network.left.sent_packets:
        Packet.decode(packet)  # each has its checksum
    network.left.sent_packets.clear()
    network.left.association.send(1, 51, bytes(5000), now=network.now)
    network.run(until_s=5)
    assert all(packet[8:12] == bytes(4) for packet in network.left.sent_packets)
    assert [len(m.data) for m in network.right.messages] == [5000]
    one_sided = Network(SctpConfig(is_zero_checksum_offered=True), SctpConfig())
    one_sided.connect()
    one_sided.left.association.send(1, 51, bytes(5000), now=one_sided.now)
    one_sided.run(until_s=5)
    assert all(packet[8:12] != bytes(4) for packet in one_sided.left.sent_packets)


def without_checksum(*kinds: ChunkType) -> Callable[[Peer, bytes], bytes]:
    """Return what takes the checksum from packets that begin with a chunk of these types."""
    return lambda sender, packet: (
        packet[:8] + bytes(4) + packet[12:] if packet[12] in kinds else packet
    )


@pytest.mark.clause("RFC 9653 5.3")
def test_who_offered_to_take_no_checksum_needs_no_offer_of_the_peer_for_it() -> None:
    network = Network(SctpConfig(is_zero_checksum_offered=True), SctpConfig())
    network.on_packet = lambda sender, packet: (
        packet if sender is network.left else packet[:8] + bytes(4) + packet[12:]
    )
    network.left.association.connect(now=network.now)
    network.run(until_s=60, until=network.is_established)
    network.right.association.send(1, 51, bytes(5000), now=network.now)
    network.run(until_s=5)
    assert [len(m.data) for m in network.left.messages] == [5000]
    assert network.left.association.stats().packets_dropped == 0


@pytest.mark.clause("RFC 9653 5.2", "RFC 9653 5.3")
@pytest.mark.parametrize("is_offered", [True, False])
def test_set_up_goes_on_without_a_checksum_where_that_was_offered(is_offered: bool) -> None:
    network = Network(SctpConfig(is_zero_checksum_offered=is_offered))
    network.on_packet = without_checksum(ChunkType.INIT_ACK, ChunkType.COOKIE_ACK)
    network.connect()
    assert network.is_established() is is_offered


@pytest.mark.clause("RFC 9653 5.2")
def test_an_init_without_a_checksum_is_dropped() -> None:
    network = Network(SctpConfig(is_zero_checksum_offered=True))
    network.on_packet = without_checksum(ChunkType.INIT)
    network.connect()
    assert not network.is_established()


@pytest.mark.clause("RFC 9260 3.2.1")
def test_unknown_parameters_are_reported_as_their_bits_say() -> None:
    network = Network()
    items = (
        Tlv(0xC123, b"skip and report"),
        Tlv(0x8123, b"skip"),
        Tlv(0x4123, b"stop and report"),
        Tlv(0xC999, b"never read"),
    )
    init = Init(
        initiate_tag=5,
        a_rwnd=5000,
        outbound_streams=9,
        inbound_streams=9,
        initial_tsn=1,
        parameters=items,
    )
    network.forge(network.right, init, tag=0)
    network.settle()
    (ack,) = network.right.sent_chunks(ChunkType.INIT_ACK)
    assert isinstance(ack, Init)
    reported = [item.value for item in ack.parameters if item.kind == ParameterType.UNRECOGNIZED]
    assert reported == [items[0].encode(), items[2].encode()]


@pytest.mark.clause("RFC 9260 5.1")
def test_messages_sent_before_set_up_follow_it_in_order() -> None:
    network = Network()
    association = network.left.association
    for number in range(3):
        association.send(number % 2, 51, b"early %d" % number, now=network.now)
    assert association.queued_bytes(0) == 14
    assert association.total_queued_bytes == 21
    association.discard(1)
    assert association.total_queued_bytes == 14
    assert not association.is_idle
    network.connect()
    network.run(until_s=5)
    assert [m.data for m in network.right.messages] == [b"early 0", b"early 2"]
    assert association.is_idle


def test_an_early_message_for_a_stream_the_peer_lacks_is_reported() -> None:
    network = Network(SctpConfig(), SctpConfig(inbound_streams=1))
    network.left.association.send(3, 51, b"x", now=network.now)
    network.connect()
    assert network.left.events[-1].stream_id == 3  # type: ignore[union-attr]


# --- cookies -------------------------------------------------------------------------------------
def cookie_of(network: Network) -> bytes:
    """Have the right peer make a cookie for the left one, and return it."""
    network.left.association.connect(now=network.now)
    network.settle()
    (init,) = network.left.sent_packets
    network.inject(network.right, init)
    (packet,) = network.right.association.poll_packets()
    (ack,) = Packet.decode(packet).chunks
    assert isinstance(ack, Init)
    network.right.tag = ack.initiate_tag
    cookie = ack.parameter(ParameterType.STATE_COOKIE)
    assert cookie is not None
    return cookie


@pytest.mark.clause("RFC 9260 5.1.5")
def test_an_expired_cookie_is_answered_with_an_error() -> None:
    network = Network()
    cookie = cookie_of(network)
    network.now += 61.5
    network.forge(network.right, PlainChunk(kind=ChunkType.COOKIE_ECHO, value=cookie))
    network.settle()
    (error,) = network.right.sent_chunks(ChunkType.ERROR)
    assert isinstance(error, CauseChunk)
    (cause,) = error.items
    assert cause.kind == CauseCode.STALE_COOKIE
    assert int.from_bytes(cause.value, "big") == pytest.approx(1.5e6, abs=10)
    assert network.right.association.state is AssociationState.CLOSED


@pytest.mark.clause("RFC 9260 5.2.6")
def test_a_stale_cookie_error_begins_set_up_again() -> None:
    network = Network(link=Link(delay_s=61.0))
    network.left.association.connect(now=network.now)
    network.run(until_s=130)
    network.set_links(Link(delay_s=0.01))
    network.run(until_s=200, until=network.is_established)
    assert network.is_established()


@pytest.mark.clause("RFC 9260 5.1.5")
def test_forged_and_changed_cookies_do_nothing() -> None:
    network = Network()
    cookie = bytearray(cookie_of(network))
    cookie[10] ^= 1
    network.forge(network.right, PlainChunk(kind=ChunkType.COOKIE_ECHO, value=bytes(cookie)))
    network.forge(network.right, PlainChunk(kind=ChunkType.COOKIE_ECHO, value=b"mine"))
    network.settle()
    assert network.right.association.state is AssociationState.CLOSED
    assert network.right.association.stats().packets_dropped == 2


@pytest.mark.clause("RFC 9260 8.5.1 D")
def test_a_cookie_with_the_wrong_verification_tag_does_nothing() -> None:
    network = Network()
    cookie = cookie_of(network)
    network.forge(network.right, PlainChunk(kind=ChunkType.COOKIE_ECHO, value=cookie), tag=77)
    assert network.right.association.state is AssociationState.CLOSED


@pytest.mark.clause("RFC 9260 5.2.4")
def test_a_replayed_cookie_is_acknowledged_and_changes_nothing() -> None:
    network = established()
    network.left.association.send(1, 51, b"one", now=network.now)
    network.run(until_s=1)
    lifecycle_packets = Network()
    lifecycle_packets.connect()
    echo = next(p for p in lifecycle_packets.left.sent_packets if p[12] == ChunkType.COOKIE_ECHO)
    lifecycle_packets.right.events.clear()
    lifecycle_packets.now += 100  # expired, but of this very association
    lifecycle_packets.inject(lifecycle_packets.right, echo)
    lifecycle_packets.right.sent_packets.clear()
    lifecycle_packets.settle()
    assert first_types(lifecycle_packets.right) == [ChunkType.COOKIE_ACK]
    assert not lifecycle_packets.right.events


@pytest.mark.clause("RFC 9260 5.2.4.1")
def test_a_peer_that_lost_its_state_restarts_the_association() -> None:
    network = established()
    network.left.association.send(1, 51, b"before", now=network.now)
    network.run(until_s=1)
    network.left.association = SctpAssociation(SctpConfig(), entropy=make_entropy(999))
    network.left.association.connect(now=network.now)
    network.run(until_s=5)
    assert network.right.of(Restarted)
    network.left.association.send(1, 51, b"after", now=network.now)
    network.right.association.send(1, 51, b"answer", now=network.now)
    network.run(until_s=5)
    assert [m.data for m in network.right.messages] == [b"before", b"after"]
    assert [m.data for m in network.left.messages] == [b"answer"]


@pytest.mark.clause("RFC 9260 5.2.4")
def test_a_cookie_for_tags_of_the_past_is_discarded() -> None:
    network = established()
    # An INIT from a third party makes a cookie with fresh tags and the tie-tags of today.
    init = Init(initiate_tag=99, a_rwnd=5000, outbound_streams=1, inbound_streams=1, initial_tsn=7)
    network.forge(network.right, init, tag=0)
    network.settle()
    (ack,) = network.right.sent_chunks(ChunkType.INIT_ACK)
    assert isinstance(ack, Init)
    cookie = ack.parameter(ParameterType.STATE_COOKIE)
    assert cookie is not None
    echo = PlainChunk(kind=ChunkType.COOKIE_ECHO, value=cookie)
    network.forge(network.right, echo, tag=ack.initiate_tag)  # restart: tie-tags match
    assert network.right.of(Restarted)
    network.right.events.clear()
    network.right.tag = ack.initiate_tag
    # The same INIT again gives tie-tags of the second life; the first cookie is now history.
    second = Init(
        initiate_tag=100, a_rwnd=5000, outbound_streams=1, inbound_streams=1, initial_tsn=7
    )
    network.forge(network.right, second, tag=0)
    network.right.sent_packets.clear()
    network.settle()
    (ack_2,) = network.right.sent_chunks(ChunkType.INIT_ACK)
    assert isinstance(ack_2, Init)
    cookie_2 = ack_2.parameter(ParameterType.STATE_COOKIE)
    assert cookie_2 is not None
    network.forge(
        network.right,
        PlainChunk(kind=ChunkType.COOKIE_ECHO, value=cookie_2),
        tag=ack_2.initiate_tag,
    )
    assert network.right.of(Restarted)
    network.right.events.clear()
    network.forge(network.right, echo, tag=ack.initiate_tag)
    assert not network.right.events
