"""One bound of time that several steps share."""

from __future__ import annotations

import asyncio


class Deadline:
    """A moment that all steps of one thing have to meet together.

    Args:
        timeout_s: from now, seconds, >= 0.
    """

    def __init__(self, timeout_s: float) -> None:
        self._now = asyncio.get_running_loop().time
        self._at_s = self._now() + timeout_s

    @property
    def left_s(self) -> float:
        """Seconds until then, 0 when it has passed."""
        return max(0.0, self._at_s - self._now())
