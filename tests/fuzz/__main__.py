"""Fuzz with atheris: ``python -m tests.fuzz [--runs N] [--target NAME]``.

Each target runs in a process of its own, since libFuzzer ends the process it ran in. New inputs go
to a temporary folder; a crash is left in the current folder as libFuzzer names it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
SHARES = {"packet": 0.35, "association": 0.1, "dcep": 0.3, "records": 0.25}
"""Of the runs: an association costs a hundred times what a decoder does."""

MAX_INPUT_BYTES = 2048
HANG_S = 20


def fuzz_here(name: str, runs: int, corpus: list[str]) -> None:
    """Run one target in this process; does not return."""
    import atheris

    with atheris.instrument_imports(include=["dcsdk.sctp", "dcsdk.tls.records", "tests.fuzz"]):
        from tests.fuzz.targets import TARGETS

    atheris.Setup(
        [
            sys.argv[0],
            f"-runs={runs}",
            f"-max_len={MAX_INPUT_BYTES}",
            f"-timeout={HANG_S}",
            "-print_final_stats=1",
            *corpus,
        ],
        TARGETS[name],
    )
    atheris.Fuzz()


def main() -> int:
    """Run all targets, or one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2_000_000, help="executions in all")
    parser.add_argument("--target", choices=sorted(SHARES))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments, corpus = parser.parse_known_args()
    if arguments.here:
        fuzz_here(arguments.target, arguments.runs, corpus)
    total = 0
    with tempfile.TemporaryDirectory(prefix="dcsdk-fuzz-") as folder:
        for name, share in SHARES.items():
            if arguments.target not in (None, name):
                continue
            runs = arguments.runs if arguments.target else round(arguments.runs * share)
            found = Path(folder) / name
            found.mkdir()
            started = time.monotonic()
            command = [sys.executable, "-m", "tests.fuzz", "--here", "--target", name]
            command += ["--runs", str(runs), str(found), str(CORPUS / name)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            seconds = time.monotonic() - started
            print(f"{name}: {runs} executions in {seconds:.0f} s, exit {done.returncode}")
            if done.returncode != 0:
                print(done.stderr[-4000:], file=sys.stderr)
                return 1
            total += runs
    print(f"{total} executions, no crash, no hang, no uncaught exception")
    return 0


if __name__ == "__main__":
    sys.exit(main())
