"""Ctrl-C while the command's modules load."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dcsdk.startup import is_command
from tests.processes import END_TIMEOUT_S, ROOT


@pytest.mark.parametrize(
    ("arguments", "of_interpreter", "is_it"),
    [
        (["-m"], ["python", "-X", "dev", "-m", "dcsdk", "demo"], True),
        (["-m"], ["python", "-m", "dcsdk.other"], False),
        (["-m"], ["python", "-m", "pytest", "dcsdk"], False),
        (["/venv/bin/dcsdk", "demo"], ["python", "/venv/bin/dcsdk", "demo"], True),
        (["program.py", "dcsdk"], ["python", "program.py", "dcsdk"], False),
        ([""], ["python"], False),
        ([], [], False),
    ],
)
def test_the_command_is_told_from_programs_that_use_the_package(
    arguments: list[str], of_interpreter: list[str], is_it: bool
) -> None:
    assert is_command(arguments, of_interpreter) is is_it


INTERRUPTED_WHILE_LOADING = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "dcsdk.client":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
"""


def interrupted(program: str, name: str) -> subprocess.CompletedProcess[str]:
    """Run a program that gets SIGINT while the package loads."""
    code = f"{INTERRUPTED_WHILE_LOADING}\nsys.argv = [{name!r}]\n{program}"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=END_TIMEOUT_S,
        check=False,
    )


def test_ctrl_c_while_the_command_loads_ends_it_without_a_traceback() -> None:
    ended = interrupted("from dcsdk.cli import main; main()", "bin/dcsdk")
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_ctrl_c_while_a_program_loads_the_package_is_its_own_affair() -> None:
    program = "try:\n    import dcsdk\nexcept KeyboardInterrupt:\n    print('mine')"
    assert interrupted(program, "program.py").stdout == "mine\n"


def test_ctrl_c_is_an_exception_again_once_the_command_runs() -> None:
    program = (
        "import signal, sys\nsys.argv = ['bin/dcsdk']\nimport dcsdk.startup\n"
        "assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler\n"
        "dcsdk.startup.loaded()\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=END_TIMEOUT_S, check=True)


def test_a_signal_that_the_caller_ignores_stays_ignored() -> None:
    program = (
        "import signal, sys\nsys.argv = ['bin/dcsdk']\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\nimport dcsdk.startup\n"
        "assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=END_TIMEOUT_S, check=True)
