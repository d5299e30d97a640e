"""Losses are found by time, tails by probes, and mistakes are taken back."""

from __future__ import annotations

import pytest

from dcsdk.sctp import Cubic, NewReno, SctpConfig
from dcsdk.sctp.base.congestion import CONTROLLERS, CongestionController
from dcsdk.sctp.base.tsn import MASK
from dcsdk.sctp.sending.recovery import Rack, RoundTrip
from dcsdk.sctp.wire.chunks import ChunkType, Sack
from tests.sctp.network import Link, Network, Peer, established
from tests.sctp.test_partial_reliability import lose

SIZE = 1000


# --- round trip ----------------------------------------------------------------------------------
@pytest.mark.clause("RFC 9260 6.3.1")
def test_the_time_out_follows_the_measurements_within_its_bounds() -> None:
    round_trip = RoundTrip(1.0, 0.4, 60.0)
    assert round_trip.timeout_s == 1.0
    round_trip.sample(0.5)
    assert (round_trip.smoothed_s, round_trip.variation_s) == (0.5, 0.25)
    assert round_trip.timeout_s == 1.5
    round_trip.sample(-1.0)
    round_trip.sample(0.1)
    assert round_trip.smoothed_s == pytest.approx(0.45)
    assert round_trip.minimum_s == 0.1
    for _ in range(100):
        round_trip.sample(0.01)
    assert round_trip.timeout_s == 0.4
    for _ in range(20):
        round_trip.back_off()
    assert round_trip.timeout_s == 60.0


@pytest.mark.clause("RFC 8985 7.2")
def test_a_probe_waits_two_round_trips_and_for_a_delayed_acknowledgement() -> None:
    round_trip = RoundTrip(1.0, 0.4, 60.0)
    assert round_trip.probe_timeout_s(0.0) == 1.0
    round_trip.sample(0.05)
    assert round_trip.probe_timeout_s(0.0) == pytest.approx(0.101)
    assert round_trip.probe_timeout_s(0.2) == pytest.approx(0.301)
    assert round_trip.probe_timeout_s(9.0) == round_trip.timeout_s


@pytest.mark.clause("RFC 8985 6.2")
def test_reordering_makes_loss_detection_patient() -> None:
    rack, round_trip = Rack(), RoundTrip(1.0, 0.4, 60.0)
    round_trip.sample(0.1)
    assert rack.reordering_window_s(round_trip, is_certain=True) == 0.0
    assert rack.reordering_window_s(round_trip, is_certain=False) == pytest.approx(0.025)
    rack.is_reordering_seen = True
    assert rack.reordering_window_s(round_trip, is_certain=True) == pytest.approx(0.025)
    for _ in range(50):
        rack.spurious_retransmission()
    assert rack.reordering_window_s(round_trip, is_certain=True) == pytest.approx(0.1)


# --- in the association --------------------------------------------------------------------------
@pytest.mark.clause("RFC 9260 7.2.4")
def test_one_loss_is_repaired_in_one_round_trip_without_a_time_out() -> None:
    network = established()
    lose(network, 2)
    for _ in range(8):
        network.left.association.send(1, 51, bytes(SIZE), now=network.now)
    start = network.now
    network.run(until_s=5, until=lambda: len(network.right.messages) == 8)
    assert network.now - start == pytest.approx(0.03, abs=0.002)
    stats = network.left.association.stats()
    assert (stats.retransmissions, stats.losses, stats.timeouts) == (1, 1, 0)


@pytest.mark.clause("RFC 8985 7")
def test_a_lost_tail_is_found_by_a_probe_long_before_the_time_out() -> None:
    network = established()
    network.left.association.send(1, 51, b"measure", now=network.now)
    network.run(until_s=1)
    lose(network, 5, 6, 7)
    for _ in range(8):
        network.left.association.send(1, 51, bytes(SIZE), now=network.now)
    start = network.now
    network.run(until_s=5, until=lambda: len(network.right.messages) == 9)
    assert network.now - start < 0.15
    stats = network.left.association.stats()
    assert stats.probes == 1
    assert stats.timeouts == 0


@pytest.mark.clause("RFC 9002 6.2")
def test_a_sack_lost_in_a_recovery_costs_a_probe_and_no_time_out() -> None:
    network = established()
    network.left.association.send(1, 51, b"measure", now=network.now)
    network.run(until_s=1)
    lose(network, 2)
    for _ in range(8):
        network.left.association.send(1, 51, bytes(SIZE), now=network.now)
    start = network.now
    network.run(until_s=5, until=lambda: network.left.association.stats().retransmissions == 1)
    lost_sacks: list[bytes] = []

    def lose_the_next_sack(sender: Peer, packet: bytes) -> bytes | None:
        if sender is network.right and not lost_sacks:
            lost_sacks.append(packet)
            return None
        return packet

    network.on_packet = lose_the_next_sack
    network.run(until_s=5, until=lambda: network.left.association.is_idle)
    assert len(network.right.messages) == 9
    stats = network.left.association.stats()
    assert (stats.timeouts, stats.probes) == (0, 1)
    assert network.now - start < 0.15


@pytest.mark.clause("RFC 9260 6.3.3")
def test_a_blackout_is_survived_by_time_outs() -> None:
    network = established()
    for _ in range(30):
        network.left.association.send(1, 51, bytes(SIZE), now=network.now)
    network.set_links(Link(loss=1.0))
    network.run(until_s=3)
    assert network.left.association.stats().timeouts >= 1
    assert network.left.association.stats().congestion_window <= 1160
    network.set_links(Link())
    network.run(until_s=30)
    assert len(network.right.messages) == 30
    assert network.left.association.stats().error_count == 0


@pytest.mark.clause("RFC 9260 6.3.1 C5")
def test_packets_sent_twice_are_not_measured() -> None:
    network = established(hb_interval_s=0)
    network.set_links(Link(loss=1.0))
    network.left.association.send(1, 51, b"x", now=network.now)
    network.run(until_s=1.5)
    network.set_links(Link(delay_s=0.01))
    network.run(until_s=5)
    assert len(network.right.messages) == 1
    assert network.left.association.stats().smoothed_rtt_s == 0.0


@pytest.mark.clause("RFC 8985 6.2")
def test_reordered_packets_are_not_taken_for_lost() -> None:
    network = established(initial_window_packets=60)
    network.set_links(Link(delay_s=0.05, jitter_s=0.01))
    for _ in range(20):
        for _ in range(40):
            network.left.association.send(1, 51, bytes(SIZE), now=network.now)
        network.run(until_s=1)
    assert len(network.right.messages) == 800
    stats = network.left.association.stats()
    assert stats.timeouts == 0
    assert stats.retransmissions < 20


@pytest.mark.clause("RFC 8985 6.2 step 4")
def test_a_retransmission_that_was_not_needed_is_taken_back() -> None:
    network = established(initial_window_packets=20)
    late: list[bytes] = []

    def hold_first(sender: Peer, packet: bytes) -> bytes | None:
        if sender is network.left and packet[12] == ChunkType.I_DATA and not late:
            late.append(packet)
            return None
        return packet

    network.on_packet = hold_first
    for _ in range(8):
        network.left.association.send(1, 51, bytes(SIZE), now=network.now)
    before = network.left.association.stats().congestion_window
    network.run(until_s=0.021)
    assert network.left.association.stats().losses == 1
    assert network.left.association.stats().congestion_window < before
    network.inject(network.right, late[0])
    network.run(until_s=5)
    assert network.left.association.stats().congestion_window >= before
    assert network.right.association.stats().duplicates == 1


@pytest.mark.clause("RFC 9260 6.2.1")
def test_gap_acknowledgements_that_the_peer_takes_back_are_forgotten() -> None:
    network = established()
    association = network.left.association
    association.send(1, 51, bytes(SIZE), now=network.now)
    network.settle()
    network.set_links(Link(loss=1.0))
    for _ in range(2):
        association.send(1, 51, bytes(SIZE), now=network.now)
    network.settle()
    first = int.from_bytes(network.left.sent_packets[0][16:20], "big")
    network.now += 0.02
    gaps = Sack(cumulative_tsn=(first - 1) & MASK, a_rwnd=50_000, gaps=((2, 3),))
    network.forge(network.left, gaps)
    network.forge(network.left, Sack(cumulative_tsn=first, a_rwnd=50_000))
    assert association.stats().in_flight_bytes == 0
    network.set_links(Link())
    network.run(until_s=30)
    assert len(network.right.messages) == 3
    assert association.is_idle


def test_a_partly_acknowledged_packet_is_kept_until_all_of_it_arrived() -> None:
    network = established()
    network.set_links(Link(loss=1.0))
    for _ in range(20):
        network.left.association.send(1, 51, bytes(300), now=network.now)
    network.settle()
    first = int.from_bytes(network.left.sent_packets[0][16:20], "big")
    network.now += 0.02
    sender = network.left
    network.forge(sender, Sack(cumulative_tsn=first, a_rwnd=50_000))
    assert sender.association.stats().in_flight_bytes == 6000
    network.forge(sender, Sack(cumulative_tsn=first, a_rwnd=50_000, gaps=((3, 4),)))
    assert sender.association.stats().in_flight_bytes == 6000
    network.forge(sender, Sack(cumulative_tsn=first, a_rwnd=50_000, gaps=((3, 5),)))
    assert sender.association.stats().in_flight_bytes == 5100
    network.forge(sender, Sack(cumulative_tsn=(first + 2) & MASK, a_rwnd=50_000))
    assert sender.association.stats().in_flight_bytes == 4200
    network.forge(sender, Sack(cumulative_tsn=(first + 19) & MASK, a_rwnd=50_000))
    assert sender.association.stats().in_flight_bytes == 0
    assert sender.association.is_idle


# --- congestion control --------------------------------------------------------------------------
@pytest.mark.parametrize("name", sorted(CONTROLLERS))
@pytest.mark.clause("RFC 9260 7.2")
def test_every_controller_obeys_the_rules(name: str) -> None:
    controller = CONTROLLERS[name](1000, 10_000, 200_000)
    assert controller.window == 10_000
    controller.on_acknowledged(2000, now=1.0, rtt_s=0.1, is_limited=False)
    assert controller.window == 10_000, "an unused window must not grow"
    controller.on_acknowledged(2000, now=1.0, rtt_s=0.1, is_limited=True)
    assert controller.window == 12_000, "slow start adds what was acknowledged"
    for _ in range(200):
        controller.on_acknowledged(2000, now=1.0, rtt_s=0.1, is_limited=True)
    assert controller.window == 200_000, "there is an upper bound"
    controller.on_loss(now=2.0, backlog_bytes=100_000)
    after = controller.window
    assert after < 150_000
    assert controller.slow_start_threshold == after
    for step in range(20):
        controller.on_acknowledged(after, now=2.0 + step / 10, rtt_s=0.1, is_limited=True)
    assert after < controller.window < 200_000
    controller.on_timeout(now=9.0)
    assert controller.window == 1000
    controller.on_spurious()
    assert controller.window > after
    controller.on_idle()
    assert controller.window > 10_000
    for _ in range(10):
        controller.on_idle()
    assert controller.window == 10_000
    for _ in range(20):
        controller.on_loss(now=10.0, backlog_bytes=0)
    assert controller.window == 4000, "and a lower bound"


@pytest.mark.clause("RFC 9438 4.2")
def test_cubic_comes_back_to_its_old_window_and_goes_beyond() -> None:
    controller = Cubic(1000, 10_000, 10_000_000)
    controller.window = 1_000_000
    controller.on_loss(now=0.0, backlog_bytes=500_000)
    assert controller.window == 700_000
    windows = []
    for step in range(150):
        now = step / 10
        controller.on_acknowledged(controller.window, now=now, rtt_s=0.1, is_limited=True)
        windows.append(controller.window)
    period = (300 / 0.4) ** (1 / 3)
    at_period = windows[int(period * 10)]
    assert at_period == pytest.approx(1_000_000, rel=0.03)
    assert windows[-1] > 1_050_000
    assert windows == sorted(windows)


@pytest.mark.clause("RFC 9438 4.7")
def test_cubic_leaves_room_when_losses_follow_each_other() -> None:
    controller = Cubic(1000, 10_000, 10_000_000)
    controller.window = 100_000
    controller.on_loss(now=0.0, backlog_bytes=50_000)
    controller.on_loss(now=1.0, backlog_bytes=50_000)
    assert controller.window == 49_000
    assert controller.slow_start_threshold == 49_000


def test_cubic_answers_a_loss_without_a_queue_less_sharply() -> None:
    controller = Cubic(1000, 10_000, 10_000_000)
    controller.window = 100_000
    controller.on_loss(now=0.0, backlog_bytes=2000)
    assert controller.window == 85_000


def test_a_third_party_controller_is_used() -> None:
    class Fixed(NewReno):
        """A window that never changes."""

        def on_acknowledged(
            self, size_bytes: int, *, now: float, rtt_s: float, is_limited: bool
        ) -> None:
            """Stay."""

    def make(packet: int, first: int, most: int) -> CongestionController:
        return Fixed(packet, 3 * packet, most)

    network = established(SctpConfig(congestion=make))
    for _ in range(20):
        network.left.association.send(1, 51, bytes(1128), now=network.now)
    packets = network.left.association.poll_packets()
    assert len(packets) == 3
    network.right.association.receive(packets, now=network.now)
    network.run(until_s=5)
    assert len(network.right.messages) == 20
    assert network.left.association.stats().congestion_window == 3 * 1128


@pytest.mark.clause("RFC 9260 7.2.1")
def test_the_window_decays_while_nothing_is_sent() -> None:
    network = established(hb_interval_s=0)
    for _ in range(200):
        network.left.association.send(1, 51, bytes(SIZE), now=network.now)
    network.run(until_s=5)
    grown = network.left.association.stats().congestion_window
    network.advance(60)
    network.left.association.send(1, 51, b"x", now=network.now)
    network.settle()
    assert network.left.association.stats().congestion_window < grown / 4


@pytest.mark.clause("RFC 9260 6.1 D")
def test_one_call_sends_a_bounded_burst() -> None:
    network = established(initial_window_packets=100, max_burst_packets=8)
    for _ in range(100):
        network.left.association.send(1, 51, bytes(1128), now=network.now)
    assert len(network.left.association.poll_packets()) == 8


@pytest.mark.parametrize("congestion", CONTROLLERS)
def test_a_narrow_link_is_filled_without_collapse(congestion: str) -> None:
    network = Network(
        SctpConfig(congestion=congestion),
        link=Link(delay_s=0.01, bytes_per_s=1e6, queue_bytes=30_000),
        back=Link(delay_s=0.01),
    )
    network.connect()
    association = network.left.association
    start, received = network.now, 0
    while network.now < start + 6:
        while association.total_queued_bytes < 200_000:
            association.send(1, 53, bytes(10_000), now=network.now)
        network.run(until_s=0.05)
        received += len(network.right.messages)
        network.right.messages.clear()
    assert received * 10_000 / 6 > 0.85e6
    assert association.stats().timeouts == 0
