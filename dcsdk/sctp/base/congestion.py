"""Congestion control: how many bytes may be in flight. One small class, chosen by configuration.

A third party brings a controller by passing its own factory as ``SctpConfig.congestion``. The
sender asks for ``window`` and reports four things: bytes acknowledged, a loss (once per window of
data), a retransmission time-out, and a loss that turned out not to be one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

MIN_WINDOW_PACKETS = 4
"""The window never falls below this many packets except after a time-out (RFC 9260 7.2.3)."""


class CongestionController(ABC):
    """The sender's view of a congestion controller.

    Attributes:
        window: bytes that may be in flight.
        slow_start_threshold: bytes; below it the window grows by what was acknowledged.
    """

    window: int
    slow_start_threshold: int

    @abstractmethod
    def on_acknowledged(
        self, size_bytes: int, *, now: float, rtt_s: float, is_limited: bool
    ) -> None:
        """New data was acknowledged outside of loss recovery.

        Args:
            size_bytes: how much.
            now: seconds.
            rtt_s: smoothed round trip, seconds.
            is_limited: the window was what kept the sender from sending more (RFC 9260 7.2.1).
        """

    @abstractmethod
    def on_loss(self, *, now: float, backlog_bytes: int) -> None:
        """Packets were lost; called once per window of data (RFC 9260 7.2.4).

        Args:
            now: seconds.
            backlog_bytes: how much of the window waits in a queue of the network, judged by how
                far the round trip is above its minimum. Next to nothing means that the loss was
                hardly one of congestion.
        """

    @abstractmethod
    def on_timeout(self, *, now: float) -> None:
        """The retransmission timer expired (RFC 9260 7.2.3)."""

    @abstractmethod
    def on_idle(self) -> None:
        """Nothing was sent for one retransmission time-out (RFC 9260 7.2.1)."""

    @abstractmethod
    def on_spurious(self) -> None:
        """The last loss or time-out was none: packets came late. Take the reduction back."""


CongestionFactory = Callable[[int, int, int], CongestionController]
"""Makes a controller from packet size, initial window and largest window, all in bytes."""


class NewReno(CongestionController):
    """The controller of RFC 9260 7.2: one packet more per round trip, half after a loss."""

    __slots__ = (
        "_acknowledged",
        "_before",
        "_initial_window",
        "_max_window",
        "_packet_size",
        "slow_start_threshold",
        "window",
    )

    def __init__(self, packet_size: int, initial_window: int, max_window: int) -> None:
        self.window = initial_window
        self.slow_start_threshold = max_window
        self._packet_size = packet_size
        self._max_window = max_window
        self._acknowledged = 0
        self._initial_window = initial_window
        self._before = (initial_window, max_window)

    def on_acknowledged(
        self, size_bytes: int, *, now: float, rtt_s: float, is_limited: bool
    ) -> None:
        """See the base class."""
        if not is_limited:
            return
        if self.window < self.slow_start_threshold:
            self.window += size_bytes
        else:
            self._acknowledged += size_bytes
            if self._acknowledged >= self.window:
                self._acknowledged -= self.window
                self.window += self._packet_size
        if self.window > self._max_window:
            self.window = self._max_window

    def on_loss(self, *, now: float, backlog_bytes: int) -> None:
        """See the base class."""
        self._before = (self.window, self.slow_start_threshold)
        self.window = max(self.window // 2, MIN_WINDOW_PACKETS * self._packet_size)
        self.slow_start_threshold = self.window
        self._acknowledged = 0

    def on_timeout(self, *, now: float) -> None:
        """See the base class."""
        self._before = (self.window, self.slow_start_threshold)
        self.slow_start_threshold = max(self.window // 2, MIN_WINDOW_PACKETS * self._packet_size)
        self.window = self._packet_size
        self._acknowledged = 0

    def on_idle(self) -> None:
        """See the base class."""
        self.window = max(self.window // 2, min(self.window, self._initial_window))

    def on_spurious(self) -> None:
        """See the base class."""
        window, threshold = self._before
        self.window = max(self.window, window)
        self.slow_start_threshold = max(self.slow_start_threshold, threshold)


class Cubic(CongestionController):
    """CUBIC (RFC 9438): growth by time since the last loss, so long paths fill again quickly.

    A loss while no queue has built up, typical of radio links, is answered less sharply, as TCP
    Veno does (Fu and Liew, 2003): it says little about congestion.
    """

    SCALE = 0.4
    """C of RFC 9438 5, packets per second cubed."""
    DECREASE = 0.7
    """beta of RFC 9438 4.6."""
    RANDOM_DECREASE = 0.85
    """What takes its place after a loss without a queue (RFC 8511 uses it for early signals)."""
    RANDOM_BACKLOG_PACKETS = 3
    """Fewer packets in the queue than this count as no queue."""

    __slots__ = (
        "_before",
        "_credit",
        "_epoch_s",
        "_initial_window",
        "_is_random",
        "_max_window",
        "_packet_size",
        "_peak",
        "_period_s",
        "_reno",
        "slow_start_threshold",
        "window",
    )

    def __init__(self, packet_size: int, initial_window: int, max_window: int) -> None:
        self.window = initial_window
        self.slow_start_threshold = max_window
        self._packet_size = packet_size
        self._max_window = max_window
        self._peak = 0.0  # W_max, packets
        self._epoch_s: float | None = None
        self._period_s = 0.0  # K
        self._reno = 0.0  # W_est, packets
        self._credit = 0.0  # growth below one byte
        self._initial_window = initial_window
        self._is_random = False
        self._before: tuple[int, int, float] = (initial_window, max_window, 0.0)

    def on_acknowledged(
        self, size_bytes: int, *, now: float, rtt_s: float, is_limited: bool
    ) -> None:
        """See the base class."""
        if not is_limited:
            return
        if self.window < self.slow_start_threshold:
            self.window = min(self.window + size_bytes, self._max_window)
            return
        size = self._packet_size
        current = self.window / size
        if self._epoch_s is None:
            self._epoch_s = now
            self._reno = current
            self._peak = max(self._peak, current)
            self._period_s = ((self._peak - current) / self.SCALE) ** (1 / 3)
        elapsed = now + rtt_s - self._epoch_s - self._period_s
        target = self.SCALE * elapsed**3 + self._peak
        target = min(max(target, current), 1.5 * current)  # RFC 9438 4.2
        acknowledged = size_bytes / size
        # The Reno-friendly region (RFC 9438 4.3), with its alpha of 3(1-beta)/(1+beta).
        alpha = 3 * (1 - self.DECREASE) / (1 + self.DECREASE)
        if self._is_random or self._reno >= self._peak:
            alpha = 1.0
        self._reno += alpha * acknowledged / current
        grown = max(current + (target - current) * acknowledged / current, self._reno)
        self._credit += (grown - current) * size
        whole = int(self._credit)
        self._credit -= whole
        self.window = min(self.window + whole, self._max_window)

    def on_loss(self, *, now: float, backlog_bytes: int) -> None:
        """See the base class."""
        self._is_random = backlog_bytes < self.RANDOM_BACKLOG_PACKETS * self._packet_size
        self._reduce(self.RANDOM_DECREASE if self._is_random else self.DECREASE)
        self.window = self.slow_start_threshold

    def on_timeout(self, *, now: float) -> None:
        """See the base class."""
        self._is_random = False
        self._reduce(self.DECREASE)
        self.window = self._packet_size

    def on_idle(self) -> None:
        """See the base class."""
        self.window = max(self.window // 2, min(self.window, self._initial_window))
        self._epoch_s = None

    def on_spurious(self) -> None:
        """See the base class."""
        window, threshold, peak = self._before
        self.window = max(self.window, window)
        self.slow_start_threshold = max(self.slow_start_threshold, threshold)
        self._peak = peak
        self._epoch_s = None

    def _reduce(self, factor: float) -> None:
        self._before = (self.window, self.slow_start_threshold, self._peak)
        current = self.window / self._packet_size
        # Fast convergence (RFC 9438 4.7): leave room when the share shrinks.
        self._peak = current * (1 + self.DECREASE) / 2 if current < self._peak else current
        self._epoch_s = None
        self._credit = 0.0
        least = MIN_WINDOW_PACKETS * self._packet_size
        self.slow_start_threshold = max(int(self.window * factor), least)


CONTROLLERS: dict[str, CongestionFactory] = {"newreno": NewReno, "cubic": Cubic}
"""The controllers that configuration files can name."""
