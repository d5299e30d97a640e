"""The benchmark runs: every figure of the plan, with whatever peers are there.

Its numbers are not looked at: this machine may be doing anything else meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.plan import FIGURES, PEERS
from benchmarks.workers import ROOT

pytestmark = pytest.mark.interop

QUICK_S = 120
FIELDS = {"name", "unit", "ours", "peers", "ratio", "target", "met"}
FIELDS |= {"title", "ratios", "unavailable"}


@pytest.mark.timeout(QUICK_S + 60)
def test_the_quick_benchmark_measures_every_figure_within_two_minutes(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    subprocess.run(
        [sys.executable, "-m", "benchmarks", "run", "datachannel", "--quick", "--json", target],
        cwd=ROOT,
        check=True,
        timeout=QUICK_S,
        stdout=subprocess.DEVNULL,
    )
    result = json.loads(target.read_text())
    assert result["commit"]
    assert result["is_quick"]
    assert [figure["name"] for figure in result["figures"]] == [item.name for item in FIGURES]
    for figure, plan in zip(result["figures"], FIGURES, strict=True):
        assert set(figure) == FIELDS
        assert figure["target"] == plan.target_text
        # No transport is left out silently: there is a value, or there is a reason.
        told = set(figure["peers"]) | set(figure["unavailable"])
        assert told >= {*plan.peers, *plan.against}
        assert figure["ours"] is not None or figure["unavailable"][plan.ours]
        assert all(figure["unavailable"].values())
    measured = [figure["name"] for figure in result["figures"] if figure["ours"] is not None]
    assert "16KiB_vs_aiortc" in measured
    assert set(result["transports"]) >= set(PEERS)
    assert target.with_suffix(".svg").read_text().startswith("<svg")
