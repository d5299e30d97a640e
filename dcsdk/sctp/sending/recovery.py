"""When to retransmit: the round-trip estimate, the time-out, and RACK's judgement of loss."""

from __future__ import annotations

from enum import Enum, auto

CLOCK_GRANULARITY_S = 0.001
RTO_ALPHA = 1 / 8
RTO_BETA = 1 / 4
DUPLICATE_THRESHOLD = 3
"""Misses after which a hole is a loss at once, while no reordering was seen (RFC 9260 7.2.4)."""
MAX_REORDERING_STEPS = 16
MIN_PROBE_TIMEOUT_S = 0.01


class RoundTrip:
    """Smoothed round trip and retransmission time-out (RFC 9260 6.3.1).

    Args:
        initial_s: time-out before the first sample.
        minimum_s: lower bound.
        maximum_s: upper bound.

    Attributes:
        smoothed_s: SRTT, 0 before the first sample.
        variation_s: RTTVAR.
        minimum_s: least sample ever, 0 before the first.
        latest_s: last sample.
        timeout_s: RTO, doubled by every expiry until a new sample comes.
    """

    __slots__ = ("_high", "_low", "latest_s", "minimum_s", "smoothed_s", "timeout_s", "variation_s")

    def __init__(self, initial_s: float, minimum_s: float, maximum_s: float) -> None:
        self._low = minimum_s
        self._high = maximum_s
        self.smoothed_s = 0.0
        self.variation_s = 0.0
        self.minimum_s = 0.0
        self.latest_s = 0.0
        self.timeout_s = initial_s

    def sample(self, rtt_s: float) -> None:
        """Take one measurement of a packet sent only once (Karn's rule, RFC 9260 6.3.1 C5)."""
        if rtt_s < 0:
            return
        self.latest_s = rtt_s
        smoothed, variation = self.smoothed_s, self.variation_s
        if smoothed == 0.0:
            smoothed = rtt_s or CLOCK_GRANULARITY_S / 1000
            variation = rtt_s / 2
            self.minimum_s = rtt_s
        else:
            variation += RTO_BETA * (abs(smoothed - rtt_s) - variation)
            smoothed += RTO_ALPHA * (rtt_s - smoothed)
            if rtt_s < self.minimum_s:
                self.minimum_s = rtt_s
        self.smoothed_s, self.variation_s = smoothed, variation
        timeout = smoothed + max(4 * variation, CLOCK_GRANULARITY_S)
        self.timeout_s = self._low if timeout < self._low else min(timeout, self._high)

    def back_off(self) -> None:
        """Double the time-out after an expiry (RFC 9260 6.3.3 E2)."""
        self.timeout_s = min(self.timeout_s * 2, self._high)

    def probe_timeout_s(self, ack_delay_s: float) -> float:
        """Return how long to wait for an acknowledgement before a tail-loss probe.

        Args:
            ack_delay_s: what the peer may delay when a single packet is in flight, else 0.

        Source: RFC 8985 7.2.
        """
        if self.smoothed_s == 0.0:
            return self.timeout_s
        wait = 2 * self.smoothed_s + ack_delay_s + CLOCK_GRANULARITY_S
        if wait < MIN_PROBE_TIMEOUT_S:
            wait = MIN_PROBE_TIMEOUT_S
        return wait if wait < self.timeout_s else self.timeout_s


class TimerKind(Enum):
    """What the sender's timer waits for."""

    PROBE = auto()
    """A tail-loss probe (RFC 8985 7)."""
    TIMEOUT = auto()
    """T3-rtx (RFC 9260 6.3.2)."""


class LossEpisode:
    """One recovery: from the first loss until all that was sent by then is acknowledged.

    The window is reduced once in it (RFC 9260 7.2.4), and given back when every loss turns out to
    have been none.

    Attributes:
        is_active: there is one.
        is_after_timeout: it began with T3-rtx, so the window grows meanwhile.
    """

    __slots__ = ("_end", "_losses", "_spurious", "is_active", "is_after_timeout")

    def __init__(self) -> None:
        self.is_active = False
        self.is_after_timeout = False
        self._end = 0
        self._losses = 0
        self._spurious = 0

    @property
    def is_timed_out(self) -> bool:
        """T3-rtx began it and it goes on: the path may be dead."""
        return self.is_active and self.is_after_timeout

    def begin(self, highest_tsn: int, *, is_after_timeout: bool) -> None:
        """Packets were lost while TSNs up to ``highest_tsn`` were sent."""
        self.is_active = True
        self.is_after_timeout = is_after_timeout
        self._end = highest_tsn
        self._losses = self._spurious = 0

    def lost(self, count: int) -> None:
        """So many packets were judged lost."""
        self._losses += count

    def arrived_after_all(self, count: int) -> bool:
        """So many had not been lost; tell whether that ends the episode as a mistake."""
        self._spurious += count
        if self.is_active and self._spurious >= self._losses > 0:
            self.is_active = False
            return True
        return False

    def acknowledged(self, cumulative: int) -> None:
        """The peer has everything up to ``cumulative``."""
        if cumulative >= self._end:
            self.is_active = False


class Rack:
    """Time-based loss detection: a packet is lost when one sent later has arrived (RFC 8985).

    Attributes:
        newest_sent_s: when the most recently sent packet that arrived was sent.
        newest_tsn: its TSN, which breaks ties between packets of one batch.
        rtt_s: its round trip.
        is_reordering_seen: packets overtake each other on this path.
    """

    __slots__ = ("_steps", "is_reordering_seen", "newest_sent_s", "newest_tsn", "rtt_s")

    def __init__(self) -> None:
        self.newest_sent_s = -1.0
        self.newest_tsn = -1
        self.rtt_s = 0.0
        self.is_reordering_seen = False
        self._steps = 1

    def arrived(self, sent_s: float, tsn: int, now: float) -> None:
        """A packet sent at ``sent_s`` was acknowledged now."""
        newest = self.newest_sent_s
        if sent_s > newest or (sent_s == newest and tsn > self.newest_tsn):
            self.newest_sent_s, self.newest_tsn = sent_s, tsn
            self.rtt_s = now - sent_s

    def spurious_retransmission(self) -> None:
        """The peer reported a duplicate: wait longer (RFC 8985 6.2 step 4)."""
        self._steps = min(self._steps + 1, MAX_REORDERING_STEPS)

    def reordering_window_s(self, round_trip: RoundTrip, *, is_certain: bool) -> float:
        """Return how long an overtaken packet may still be under way.

        Args:
            round_trip: the estimate.
            is_certain: enough later packets arrived, or recovery is under way already.
        """
        if not self.is_reordering_seen and is_certain:
            return 0.0
        return min(round_trip.minimum_s / 4 * self._steps, round_trip.smoothed_s)
