"""Prints the coverage of the last ``pytest --cov`` run and fails below the bound.

The bound, 90 %, holds for the branches alone and for lines and branches together.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from coverage import Coverage

MINIMUM_PERCENT = 90.0


def main() -> int:
    """Print the table of files that are not fully covered; returns the exit status."""
    coverage = Coverage()
    coverage.load()
    coverage.report(skip_covered=True, show_missing=True, sort="cover")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.json"
        coverage.json_report(outfile=str(path))
        totals = json.loads(path.read_text())["totals"]
    figures = {
        "lines and branches": totals["percent_covered"],
        "branches": totals["percent_branches_covered"],
    }
    for what, percent in figures.items():
        print(f"coverage of {what}: {percent:.1f} % (at least {MINIMUM_PERCENT:.0f} %)")
    return 0 if min(figures.values()) >= MINIMUM_PERCENT else 1


if __name__ == "__main__":
    sys.exit(main())
