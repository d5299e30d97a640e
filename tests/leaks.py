"""Fails a test that leaves a task, timer, reader, file descriptor, thread or child process behind.

On for every test. Fixtures of a wider scope (a module's emulator process, say)
are set up before them and torn down after them, so what those keep open is not a leak.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pytest_asyncio import is_async_test

SETTLE_ROUNDS = 20
"""Turns of the event loop that a finished test may take for callbacks already scheduled."""

THREAD_ENDS_S = 0.5
"""Time for a thread that is ending: asyncio's, after a child process, outlives the loop."""

# Opened once per process by libraries, on first use, and kept on purpose.
_KEPT_FILES = ("/dev/null", "/dev/urandom", "/dev/random")


def open_descriptors() -> dict[int, str]:
    """Return every file descriptor of this process and what it leads to (empty off Linux)."""
    found: dict[int, str] = {}
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        return found
    for entry in os.listdir(folder):
        try:
            found[int(entry)] = os.readlink(folder / entry)
        except FileNotFoundError:  # the descriptor that listed the folder
            continue
    return found


def child_processes() -> set[int]:
    """Return the process ids of our children, zombies included (empty off Linux)."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        found.update(int(pid) for pid in path.read_text().split())
    return found


def loop_leaks(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Describe tasks, timers and readers that are still on the loop.

    The loop keeps its timers and readers to itself; there is no public way to see them.
    """
    leaks = [
        f"task {task.get_name()} ({task.get_coro()!r})"
        for task in asyncio.all_tasks(loop)
        if task is not asyncio.current_task(loop)
    ]
    leaks += [
        f"timer {timer!r}" for timer in getattr(loop, "_scheduled", ()) if not timer.cancelled()
    ]
    own_socket = getattr(loop, "_ssock", None)
    selector = getattr(loop, "_selector", None)
    if own_socket is not None and selector is not None:
        leaks += [
            f"reader or writer on descriptor {number} {key.data!r}"
            for number, key in selector.get_map().items()
            if number != own_socket.fileno()
        ]
    return leaks


@pytest.fixture(autouse=True)
def leaks() -> Iterator[list[str]]:
    """Compare descriptors, threads and child processes before and after; fail on any leak."""
    descriptors, threads, children = open_descriptors(), threading.enumerate(), child_processes()
    leaks: list[str] = []
    yield leaks
    leaks += [
        f"descriptor {number} -> {target}"
        for number, target in sorted(open_descriptors().items())
        if descriptors.get(number) != target and target not in _KEPT_FILES
    ]
    for thread in set(threading.enumerate()) - set(threads):
        thread.join(THREAD_ENDS_S)
        leaks += [f"thread {thread.name}"] if thread.is_alive() else []
    leaks += [f"child process {pid}" for pid in sorted(child_processes() - children)]
    if leaks:
        pytest.fail("the test left behind: " + ", ".join(leaks), pytrace=False)


@pytest.fixture(autouse=True)
def leaks_of_async_test(request: pytest.FixtureRequest, leaks: list[str]) -> None:
    """Look at the event loop too, where the test has one."""
    if is_async_test(request.node):
        request.getfixturevalue("leaks_on_loop")


@pytest.fixture
async def leaks_on_loop(leaks: list[str]) -> AsyncIterator[None]:
    """Look at the loop after every other fixture is torn down, before the loop is closed."""
    loop = asyncio.get_running_loop()
    yield
    for _ in range(SETTLE_ROUNDS):
        await asyncio.sleep(0)
    leaks += loop_leaks(loop)
