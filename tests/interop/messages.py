"""Messages whose content is told by hash, on both sides of a link."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

LARGEST = 1 << 20
EDGES = [1, 2, 1_000, 1_171, 1_172, 1_173, 16_384, 65_535, 65_536, 262_144, 999_999, LARGEST]
"""Sizes in bytes: the smallest, around one packet, what stacks announce, and large ones."""

TEXTS = ["a", "gr\u00fc\u00dfe \u2603 \U0001f600", "", "x" * 5_000, "end"]


class Digest(NamedTuple):
    """What one message was: its kind (``text`` or ``binary``), its bytes and their SHA-256."""

    kind: str
    size: int
    sha256: str


def digest(message: str | bytes) -> Digest:
    """Return the digest of one message."""
    kind, data = ("text", message.encode()) if isinstance(message, str) else ("binary", message)
    return Digest(kind, len(data), hashlib.sha256(data).hexdigest())


def digests(messages: Iterable[str | bytes]) -> list[Digest]:
    """Return the digests of messages, in their order."""
    return [digest(message) for message in messages]


def sample(size: int) -> bytes:
    """Return ``size`` bytes that differ from size to size and repeat nowhere."""
    return hashlib.shake_128(b"%d" % size).digest(size)


def sizes_up_to(limit: int) -> list[int]:
    """Return the sizes a peer takes; its limit is always among them."""
    return sorted({size for size in EDGES if size < limit} | {min(limit, LARGEST)})
