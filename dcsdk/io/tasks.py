"""Tasks that are waited for to the end: those of one owner, and those of one call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any

logger = logging.getLogger(__name__)


async def finish_all(work: Iterable[Awaitable[object]]) -> None:
    """Wait until everything has ended, also what goes on when something else has failed.

    Args:
        work: run side by side.

    Raises:
        BaseException: the first error in the order of ``work``; further ones are logged.
    """
    results = await asyncio.gather(*work, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in errors[1:]:
        logger.error("another error beside %r", errors[0], exc_info=error)
    if errors:
        raise errors[0]


class TaskSet:
    """Tasks that live as long as their owner does.

    An :class:`asyncio.TaskGroup` needs one block of code to live in; an object with ``aclose``
    has none. A task here that fails is logged with its traceback and ends alone.

    Args:
        name: of the owner, for the log and the tasks' names.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run ``work`` until it ends or the owner closes.

        Raises:
            RuntimeError: the set is closed already.
        """
        if self._closed:
            work.close()
            raise RuntimeError(f"{self._name} is closed")
        task = asyncio.get_running_loop().create_task(work, name=f"{self._name}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("task=%s failed", task.get_name(), exc_info=error)

    async def aclose(self) -> None:
        """Cancel every task and wait until each has ended. Idempotent.

        The calling task is left alone when it belongs to the set.
        """
        self._closed = True
        own = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not own]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
