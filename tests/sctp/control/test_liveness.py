"""Is the peer still there: what counts as a sign of life, and how long one is waited for."""

from __future__ import annotations

import pytest

from dcsdk.sctp import SctpConfig
from dcsdk.sctp.base.config import DEFAULT_MTU
from dcsdk.sctp.base.events import Aborted, PeerUnreachableEvent, ShutDown
from dcsdk.sctp.control.heartbeat import MAX_OPEN
from dcsdk.sctp.wire.chunks import ChunkType, PlainChunk
from dcsdk.sctp.wire.parameters import ParameterType, Tlv
from tests.sctp.network import Link, Network, Peer

PATIENCE_S = 12.0
QUIET_S = 2.0
CONFIG = SctpConfig(
    peer_timeout_s=PATIENCE_S, peer_quiet_s=QUIET_S, remote_max_message_size=1 << 18
)
PERFECT = Link()
CUT = Link(loss=1.0)


def network_of(link: Link = PERFECT, config: SctpConfig = CONFIG) -> Network:
    """Return an established network with nothing to do."""
    network = Network(config, link=link)
    network.connect()
    network.advance(5)
    return network


def unreachable(peer: Peer) -> bool:
    """The peer was told that the other one is gone."""
    return bool(peer.of(PeerUnreachableEvent))


def talk(network: Network, seconds: float, *, size: int, is_answered: bool = False) -> None:
    """Have the left one send twenty times a second."""
    for _ in range(int(seconds * 20)):
        for peer in (network.left, network.right)[: 1 + is_answered]:
            if peer.association.total_queued_bytes < 1 << 20:
                peer.association.send(1, 51, bytes(size), now=network.now)
        network.advance(0.05)


# --- what is a sign of life -----------------------------------------------------------------------
@pytest.mark.parametrize("rate", [8_000, 20_000, 100_000])
def test_who_receives_data_slowly_knows_that_its_sender_is_alive(rate: int) -> None:
    network = network_of()
    # Three seconds of buffer, and an answer to a heartbeat waits behind it.
    network.left.link = Link(bytes_per_s=rate, queue_bytes=3 * rate)
    while network.left.association.total_queued_bytes < 2 << 20:
        network.left.association.send(1, 51, bytes(1 << 18), now=network.now)
    network.advance(60)
    assert network.is_established()
    assert len(network.right.messages) >= min(8, rate * 60 // 2 >> 18)


@pytest.mark.parametrize("rtt_s", [0.6, 1.8, 2.2, 3.0, 5.0, 8.0])
@pytest.mark.parametrize("is_early", [True, False])
def test_a_long_path_is_no_dead_path(rtt_s: float, is_early: bool) -> None:
    link = Link(delay_s=rtt_s / 2)
    network = network_of(link) if is_early else network_of()
    network.set_links(link)
    for _ in range(10):
        for peer in (network.left, network.right):
            peer.association.send(1, 51, bytes(3000), now=network.now)
        network.advance(20)
    network.advance(500)
    assert network.is_established()
    assert len(network.left.messages) == len(network.right.messages) == 10


@pytest.mark.clause("RFC 9260 6.3.1")
def test_a_path_that_grew_long_is_measured_and_nothing_more_is_sent_twice() -> None:
    network = network_of()
    network.set_links(Link(delay_s=2.5))
    for _ in range(5):
        network.left.association.send(1, 51, b"x", now=network.now)
        network.advance(20)
    before = network.left.association.stats().retransmissions
    for _ in range(10):
        network.left.association.send(1, 51, b"x", now=network.now)
        network.advance(20)
    assert network.left.association.stats().rto_s > 5.0
    assert network.left.association.stats().retransmissions == before


@pytest.mark.clause("RFC 9260 8.3")
def test_the_answer_to_an_earlier_heartbeat_counts() -> None:
    network = network_of()
    network.set_links(Link(delay_s=3.0))
    network.left.association.request_heartbeat(now=network.now)
    network.advance(6.5)
    assert len(network.left.sent_chunks(ChunkType.HEARTBEAT)) > 1
    assert network.left.association.stats().smoothed_rtt_s > 0.5
    network.advance(200)
    assert network.is_established()


def test_so_many_heartbeats_are_known_at_most() -> None:
    network = network_of()
    network.set_links(CUT)
    network.left.association.request_heartbeat(now=network.now)
    network.advance(PATIENCE_S - 0.1)
    assert len(network.left.association._heartbeat._nonces) <= MAX_OPEN


@pytest.mark.clause("RFC 9260 8.3")
def test_an_answer_to_no_heartbeat_is_no_sign_of_life() -> None:
    network = network_of()
    network.set_links(CUT)
    network.left.association.send(1, 51, b"x", now=network.now)
    value = Tlv(ParameterType.HEARTBEAT_INFO, bytes(16)).encode()
    for _ in range(14):
        network.advance(1)
        network.forge(network.left, PlainChunk(kind=ChunkType.HEARTBEAT_ACK, value=value))
    assert unreachable(network.left)


# --- how long one is waited for -------------------------------------------------------------------
@pytest.mark.parametrize(
    ("size", "is_answered"), [(100, False), (100, True), (20_000, False), (20_000, True)]
)
@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("spoken_s", [1.0, 30.0])
def test_silence_ends_an_association_in_use_when_it_lasted_as_long_as_configured(
    size: int, is_answered: bool, delay_s: float, spoken_s: float
) -> None:
    network = network_of(Link(delay_s=delay_s))
    talk(network, spoken_s, size=size, is_answered=is_answered)
    cut_s = network.now
    network.set_links(CUT)
    talk(network, PATIENCE_S - 0.1, size=100)
    assert not unreachable(network.left)
    network.run(until_s=5, until=lambda: unreachable(network.left))
    assert unreachable(network.left)
    # What was on its way when the path was cut is heard yet.
    assert PATIENCE_S - 0.1 < network.now - cut_s <= PATIENCE_S + 2 * delay_s + 0.5


@pytest.mark.clause("RFC 8985 7.2", "RFC 9260 6.3.2")
def test_who_goes_on_sending_does_not_put_off_its_time_outs() -> None:
    network = network_of()
    talk(network, 1, size=20_000)  # the window is far from full afterwards
    network.set_links(CUT)
    talk(network, 2, size=100)
    assert network.left.association.stats().timeouts >= 1


def test_who_only_receives_is_as_patient() -> None:
    network = network_of()
    talk(network, 5, size=100)
    cut_s = network.now
    network.set_links(CUT)
    network.run(until_s=60, until=lambda: unreachable(network.right))
    assert unreachable(network.right)
    assert PATIENCE_S - 0.1 < network.now - cut_s <= PATIENCE_S + 0.5


@pytest.mark.parametrize("is_answered", [True, False])
@pytest.mark.parametrize("outage_s", [4.0, 7.0, 11.0])
def test_a_shorter_silence_is_survived_and_then_data_flows_soon(
    outage_s: float, is_answered: bool
) -> None:
    network = network_of()
    talk(network, 5, size=500, is_answered=is_answered)
    network.set_links(CUT)
    talk(network, outage_s, size=500, is_answered=is_answered)
    network.set_links(PERFECT)
    before = len(network.right.messages)
    network.advance(QUIET_S + 1.0)
    assert len(network.right.messages) - before >= 20 * outage_s
    assert network.is_established()


def test_a_process_that_stood_still_gives_the_peer_time_to_answer() -> None:
    network = network_of()
    network.on_packet = lambda sender, packet: None  # what was sent before is lost
    network.left.association.send(1, 51, b"x", now=network.now)
    network.settle()
    network.on_packet = None
    network.now += 60.0
    network.advance(5)
    assert network.is_established()
    assert [message.data for message in network.right.messages] == [b"x"]


@pytest.mark.clause("RFC 9260 8.1")
def test_one_silence_is_counted_once() -> None:
    network = network_of(config=SctpConfig(max_retrans=100))
    network.set_links(CUT)
    association = network.left.association
    association.send(1, 51, b"x", now=network.now)
    association.request_heartbeat(now=network.now)
    association.reset_streams([2], now=network.now)
    network.advance(200)
    assert association.stats().error_count == association.stats().timeouts > 3


def test_without_a_peer_timeout_the_time_outs_are_counted() -> None:
    network = network_of(config=SctpConfig(max_retrans=3))
    network.set_links(CUT)
    network.left.association.send(1, 51, b"x", now=network.now)
    network.run(until_s=100, until=lambda: unreachable(network.left))
    (event,) = network.left.of(PeerUnreachableEvent)
    assert isinstance(event, PeerUnreachableEvent)
    assert event.reason == "4 time-outs in a row"


def test_an_idle_association_costs_no_more_for_its_peer_timeout() -> None:
    with_timeout, without = network_of(), network_of(config=SctpConfig())
    for network in (with_timeout, without):
        network.advance(2000)
    asked = [
        sum(len(peer.sent_chunks(ChunkType.HEARTBEAT)) for peer in (network.left, network.right))
        for network in (with_timeout, without)
    ]
    assert asked[0] <= asked[1] + 2  # one each, soon after set-up


# --- a peer that is heard and yet of no use -------------------------------------------------------
@pytest.mark.clause("RFC 9260 8.1", "RFC 9260 9.1")
def test_a_path_that_loses_all_large_packets_is_given_up_and_both_ends_say_so() -> None:
    network = network_of()

    def lose_large(sender: Peer, packet: bytes) -> bytes | None:
        return packet if len(packet) < DEFAULT_MTU // 2 else None

    network.on_packet = lose_large
    started_s = network.now
    network.left.association.send(1, 51, bytes(5000), now=network.now)
    network.run(until_s=100, until=lambda: unreachable(network.left))
    assert PATIENCE_S <= network.now - started_s < 3 * PATIENCE_S
    network.advance(1)
    (event,) = network.right.of(Aborted)
    assert isinstance(event, Aborted)
    assert not event.is_local
    assert "time-outs in a row" in event.reason


@pytest.mark.clause("RFC 9260 9.1")
def test_who_gives_up_aborts() -> None:
    network = network_of()
    network.right.link = CUT
    network.left.association.send(1, 51, b"x", now=network.now)
    network.run(until_s=100, until=lambda: unreachable(network.left))
    network.advance(1)
    assert network.right.of(Aborted)


# --- the last step of an end in order -------------------------------------------------------------
@pytest.mark.clause("RFC 9260 9.2")
def test_an_end_in_order_is_one_even_if_its_last_packet_is_lost() -> None:
    network = network_of()

    def lose(sender: Peer, packet: bytes) -> bytes | None:
        return None if packet[12] == ChunkType.SHUTDOWN_COMPLETE else packet

    network.on_packet = lose
    network.left.association.send(1, 51, b"last", now=network.now)
    network.left.association.shutdown(now=network.now)
    network.advance(1)
    network.right.link = CUT  # the program at the left has ended
    network.advance(2 * PATIENCE_S)
    for peer in (network.left, network.right):
        assert peer.of(ShutDown)
        assert not unreachable(peer)
    assert [message.data for message in network.right.messages] == [b"last"]
