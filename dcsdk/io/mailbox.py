"""A bounded queue that can be closed: iteration over it then ends."""

from __future__ import annotations

import asyncio
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Items for an ``async for`` loop.

    Args:
        limit: items that wait at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: list[T] = []  # an empty list costs less than a deque
        self._is_closed = False
        self._changed: asyncio.Event | None = None  # while somebody waits

    @property
    def is_full(self) -> bool:
        """As many items wait as may; or it is closed."""
        return self._is_closed or len(self._items) >= self._limit

    def put(self, item: T) -> bool:
        """Add an item; ``False`` when the box is full or closed."""
        if self.is_full:
            return False
        self._items.append(item)
        self._wake()
        return True

    def discard(self, item: T) -> None:
        """Take an item back that nobody took; no error when it is gone."""
        if item in self._items:
            self._items.remove(item)

    def close(self) -> None:
        """Take no more; iteration ends after what waits. Idempotent."""
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._is_closed:
                raise StopAsyncIteration
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()
        return self._items.pop(0)
