"""What can be set about ICE, and the bounds of what a peer can cause."""

from __future__ import annotations

from dataclasses import dataclass

from dcsdk.errors import ConfigError

MIN_PACE_S = 0.005
"""Ta is never below 5 ms (RFC 8445 14.2)."""

MAX_EARLY_CHECKS = 16
"""Checks of the peer that are remembered until its description arrives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IceConfig:
    """The settings of one ICE agent.

    Attributes:
        is_lite: only answer checks; for an agent whose address everyone can reach (RFC 8445 2.5).
        pace_s: Ta, the time between new checks, at least 0.005. The first check, triggered checks
            and the nomination go at once. A larger ``a=ice-pacing`` of the peer is followed.
        rto_s: time before a check is first repeated; it grows with the number of open checks.
        max_transmissions: how often one check is sent (Rc of RFC 8489 6.2.1), the time between
            them doubling; and how often a peer may refuse our role before its pair fails.
        last_wait: how many ``rto_s`` the last transmission waits for its answer (Rm).
        nomination_wait_s: how long a pair that works waits for a better one still being checked.
        patience_s: ICE does not fail before this time, for the peer's candidates may come late
            (RFC 8863 4).
        consent_interval_s: mean time between consent checks (RFC 7675 5.1).
        consent_expiry_s: sending stops when the peer was silent for this long (RFC 7675 5.1).
        max_remote_candidates: more of the peer's candidates than this are ignored.
        max_pairs: at most so many candidate pairs are checked (RFC 8445 6.1.2.5).
        allow_loopback: check loopback addresses of a peer from every address of ours; else only
            from loopback addresses.

    Raises:
        ConfigError: a value is out of its range.
    """

    is_lite: bool = False
    pace_s: float = MIN_PACE_S
    rto_s: float = 0.5
    max_transmissions: int = 7
    last_wait: int = 16
    nomination_wait_s: float = 0.05
    patience_s: float = 39.5
    consent_interval_s: float = 5.0
    consent_expiry_s: float = 30.0
    max_remote_candidates: int = 64
    max_pairs: int = 100
    allow_loopback: bool = False

    def __post_init__(self) -> None:
        if self.pace_s < MIN_PACE_S:
            raise ConfigError(f"pace_s is below {MIN_PACE_S}", source="RFC 8445 14.2")
        if min(self.max_transmissions, self.max_remote_candidates, self.max_pairs) < 1:
            raise ConfigError("an ICE agent needs at least one check, candidate and pair")
        if min(self.rto_s, self.consent_interval_s) <= 0:
            raise ConfigError("rto_s and consent_interval_s are above 0")
        if self.consent_expiry_s <= self.consent_interval_s:
            raise ConfigError("consent expires before it is asked for", source="RFC 7675 5.1")
