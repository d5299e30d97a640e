"""The corpus is replayed: inputs that reach far, and every input that once found a bug."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.clause("RFC 9260 3.2", "RFC 8832 5", "RFC 6347 4.1")
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_input_of_the_corpus_is_survived(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs, f"no corpus for {name}"
    for path in inputs:
        TARGETS[name](path.read_bytes())
