"""Writes what people read: a plot, and the page of the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.explanations import EXPLANATIONS

GREEN, GREY, RED = "#2e7d4f", "#8a8a7d", "#b3402a"
BAR_PX, LABEL_PX, ROW_PX = 420, 250, 20
PLOTTED = (
    ("16KiB_vs_aiortc", "16 KiB messages, MB/s"),
    ("1KiB_vs_aiortc", "1 KiB messages, MB/s"),
    ("100B_vs_aiortc", "100 B messages, thousands/s"),
    ("rtt_p50_vs_aiortc", "round trip, median, us (less is better)"),
    ("20ms_vs_aiortc", "16 KiB messages at 20 ms round trip, MB/s"),
)

INTRO = """\
# Performance

What one data channel costs, measured beside every other transport at hand: in the same run, on the
same machine, between two processes on loopback, with datagrams of at most 1200 bytes. "dcsdk" is
always the public `DataChannel`: `await channel.send(...)` on one side, `async for` on the other.
Every receiver compares each message, byte for byte and in order, with what it must be. Values are
medians of rounds in which the transports take turns; memory and idleness, which hardly vary, are
measured once. `make bench` makes this page from its results; `make bench-setup` installs the
transports.

`aiortc` is aiortc over its own ICE, as the package works, and what targets about aiortc mean;
`aiortc-udp` is its DTLS and SCTP put on plain UDP by hand, as dcsdk runs without ICE.
libdatachannel, libwebrtc and werift know no way without ICE; "over an ICE host pair" has dcsdk with
ICE beside them. A thousand channels or associations run with queues of 128 KiB each.
"""


def page(result: Mapping[str, Any], picture: str) -> str:
    """Return the page, in Markdown.

    Args:
        result: what :func:`benchmarks.results.document` made.
        picture: path of the plot, as seen from the page.
    """
    machine = result["machine"]
    lines = [
        INTRO,
        f"Measured on {result['date']} at commit `{result['commit']}`, {result['rounds']} rounds, "
        f"on {machine['processor']} ({machine['cores']} cores, {machine['system']}), "
        f"Python {machine['python']}, {machine['openssl']}.",
        "",
        f"![Throughput and round trips]({picture})",
        "",
        "## Figures and targets",
        "",
        "The ratio is dcsdk divided by the peer the target names (the better one of several).",
        "",
        "| figure | dcsdk | ratio | to `aiortc-udp` | target | met |",
        "|---|---|---|---|---|---|",
    ]
    for figure in result["figures"]:
        met = {True: "yes", False: "**no**", None: "-"}[figure["met"]]
        lines.append(
            f"| {figure['title']} | {_number(figure['ours'])} {figure['unit']} "
            f"| {_number(figure['ratio'])} | {_number(figure['ratios'].get('aiortc-udp'))} "
            f"| {_readable(figure['target'])} | {met} |"
        )
    lines += ["", *_values(result), *_missed(result), *_transports(result)]
    return "\n".join(lines).rstrip() + "\n"


def _values(result: Mapping[str, Any]) -> list[str]:
    names = list(dict.fromkeys(name for item in result["figures"] for name in item["peers"]))
    if not names:
        return []
    lines = [
        "## All values",
        "",
        "In brackets: dcsdk divided by that value.",
        "",
        f"| figure | unit | dcsdk | {' | '.join(names)} |",
        "|---|---|---|" + "---|" * len(names),
    ]
    seen = set()
    for figure in result["figures"]:
        row = (figure["title"], figure["ours"])
        if row not in seen and figure["peers"]:
            seen.add(row)
            cells = " | ".join(_beside(figure, name) for name in names)
            lines.append(
                f"| {figure['title']} | {figure['unit']} | {_number(figure['ours'])} | {cells} |"
            )
    return [*lines, ""]


def _missed(result: Mapping[str, Any]) -> list[str]:
    missed = [figure for figure in result["figures"] if figure["met"] is False]
    if not missed:
        return []
    lines = ["## Where a target is missed", ""]
    for figure in missed:
        value = figure["ours"] if figure["ratio"] is None else figure["ratio"]
        why = EXPLANATIONS.get(figure["name"], "Not explained yet.")
        aim = _readable(figure["target"])
        lines.append(f"- **{figure['title']}**: {_number(value)}, aimed at {aim}. {why}")
    return [*lines, ""]


def _transports(result: Mapping[str, Any]) -> list[str]:
    lines = ["## What was measured", ""]
    for name, about in result["transports"].items():
        what = about.get("version", "")
        if "unavailable" in about:
            what = f"not measured: {about['unavailable']}"
        lines.append(f"- `{name}`: {about['title']}{', ' + what if what else ''}")
    reasons = {
        (name, why)
        for figure in result["figures"]
        for name, why in figure["unavailable"].items()
        if "unavailable" not in result["transports"].get(name, {})
    }
    for name, why in sorted(reasons):
        lines.append(f"- `{name}` lacks values: {why}")
    return lines


def plot(result: Mapping[str, Any]) -> str:
    """Return bars of the main figures as an SVG picture."""
    parts: list[str] = []
    top = 10
    by_name = {figure["name"]: figure for figure in result["figures"]}
    for name, title in PLOTTED:
        figure = by_name.get(name)
        if figure is None or figure["ours"] is None:
            continue
        scale = 1000 if "thousands" in title else 1
        bars = [("dcsdk", figure["ours"] / scale)]
        bars += [(peer, value / scale) for peer, value in figure["peers"].items()]
        highest = max(value for _, value in bars) or 1
        parts.append(f'<text x="0" y="{top + 14}" font-weight="bold">{escape(title)}</text>')
        top += ROW_PX + 4
        for label, value in bars:
            width = max(1.0, BAR_PX * value / highest)
            colour = GREEN if label == "dcsdk" else GREY
            parts.append(
                f'<text x="0" y="{top + 13}">{escape(label)}</text>'
                f'<rect x="{LABEL_PX - 100}" y="{top}" width="{width:.1f}" height="15" '
                f'fill="{colour}"/>'
                f'<text x="{LABEL_PX - 94 + width:.1f}" y="{top + 13}">{_number(value)}</text>'
            )
            top += ROW_PX
        top += 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL_PX + BAR_PX}" height="{top}" '
        f'viewBox="0 0 {LABEL_PX + BAR_PX} {top}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def write(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write page and plot into the documentation; return their paths."""
    picture = folder / "pictures" / "performance.svg"
    picture.parent.mkdir(exist_ok=True)
    picture.write_text(plot(result), encoding="utf-8")
    text = folder / "performance.md"
    text.write_text(page(result, "pictures/performance.svg"), encoding="utf-8")
    return [text, picture]


def _beside(figure: Mapping[str, Any], name: str) -> str:
    """Return the value of a peer, and how many times it ours is."""
    value, ratio = figure["peers"].get(name), figure["ratios"].get(name)
    return _number(value) if ratio is None else f"{_number(value)} ({_number(ratio)})"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _readable(target: str) -> str:
    return target.replace(">=", "≥").replace("<=", "≤").replace(" x ", " times ")
