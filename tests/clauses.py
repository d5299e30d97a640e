"""Prints which clause of which standard is shown by which tests.

``python -m tests.clauses`` prints the matrix as text, ``--json`` as ``{clause: [test ids]}`` and
``--markdown`` as a table for the documentation. Tests say what they show with
``@pytest.mark.clause("RFC 8864 5.2")``; they are collected here, not run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

Matrix = Mapping[str, list[str]]


class _Collector:
    """A pytest plug-in that notes the clause marks of every collected test."""

    def __init__(self) -> None:
        self.found: dict[str, set[str]] = defaultdict(set)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            parameters = getattr(item, "callspec", None)
            of_parameters = parameters.marks if parameters is not None else []
            for mark in item.iter_markers("clause"):
                # One id for all parameters of a test, unless one parameter carries the clause.
                test = item.nodeid if mark in of_parameters else item.nodeid.partition("[")[0]
                for clause in mark.args:
                    self.found[clause].add(test)


def natural_order(clause: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts ``RFC 3261 9.1`` before ``RFC 3261 17.1``."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in re.split(r"(\d+)", clause)
        if part
    ]


def collect(root: Path = ROOT) -> Matrix:
    """Collect every test, those against real peers too, and return clause -> test ids.

    Args:
        root: the folder whose pytest configuration applies.

    Raises:
        RuntimeError: a test file does not import; the message holds pytest's output.
    """
    collector = _Collector()
    output = io.StringIO()
    arguments = ["--collect-only", "-q", "-m", "", "-p", "no:cacheprovider", "-p", "no:xdist"]
    with contextlib.redirect_stdout(output), contextlib.chdir(root):
        status = pytest.main(arguments, plugins=[collector])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        text = output.getvalue()
        errors = text[max(0, text.find("== ERRORS ==")) :]
        raise RuntimeError(f"the tests could not be collected:\n{errors}")
    return {
        clause: sorted(tests, key=natural_order)
        for clause, tests in sorted(collector.found.items(), key=lambda row: natural_order(row[0]))
    }


def as_text(matrix: Matrix) -> str:
    """Return one block of lines per clause."""
    blocks = ["\n".join([clause, *(f"    {test}" for test in matrix[clause])]) for clause in matrix]
    tests = {test for row in matrix.values() for test in row}
    return "\n".join([*blocks, "", f"{len(matrix)} clauses shown by {len(tests)} tests"])


def as_markdown(matrix: Matrix) -> str:
    """Return a Markdown table."""
    lines = ["| Clause | Tests |", "| --- | --- |"]
    for clause, tests in matrix.items():
        cells = "<br>".join(f"`{test.replace('|', chr(92) + '|')}`" for test in tests)
        lines.append(f"| {clause} | {cells} |")
    return "\n".join(lines)


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.clauses", description=__doc__)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print {clause: [test ids]}")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project (default: this one)")
    options = parser.parse_args()
    try:
        matrix = collect(options.root)
    except RuntimeError as exc:
        print(exc, file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(matrix, indent=2))
    else:
        print(as_markdown(matrix) if options.markdown else as_text(matrix))
    return 0


if __name__ == "__main__":
    sys.exit(main())
