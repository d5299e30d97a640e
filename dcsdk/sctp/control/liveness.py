"""Is the peer still there: the one place that knows since when nothing came, and what follows.

Two bounds, which do not add up:

- *Silence.* From the last sign of life on, while the peer owes us an answer, ``peer_timeout_s`` may
  pass. Whatever valid comes is a sign of life, data as well as answers. After ``peer_quiet_s`` of
  silence the peer is asked by a heartbeat, again and again, so that a path that comes back is
  noticed soon, however far T3-rtx has backed off meanwhile.
- *No progress.* Time-outs in a row are counted as RFC 9260 8.1 says, up to ``max_retrans``: a peer
  that is heard and yet acknowledges nothing is of no use either, as on a path that only small
  packets pass. So the answer to a heartbeat does not clear the count while data is outstanding.

Who receives data is owed more of it or silence on purpose, and asks which of both it is.
"""

from __future__ import annotations

from dcsdk.sctp.base.config import SctpConfig
from dcsdk.sctp.control.heartbeat import Heartbeat


class Liveness:
    """Judges the peer by what came from it and what did not.

    Args:
        config: ``peer_timeout_s``, ``peer_quiet_s`` and ``max_retrans``.
        heartbeat: what asks the peer.

    Attributes:
        heard_s: when the last sign of life came.
        error_count: time-outs in a row.
        timer_s: when :meth:`handle_timer` is to look again at the latest, ``None`` for never. While
            packets come it is not moved: to look early costs less than to move it each time.
    """

    __slots__ = (
        "_heartbeat",
        "_is_expecting",
        "_max_errors",
        "_patience_s",
        "_quiet_s",
        "_silent_since_s",
        "error_count",
        "heard_s",
        "timer_s",
    )

    def __init__(self, config: SctpConfig, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        self._patience_s = config.peer_timeout_s
        self._quiet_s = config.peer_quiet_s
        self._max_errors = config.max_retrans
        self._silent_since_s: float | None = None
        self._is_expecting = False  # data came, and nobody has asked since whether there is more
        self.heard_s = 0.0
        self.error_count = 0
        self.timer_s: float | None = None

    def begin(self, now: float) -> None:
        """The association is established; data is to be expected."""
        self.heard(now, True)
        self.error_count = 0

    def heard(self, now: float, has_data: bool) -> None:
        """Something valid came from the peer, with data among it or not."""
        self.heard_s = now
        if has_data:
            self._is_expecting = True
        if self._silent_since_s is not None:
            self._silent_since_s = self.timer_s = None
        if self.timer_s is None and self._is_expecting and self._patience_s:
            self.timer_s = now + self._quiet_s

    def answered(self, now: float, waiting_s: float | None) -> None:
        """The peer answered a heartbeat.

        Args:
            now: seconds.
            waiting_s: since when our data is not acknowledged, ``None`` when all of it is.
        """
        self.heard(now, False)
        if waiting_s is None:
            self.error_count = 0

    def ask(self, since_s: float, now: float) -> list[bytes]:
        """Return the chunk group of a question to the peer, none if one is on its way.

        Args:
            since_s: since when the peer owes us a sign of life.
            now: seconds.
        """
        self._is_expecting = False
        self._unanswered(since_s, now)
        self.timer_s = self._deadline_s()
        return self._heartbeat.request(now)

    def handle_timer(
        self, now: float, waiting_s: float | None, is_late: bool, is_repeated: bool
    ) -> list[bytes]:
        """Count what went missing and ask the peer when it is time.

        Args:
            now: seconds.
            waiting_s: since when our data is not acknowledged, ``None`` when all of it is.
            is_late: T3-rtx expired.
            is_repeated: another request was repeated for lack of an answer.

        Returns:
            Chunk groups that each need a packet of their own.
        """
        groups: list[bytes] = []
        heartbeat, timer_s = self._heartbeat, self._heartbeat.next_timer()
        if timer_s is not None and now >= timer_s:
            groups, is_missing = heartbeat.handle_timer(now, self.heard_s)
            is_repeated |= is_missing and not self._patience_s
            if heartbeat.is_unanswered:
                self._unanswered(now, now)
        if is_late or is_repeated:
            self._unanswered(now if waiting_s is None else waiting_s, now)
            # One silence is counted once: while T3-rtx runs, it speaks for the others.
            self.error_count += is_late or waiting_s is None
        question_s = self._question_s(waiting_s)
        if question_s is not None and now >= question_s:
            groups += self.ask(self.heard_s if waiting_s is None else waiting_s, now)
            question_s = None
        times = [time_s for time_s in (question_s, self._deadline_s()) if time_s is not None]
        self.timer_s = min(times, default=None)
        return groups

    def verdict(self, now: float, waiting_s: float | None) -> str | None:
        """Return why the peer is given up now, ``None`` while it is not.

        Args:
            now: seconds.
            waiting_s: since when our data is not acknowledged, ``None`` when all of it is.
        """
        deadline_s = self._deadline_s()
        if deadline_s is not None and now >= deadline_s:
            return f"nothing came for {now - self.heard_s:.1f} s"
        if self.error_count <= self._max_errors:
            return None
        if waiting_s is not None and now - waiting_s < self._patience_s:
            return None  # answered heartbeats kept the time-outs short
        return f"{self.error_count} time-outs in a row"

    def _unanswered(self, since_s: float, now: float) -> None:
        """The peer owes us an answer since ``since_s``.

        A time-out that is seen late, because this process stood still, leaves the peer half of
        ``peer_timeout_s`` all the same.
        """
        if self._silent_since_s is None:
            self._silent_since_s = max(self.heard_s, since_s, now - self._patience_s / 2)

    def _question_s(self, waiting_s: float | None) -> float | None:
        """Return when the peer is to be asked, ``None`` for never or when it has been."""
        if not self._patience_s or self._heartbeat.is_unanswered:
            return None
        if waiting_s is not None:
            return max(waiting_s, self.heard_s) + self._quiet_s
        return self.heard_s + self._quiet_s if self._is_expecting else None

    def _deadline_s(self) -> float | None:
        """Return when the silence has lasted too long, ``None`` while there is none."""
        since_s = self._silent_since_s
        return None if since_s is None or not self._patience_s else since_s + self._patience_s
