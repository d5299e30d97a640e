"""The Makefile says in one line what is missing on a machine, and nothing is half done."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

NO_PYTHON = None
TOO_OLD = '#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n'
NO_VENV = '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; *) exit 0;; esac\n'


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        pytest.param(NO_PYTHON, "there is no", id="no python3"),
        pytest.param(TOO_OLD, "is Python 3.9.2, too old", id="too old"),
        pytest.param(NO_VENV, "has no venv module", id="no venv"),
    ],
)
@pytest.mark.parametrize("target", ["demo", "test"])
def test_missing_python_is_one_line_and_status_2(
    tmp_path: Path, target: str, script: str | None, reason: str
) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    if script is not None:
        python.write_text(script)
        python.chmod(0o755)
    command = ["make", "-C", str(tmp_path), "--no-print-directory", target, f"PYTHON={python}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    lines = (done.stdout + done.stderr).splitlines()
    assert len(lines) == 1, lines
    assert "dcsdk needs Python 3.11 or newer with venv" in lines[0]
    assert reason in lines[0]
    assert not (tmp_path / ".venv").exists()


def test_every_target_is_described() -> None:
    done = subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    for target in ("demo", "test", "check", "interop", "bench", "bench-setup", "docs"):
        assert f"\n  {target} " in done.stdout
