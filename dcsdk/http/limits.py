"""The bounds of HTTP on a data channel.

The standard names none. The reasons for these: a bootstrap channel carries lists and mini-apps,
which fit in memory; an application channel carries whatever the application moves, streamed.
"""

from __future__ import annotations

from dataclasses import dataclass

from dcsdk.errors import ConfigError

MAX_PIECE_BYTES = 16 * 1024
"""Largest message a sender makes, whatever the peer accepts: a large one delays other channels."""

DEFAULT_PEER_MESSAGE_SIZE = 64 * 1024
"""What a peer without ``a=max-message-size`` accepts (RFC 8841 6.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one channel takes before it is reset.

    Attributes:
        header_bytes: request or status line with all headers, bytes.
        body_bytes: body of one message, bytes; ``None`` for any size.
        idle_s: time without a byte from or to the peer while an exchange waits for it, seconds.
        total_s: one exchange from its first to its last byte, seconds; ``None`` for no bound.
    """

    header_bytes: int = 32 * 1024
    body_bytes: int | None = 64 * 1024 * 1024
    idle_s: float = 30.0
    total_s: float | None = 120.0

    def __post_init__(self) -> None:
        if self.header_bytes < 64 or (self.body_bytes is not None and self.body_bytes < 0):
            raise ConfigError("HTTP limits: header_bytes >= 64 and body_bytes >= 0 are needed")
        if self.idle_s <= 0 or (self.total_s is not None and self.total_s <= 0):
            raise ConfigError("HTTP limits: idle_s and total_s must be more than 0 seconds")


BOOTSTRAP_LIMITS = HttpLimits()
"""For stream ids 0..999."""

APPLICATION_LIMITS = HttpLimits(body_bytes=None, total_s=None)
"""For stream ids from 1000: bodies of any size, which are never held whole."""


def piece_size(max_message_size: int) -> int:
    """Return how large a sender's messages may be.

    Args:
        max_message_size: bytes the peer accepts in one message, 0 for any size (RFC 8841 6.1).
    """
    return min(max_message_size, MAX_PIECE_BYTES) if max_message_size > 0 else MAX_PIECE_BYTES
