"""SIP timer values, and a set of named timers on a caller's clock.

Source: RFC 3261 17 and Table 4, RFC 6026 8.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SipTimers:
    """The base values from which every SIP timer follows.

    Attributes:
        t1_s: round-trip estimate, seconds, > 0.
        t2_s: longest interval between retransmissions of non-INVITE requests and INVITE responses.
        t4_s: longest time a message stays in the network.
        timer_c_s: longest wait between provisional responses to an INVITE; then it is cancelled.
        trying_s: a server sends 100 itself when no response was given for this long.
        max_answer_s: longest time a server INVITE transaction waits for its user's final response.
        glare_scale: factor on the waits after 491 (RFC 3261 14.1), 1 but in tests.

    Source: RFC 3261 Table 4; TS 24.229 7.7 gives the values for a UE over a cellular access.
    """

    t1_s: float = 0.5
    t2_s: float = 4.0
    t4_s: float = 5.0
    timer_c_s: float = 181.0
    trying_s: float = 0.2
    max_answer_s: float = 600.0
    glare_scale: float = 1.0

    @property
    def transaction_s(self) -> float:
        """64*T1: timers B, D, F, H, J, L and M.

        RFC 3261 wants D to be at least 32 s, which is 64*T1 at the default T1; TS 24.229 7.7 has
        128 s, which is 64*T1 at its T1.
        """
        return 64 * self.t1_s


RFC3261_TIMERS = SipTimers()
IMS_TIMERS = SipTimers(t1_s=2.0, t2_s=16.0, t4_s=17.0)
"""TS 24.229 7.7, between UE and P-CSCF."""

PROFILES = {"rfc3261": RFC3261_TIMERS, "ims": IMS_TIMERS}
"""Timer values by the name that the configuration uses."""


class TimerSet:
    """Named timers of one machine. Nothing here runs: the owner asks what is due."""

    __slots__ = ("_deadlines",)

    def __init__(self) -> None:
        self._deadlines: dict[str, float] = {}

    def start(self, name: str, deadline: float) -> None:
        """Start a timer, or start it anew."""
        self._deadlines[name] = deadline

    def stop(self, *names: str) -> None:
        """Stop timers; those that do not run are no error."""
        for name in names:
            self._deadlines.pop(name, None)

    def clear(self) -> None:
        """Stop all timers."""
        self._deadlines.clear()

    def next(self) -> float | None:
        """When the next timer fires, or ``None``."""
        return min(self._deadlines.values(), default=None)

    def pop_due(self, now: float) -> str | None:
        """Take the timer that is due longest, or ``None``."""
        name = min(self._deadlines, key=self._deadlines.__getitem__, default=None)
        if name is None or self._deadlines[name] > now:
            return None
        del self._deadlines[name]
        return name
