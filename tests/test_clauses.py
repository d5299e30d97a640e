"""The matrix of clauses and tests is read off the marks."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.clauses import ROOT, as_markdown, as_text, natural_order

SOURCE = """
import pytest

@pytest.mark.clause("RFC 9 10.1", "E6")
@pytest.mark.parametrize("size", [1, 2])
def test_both_sizes(size): ...

@pytest.mark.parametrize("row", [pytest.param("a|b", marks=pytest.mark.clause("RFC 9 9"))])
def test_rows(row): ...

def test_without_clause(): ...
"""
MATRIX = {
    "E6": ["test_x.py::test_both_sizes"],
    "RFC 9 9": ["test_x.py::test_rows[a|b]"],
    "RFC 9 10.1": ["test_x.py::test_both_sizes"],
}


def test_matrix_is_read_off_the_marks(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_x=SOURCE)
    pytester.makeini(
        "[pytest]\nmarkers =\n    clause\nasyncio_default_fixture_loop_scope = function\n"
    )
    command = [sys.executable, "-m", "tests.clauses", "--json", "--root", str(pytester.path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert json.loads(output) == MATRIX


def test_text_names_every_clause_and_counts_tests_once() -> None:
    text = as_text(MATRIX)
    assert all(clause in text for clause in MATRIX)
    assert text.endswith("3 clauses shown by 2 tests")


def test_bar_in_a_test_id_does_not_split_the_table_cell() -> None:
    row = as_markdown(MATRIX).splitlines()[3]
    assert row == r"| RFC 9 9 | `test_x.py::test_rows[a\|b]` |"


def test_clauses_sort_by_number() -> None:
    assert natural_order("RFC 3261 9.1") < natural_order("RFC 3261 17.1.1.2")
