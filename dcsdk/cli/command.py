"""What a command needs of the library: its warnings, and an end in order by a signal."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import typer

logger = logging.getLogger(__name__)

MAX_REMEMBERED = 1000
"""Different notices that are kept from being said twice, and errors that are kept."""

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_T = TypeVar("_T")


class Notices(logging.Handler):
    """Says the library's warnings and errors on standard error: one line each, and once.

    Args:
        is_silent: only keeps the errors; for when everything is logged anyway.

    Attributes:
        is_silent: likewise.
        errors: those among them; what was asked for has not been done in full.
    """

    def __init__(self, *, is_silent: bool = False) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[str] = []
        self.is_silent = is_silent
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record."""
        text = record.getMessage()
        if record.exc_info is not None and record.exc_info[1] is not None:
            text = f"{text}: {record.exc_info[1]!r}"
        if text in self._said:
            return
        if len(self._said) >= MAX_REMEMBERED:
            self._said.clear()
        self._said.add(text)
        if record.levelno >= logging.ERROR and len(self.errors) < MAX_REMEMBERED:
            self.errors.append(text)
        if not self.is_silent:
            typer.echo(f"dcsdk: {text}", err=True)

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[Notices]:
        """Take what a logger and those below it say, while the context lasts."""
        source = logging.getLogger(name)
        source.addHandler(self)
        try:
            yield self
        finally:
            source.removeHandler(self)


class Interrupted(Exception):
    """A signal ended the command.

    Attributes:
        status: for the process to exit with.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"ended by {number.name}")
        self.status = 128 + number


def run(work: Coroutine[Any, Any, _T], notices: Notices) -> _T:
    """Run a coroutine in an event loop of its own.

    The first SIGINT or SIGTERM cancels it, so that it closes what it has opened. The second does
    not wait for that.

    Args:
        work: what to run.
        notices: silent from the first signal on: what breaks then was meant to.

    Raises:
        Interrupted: a signal ended it.
    """
    received: list[signal.Signals] = []
    try:
        with asyncio.Runner() as runner:
            runner.get_loop().set_exception_handler(_complain)
            return runner.run(_until_signal(work, received, notices))
    except (Exception, asyncio.CancelledError, KeyboardInterrupt) as exc:
        if received:
            raise Interrupted(received[0]) from exc
        raise


async def _until_signal(
    work: Coroutine[Any, Any, _T], received: list[signal.Signals], notices: Notices
) -> _T:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def interrupt(number: signal.Signals) -> None:
        received.append(number)
        notices.is_silent = True
        if len(received) == 1 and task is not None:
            task.cancel()
        else:
            loop.set_exception_handler(_say_nothing)  # of what is broken off
            raise KeyboardInterrupt

    with contextlib.ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(RuntimeError, ValueError):  # in a thread there are no signals
                loop.add_signal_handler(number, interrupt, number)
                stack.callback(loop.remove_signal_handler, number)
        return await work


def _complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A process out of open files is told so in a line, not in a traceback for each try."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES:
        logger.warning("%s: %s", context["message"], error.strerror)
    else:
        loop.default_exception_handler(context)


def _say_nothing(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Take no notice."""
