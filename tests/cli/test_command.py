"""What the commands say of the library's warnings, and how signals end them."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from dcsdk.cli import command
from dcsdk.cli.command import Interrupted, Notices, run

LOGGER = logging.getLogger("dcsdk.tests.command")


@pytest.fixture
def notices() -> Iterator[Notices]:
    """Notices of what ``LOGGER`` says."""
    with Notices().of("dcsdk") as made:
        yield made


def test_a_warning_is_one_line_and_said_once(
    notices: Notices, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        LOGGER.warning("keylog=%s is written", "x")
    LOGGER.info("nothing of note")
    assert capsys.readouterr().err == "dcsdk: keylog=x is written\n"
    assert notices.errors == []


def test_an_error_is_said_and_kept(notices: Notices, capsys: pytest.CaptureFixture[str]) -> None:
    LOGGER.error("capture=x stopped: No space left on device")
    try:
        raise ValueError("why")
    except ValueError:
        LOGGER.exception("it failed")
    kept = ["capture=x stopped: No space left on device", "it failed: ValueError('why')"]
    assert notices.errors == kept
    assert capsys.readouterr().err.splitlines() == [f"dcsdk: {text}" for text in kept]


def test_silent_notices_keep_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    with Notices(is_silent=True).of("dcsdk") as notices:
        LOGGER.error("it failed")
    LOGGER.error("nobody listens")
    assert notices.errors == ["it failed"]
    assert capsys.readouterr().err == ""


def test_what_is_remembered_is_bounded(
    notices: Notices, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "MAX_REMEMBERED", 2)
    for number in (1, 2, 3, 1, 1):
        LOGGER.error("%d", number)
    assert notices.errors == ["1", "2"]
    assert len(capsys.readouterr().err.splitlines()) == 4, "the first is forgotten and said again"


# --- signals -------------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_work_close_what_it_opened(number: signal.Signals) -> None:
    closed = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            LOGGER.warning("it breaks, as it was meant to")
            closed.append(True)

    before = signal.getsignal(number)
    notices = Notices()
    with pytest.raises(Interrupted) as caught, notices.of("dcsdk"):
        run(work(), notices)
    assert caught.value.status == 128 + number
    assert closed and notices.is_silent
    assert signal.getsignal(number) == before


def test_an_error_on_the_way_out_is_still_an_interruption() -> None:
    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError("broken by it") from None

    with pytest.raises(Interrupted):
        run(work(), Notices())


def test_the_second_signal_does_not_wait(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                await asyncio.Event().wait()  # closing that does not end
            finally:
                asyncio.get_running_loop().call_exception_handler({"message": "broken off"})

    with pytest.raises(Interrupted) as caught:
        run(work(), Notices())
    assert caught.value.status == 130
    assert "broken off" not in caplog.text


def test_without_a_signal_there_is_the_result_or_the_error() -> None:
    async def work(result: object) -> object:
        if isinstance(result, Exception):
            raise result
        return result

    assert run(work(1), Notices()) == 1
    with pytest.raises(OSError, match="no"):
        run(work(OSError("no")), Notices())


def test_it_runs_in_a_thread_without_signals() -> None:
    async def work() -> None:
        results.append(1)

    results: list[int] = []
    thread = threading.Thread(target=lambda: run(work(), Notices()))
    thread.start()
    thread.join()
    assert results == [1]


def test_a_process_out_of_files_is_told_so_once(
    notices: Notices, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(100):
            loop.call_exception_handler(
                {
                    "message": "socket.accept() out of system resource",
                    "exception": OSError(errno.EMFILE, "Too many open files"),
                }
            )
        loop.call_exception_handler({"message": "something else"})

    run(work(), notices)
    told = capsys.readouterr().err
    assert told == "dcsdk: socket.accept() out of system resource: Too many open files\n"
    assert "something else" in caplog.text
