"""Call-IDs, tags and branches, made from the random bytes a caller passes in."""

from __future__ import annotations

from collections.abc import Callable

MAGIC_COOKIE = "z9hG4bK"
"""Starts every branch made by RFC 3261 rules (8.1.1.7)."""

Entropy = Callable[[int], bytes]
"""Gives that many random bytes, like ``os.urandom``."""

BRANCH_BYTES = 12
TAG_BYTES = 8
CALL_ID_BYTES = 16


def new_branch(entropy: Entropy) -> str:
    """Make a Via branch, unique in space and time (RFC 3261 8.1.1.7)."""
    return MAGIC_COOKIE + entropy(BRANCH_BYTES).hex()


def new_tag(entropy: Entropy) -> str:
    """Make a From or To tag of 64 random bits; RFC 3261 19.3 asks for 32."""
    return entropy(TAG_BYTES).hex()


def new_call_id(entropy: Entropy) -> str:
    """Make a Call-ID that names no host (RFC 3261 8.1.1.4)."""
    return entropy(CALL_ID_BYTES).hex()


def random_between(entropy: Entropy, low: float, high: float) -> float:
    """Return a number uniformly between ``low`` and ``high``."""
    return low + (high - low) * int.from_bytes(entropy(4), "big") / 0xFFFF_FFFF
