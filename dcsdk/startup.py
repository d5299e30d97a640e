"""Ctrl-C while the modules of the ``dcsdk`` command load.

That takes a second, before anything could catch it; so the package imports this module first. A
program that uses the package is left alone: only the process of the command itself is changed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

EXIT_INTERRUPTED = 128 + signal.SIGINT


def is_command(arguments: Sequence[str], of_interpreter: Sequence[str]) -> bool:
    """Tell whether a process runs the command, from ``sys.argv`` and ``sys.orig_argv``."""
    if not arguments:
        return False
    if arguments[0] == "-m":  # Python is still looking for the module that it was told to run
        return "dcsdk" in of_interpreter[of_interpreter.index("-m") + 1 :][:1]
    return Path(arguments[0]).name == "dcsdk"


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(EXIT_INTERRUPTED)  # nothing has been opened or written yet


def loaded() -> None:
    """Have Ctrl-C raise ``KeyboardInterrupt`` again."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if (
    is_command(sys.argv, sys.orig_argv)
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, _leave)
