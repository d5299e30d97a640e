"""A file goes from disk to disk: memory does not grow with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

PROGRAM = """
import resource, sys
from dcsdk.cli.main import app
try:
    app(sys.argv[1:])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""

MB = 1_000_000
ALLOWED_GROWTH_KB = 60 * 1024
"""Windows and queues fill with the first few megabytes; a file in memory would be twice this."""


def peak_of_demo(path: Path, size_bytes: int) -> int:
    """Run the demonstration with a file of this size; returns the most memory it had, in KiB."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
    # Measuring coverage there would take minutes, and memory of its own.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "demo", "--json", "--file", str(path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    path.unlink()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes_moved"] == size_bytes
    return int(done.stderr.split()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts in KiB on Linux only")
def test_a_file_of_100_mb_moves_in_the_memory_of_one_of_1_mb(tmp_path: Path) -> None:
    small = peak_of_demo(tmp_path / "small.bin", MB)
    large = peak_of_demo(tmp_path / "large.bin", 100 * MB)
    assert large - small < ALLOWED_GROWTH_KB, f"{small} KiB became {large} KiB"
