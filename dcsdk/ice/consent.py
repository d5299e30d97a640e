"""Consent to send: asked for again and again, and lost when the peer falls silent."""

from __future__ import annotations

from collections import deque

from dcsdk.ice.candidate import Entropy
from dcsdk.ice.config import IceConfig

MAX_OPEN = 8
"""Consent checks whose answers still count; older ones have expired anyhow."""

DOUBT_S = 1.0
"""A consent check not answered for so long lets the peer move to a pair of lower priority."""


class Consent:
    """The consent of one selected pair.

    Consent checks are not repeated; each is a new transaction (RFC 7675 5.1).

    Args:
        config: interval and expiry.
        entropy: spreads the checks of many sessions.
        now: when the peer last answered.
    """

    def __init__(self, config: IceConfig, entropy: Entropy, *, now: float) -> None:
        self._config = config
        self._entropy = entropy
        self._open: deque[bytes] = deque(maxlen=MAX_OPEN)
        self._unanswered_since: float | None = None
        self.expires_at = now + config.consent_expiry_s
        self._next_at = now + self._interval()

    def is_lost(self, now: float) -> bool:
        """Tell whether the peer was silent too long."""
        return now >= self.expires_at

    def is_doubtful(self, now: float) -> bool:
        """Tell whether a check has gone unanswered for longer than answers take."""
        return self._unanswered_since is not None and now >= self._unanswered_since + DOUBT_S

    def is_due(self, now: float) -> bool:
        """Tell whether a check is to be sent."""
        return now >= self._next_at

    def sent(self, transaction_id: bytes, *, now: float) -> None:
        """Note that a check was sent."""
        self._open.append(transaction_id)
        if self._unanswered_since is None:
            self._unanswered_since = now
        self._next_at = now + self._interval()

    def is_mine(self, transaction_id: bytes) -> bool:
        """Tell whether an answer belongs to a consent check."""
        return transaction_id in self._open

    def renew(self, *, now: float) -> None:
        """Note that a check was answered."""
        self._open.clear()
        self._unanswered_since = None
        self.expires_at = now + self._config.consent_expiry_s

    def next_timer(self) -> float:
        """Return when a check is due or consent is lost."""
        return min(self._next_at, self.expires_at)

    def _interval(self) -> float:
        """Return the mean interval times 0.8 to 1.2 (RFC 7675 5.1)."""
        share = int.from_bytes(self._entropy(2), "big") / 0xFFFF
        return self._config.consent_interval_s * (0.8 + 0.4 * share)
