"""The leak check sees what a test leaves behind, and leaves tidy tests alone."""

from __future__ import annotations

import textwrap

import pytest

LEAKY = """
    async def test_task():
        KEPT.append(asyncio.ensure_future(asyncio.Event().wait()))

    async def test_timer():
        asyncio.get_running_loop().call_later(60, print)

    async def test_reader():
        KEPT.extend(socket.socketpair())
        asyncio.get_running_loop().add_reader(KEPT[-1], print)

    def test_socket():
        KEPT.append(socket.socket())

    def test_thread():
        wait = threading.Event().wait
        threading.Thread(target=wait, args=(5,), name="leaky", daemon=True).start()

    def test_child_process():
        KEPT.append(subprocess.Popen(["sleep", "5"]))
"""
SEEN = [
    "the test left behind: task *",
    "the test left behind: timer *",
    "the test left behind: reader or writer on descriptor *, descriptor *socket:*",
    "the test left behind: descriptor *socket:*",
    "the test left behind: thread leaky",
    "the test left behind: child process *",
]

TIDY = """
    async def test_task_that_ends():
        await asyncio.ensure_future(asyncio.sleep(0))

    async def test_cancelled_timer():
        asyncio.get_running_loop().call_later(60, print).cancel()

    async def test_socket_that_is_closed():
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    async def test_executor_thread_goes_with_the_loop():
        await asyncio.to_thread(print)

    @pytest.fixture
    async def worker():
        task = asyncio.ensure_future(asyncio.Event().wait())
        yield task
        task.cancel()

    async def test_task_of_a_fixture(worker):
        assert not worker.done()
"""

PRELUDE = """
    import asyncio, socket, subprocess, threading
    import pytest
    from tests.leaks import *
    KEPT = []
"""


def run_inner(pytester: pytest.Pytester, source: str) -> pytest.RunResult:
    """Run a test file in a process of its own, under the leak check only."""
    pytester.makepyfile(textwrap.dedent(PRELUDE) + textwrap.dedent(source))
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:xdist")


def test_what_is_left_behind_fails_the_test(pytester: pytest.Pytester) -> None:
    result = run_inner(pytester, LEAKY)
    result.assert_outcomes(passed=6, errors=6)
    result.stdout.fnmatch_lines(SEEN)


def test_tidy_tests_pass(pytester: pytest.Pytester) -> None:
    run_inner(pytester, TIDY).assert_outcomes(passed=5)
