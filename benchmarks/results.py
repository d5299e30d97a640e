"""From the values of a run to its figures: medians, ratios, and whether targets are met."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from cryptography.hazmat.backends.openssl import backend

from benchmarks.plan import BY_NAME, Figure
from benchmarks.workers import ROOT

Values = Mapping[tuple[str, str], list[float]]
Missing = Mapping[tuple[str, str], str]


def figure_of(figure: Figure, values: Values, missing: Missing) -> dict[str, Any]:
    """Return one figure as it stands in the JSON.

    ``ratio`` is ours divided by the best of the peers that the target is about, ``null`` when the
    target is about no peer; ``ratios`` is ours divided by the median of each peer. ``met`` is
    ``null`` when it cannot be told, as when one of those peers is not installed.
    """
    ours = _median(values, figure.ours, figure.metric)
    peers: dict[str, float] = {}
    unavailable: dict[str, str] = {}
    if ours is None:
        unavailable[figure.ours] = _why(missing, figure.ours, figure.metric)
    for name in dict.fromkeys((*figure.against, *figure.peers)):
        value = _median(values, name, figure.metric)
        if value is None:
            unavailable[name] = _why(missing, name, figure.metric)
        else:
            peers[name] = value
    rivals = []
    for name in figure.against:
        measured = values.get((name, figure.metric))
        if measured:
            best = max if figure.is_higher_better else min
            rivals.append(best(measured) if figure.is_best_run else median(measured))
    ratio = None
    if ours is not None and rivals:
        rival = max(rivals) if figure.is_higher_better else min(rivals)
        ratio = ours / rival if rival else None
    judged = ratio if figure.against else ours
    met = None
    is_complete = not any((name, "") in missing for name in figure.against)
    if judged is not None and figure.target is not None and is_complete:
        met = judged >= figure.target if figure.is_higher_better else judged <= figure.target
    return {
        "name": figure.name,
        "title": figure.title,
        "unit": figure.unit,
        "ours": _rounded(ours),
        "peers": {name: _rounded(value) for name, value in peers.items()},
        "unavailable": unavailable,
        "ratio": _rounded(ratio),
        "ratios": {
            name: _rounded(ours / value)
            for name, value in peers.items()
            if ours is not None and value
        },
        "target": figure.target_text,
        "met": met,
    }


def document(
    figures: Iterable[Figure],
    values: Values,
    missing: Missing,
    versions: Mapping[str, str],
    *,
    is_quick: bool,
    rounds: int,
) -> dict[str, Any]:
    """Return everything a run found out."""
    names = {name for figure in figures for name in (figure.ours, *figure.peers, *figure.against)}
    transports = {}
    for name, variant in BY_NAME.items():
        if name in names:
            about: dict[str, str] = {"title": variant.title}
            if name in versions:
                about["version"] = versions[name]
            if (name, "") in missing:
                about["unavailable"] = missing[(name, "")]
            transports[name] = about
    return {
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "is_quick": is_quick,
        "rounds": rounds,
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "openssl": backend.openssl_version_text(),
        },
        "transports": transports,
        "figures": [figure_of(figure, values, missing) for figure in figures],
        "runs": {
            f"{name} {metric}": [_rounded(value) for value in measured]
            for (name, metric), measured in sorted(values.items())
        },
    }


def commit() -> str:
    """Return the commit that is measured, with ``+`` when the package differs from it."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "dcsdk", "benchmarks"])
    return (head.stdout.strip() or "unknown") + ("+" if changed.returncode else "")


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _median(values: Values, name: str, metric: str) -> float | None:
    measured = values.get((name, metric))
    return median(measured) if measured else None


def _why(missing: Missing, name: str, metric: str) -> str:
    return missing.get((name, "")) or missing.get((name, metric)) or "it was not measured"


def _rounded(value: float | None) -> float | None:
    """Keep four significant digits."""
    return None if value is None else float(f"{value:.4g}")
