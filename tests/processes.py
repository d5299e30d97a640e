"""Runs commands of the project in other processes, bounded in time."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
READY_TIMEOUT_S = 30
END_TIMEOUT_S = 15


@contextmanager
def running(*arguments: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run ``python ARGUMENTS`` while the context lasts, then end it as Ctrl-C does.

    Raises:
        subprocess.TimeoutExpired: Ctrl-C did not end it in 15 s.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=END_TIMEOUT_S)
    finally:
        process.kill()
        process.communicate()


def read_line(process: subprocess.Popen[str]) -> str:
    """Return the next line a process prints.

    Raises:
        AssertionError: it ended, or printed nothing in 30 s.
    """
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], READY_TIMEOUT_S)
    assert ready, f"nothing was printed in {READY_TIMEOUT_S} s"
    line = process.stdout.readline()
    assert line, f"the process ended with status {process.wait(END_TIMEOUT_S)}"
    return line
