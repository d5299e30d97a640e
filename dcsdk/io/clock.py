"""The event loop's clock, and the one timer an association needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_EARLY_S = 0.0005
"""The loop may run a timer a little before it is due; such a moment counts as due."""


class LazyTimer:
    """A timer whose deadline moves often and fires seldom.

    Moving the deadline later, which every packet does, costs an assignment: the loop's timer stays
    where it is, compares when it fires, and goes on to the new deadline.

    Args:
        loop: the running loop.
        callback: called with the time when the deadline is reached.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[float], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._deadline: float | None = None
        self._armed_for = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def set(self, deadline: float | None) -> None:
        """Move the deadline.

        Args:
            deadline: in the loop's time, or ``None`` for none.
        """
        self._deadline = deadline
        if deadline is None or (self._handle is not None and self._armed_for <= deadline):
            return
        self._arm(deadline)

    def cancel(self) -> None:
        """Forget the deadline and leave nothing in the loop."""
        self._deadline = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, deadline: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed_for = deadline
        self._handle = self._loop.call_at(deadline, self._fire)

    def _fire(self) -> None:
        self._handle = None
        deadline = self._deadline
        if deadline is None:
            return
        now = self._loop.time()
        if deadline > now + _EARLY_S:
            self._arm(deadline)
            return
        self._deadline = None
        self._callback(max(now, deadline))
