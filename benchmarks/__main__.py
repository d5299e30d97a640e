"""Measures dcsdk beside other transports.

python -m benchmarks                                    # what make bench does
python -m benchmarks run datachannel --json FILE        # the same, JSON and plot where you say
python -m benchmarks run datachannel --quick --json FILE
python -m benchmarks run datachannel --only 16KiB --rounds 3 --json FILE
python -m benchmarks page --json FILE                   # docs/performance.md out of a JSON file
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.plan import FIGURES, QUICK, Effort
from benchmarks.results import document
from benchmarks.runner import Runner
from benchmarks.workers import OUTPUT, ROOT

DOCS = ROOT / "docs"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    run = commands.add_parser("run", help="measure")
    run.add_argument("what", choices=["datachannel"])
    run.add_argument("--quick", action="store_true", help="two minutes; the numbers say little")
    run.add_argument("--only", metavar="NAME", help="only figures whose name has this in it")
    run.add_argument("--rounds", type=int, metavar="N")
    run.add_argument("--seconds", type=float, metavar="S", help="of sending for one throughput")
    run.add_argument("--json", type=Path, default=OUTPUT / "datachannel.json", metavar="FILE")
    run.add_argument("--page", action="store_true", help="also write docs/performance.md")
    again = commands.add_parser("page", help="write docs/performance.md out of a JSON file")
    again.add_argument("--json", type=Path, default=OUTPUT / "datachannel.json", metavar="FILE")
    return parser


def _summary(result: dict[str, Any]) -> str:
    lines = []
    for figure in result["figures"]:
        met = {True: "met", False: "MISSED", None: ""}[figure["met"]]
        ours = "-" if figure["ours"] is None else f"{figure['ours']:g}"
        ratio = "" if figure["ratio"] is None else f"ratio {figure['ratio']:g}"
        lines.append(
            f"{figure['name']:28} {ours:>10} {figure['unit']:10} {ratio:14} "
            f"{figure['target']:40} {met}"
        )
        for peer, value in figure["peers"].items():
            lines.append(f"{'':28} {value:>10g} {peer}")
        for peer, why in figure["unavailable"].items():
            lines.append(f"{'':28} {'-':>10} {peer}: {why}")
    return "\n".join(lines)


def _run(arguments: argparse.Namespace) -> int:
    effort: Effort = QUICK if arguments.quick else Effort()
    if arguments.rounds:
        effort = dataclasses.replace(effort, rounds=arguments.rounds)
    if arguments.seconds:
        effort = dataclasses.replace(
            effort, seconds=arguments.seconds, lossy_seconds=3 * arguments.seconds
        )
    figures = [item for item in FIGURES if not arguments.only or arguments.only in item.name]
    if not figures:
        print(f"no figure has {arguments.only!r} in its name; there are:", file=sys.stderr)
        print("\n".join(item.name for item in FIGURES), file=sys.stderr)
        return 2
    runner = Runner(effort, figures, say=lambda line: print(line, flush=True))
    asyncio.run(runner.run())
    result = document(
        figures,
        runner.values,
        runner.missing,
        runner.versions,
        is_quick=arguments.quick,
        rounds=effort.rounds,
    )
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    picture = arguments.json.with_suffix(".svg")
    picture.write_text(page.plot(result), encoding="utf-8")
    print(_summary(result))
    print(f"written to {arguments.json} and {picture}")
    if arguments.page:
        _write_page(result)
    return 0


def _write_page(result: dict[str, Any]) -> None:
    for path in page.write(result, DOCS):
        print(f"written to {path}")


def main(words: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    words = sys.argv[1:] if words is None else words
    arguments = _parser().parse_args(words or ["run", "datachannel", "--page"])
    if arguments.command == "page":
        _write_page(json.loads(arguments.json.read_text(encoding="utf-8")))
        return 0
    if arguments.command != "run":
        _parser().print_help()
        return 2
    return _run(arguments)


if __name__ == "__main__":
    sys.exit(main())
