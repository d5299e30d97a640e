"""Throughput of one data channel over loopback: dcsdk's engine beside aiortc's, interleaved.

Both run their DTLS and SCTP on the same datagram path, each end in a process of its own. Writes
``.bench/throughput.json`` and ``.bench/throughput.svg``.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
OUTPUT = ROOT / ".bench"
ENGINES = ("native", "aiortc")
MESSAGE_BYTES = (1_024, 16_384, 262_144)
LINE_TIMEOUT_S = 120


class Peer:
    """One peer process."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peer", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self) -> dict[str, Any]:
        """Return the next line the peer prints.

        Raises:
            RuntimeError: the peer ended instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a peer ended with status {self._process.wait(LINE_TIMEOUT_S)}")
        found: dict[str, Any] = json.loads(line)
        return found

    def write(self, value: object) -> None:
        """Send the peer one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """Let the peer end."""
        self._process.communicate("\n", timeout=LINE_TIMEOUT_S)


def measure(engine: str, size: int, total: int) -> dict[str, Any]:
    """Send ``total`` bytes in messages of ``size`` bytes; returns the figures of both ends."""
    count = str(max(2, total // size))
    receiver = Peer(engine, "server", "receive", str(size), count)
    sender = Peer(engine, "client", "send", str(size), count)
    hello_receiver, hello_sender = receiver.read(), sender.read()
    receiver.write(hello_sender)
    sender.write(hello_receiver)
    received, sent = receiver.read(), sender.read()
    sender.close()
    receiver.close()
    if received["sha256"] != sent["sha256"]:
        raise RuntimeError(f"{engine}: what arrived is not what was sent")
    return {
        "engine": engine,
        "message_bytes": size,
        "mb_per_s": (received["bytes"] - size) / received["seconds"] / 1e6,
        "setup_s": sent["setup_s"],
        "cpu_s_per_gb": (received["cpu_s"] + sent["cpu_s"]) / received["bytes"] * 1e9,
    }


def commit() -> str:
    """Return the commit that is measured, with ``+`` when the tree differs from it."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD"]).returncode
    return head.stdout.strip() + ("+" if changed else "")


def svg(medians: dict[int, dict[str, float]], title: str) -> str:
    """Draw the medians as bars."""
    colours = {"native": "#2e7d4f", "aiortc": "#77776a"}
    highest = max(value for row in medians.values() for value in row.values())
    parts, top = [f'<text x="10" y="20">{title}</text>'], 40
    for size, row in medians.items():
        for engine, value in row.items():
            width = 420 * value / highest
            parts.append(f'<text x="10" y="{top + 14}">{engine}, {size} B messages</text>')
            parts.append(
                f'<rect x="200" y="{top}" width="{width:.0f}" height="18" '
                f'fill="{colours[engine]}"/>'
            )
            parts.append(f'<text x="{206 + width:.0f}" y="{top + 14}">{value:.1f} MB/s</text>')
            top += 24
        top += 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="740" height="{top}" '
        f'font-family="sans-serif" font-size="13">{"".join(parts)}</svg>\n'
    )


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="each engine is measured this often")
    parser.add_argument("--megabytes", type=int, default=24, help="bytes sent per measurement")
    options = parser.parse_args()
    runs = []
    for number in range(options.rounds):
        for size in MESSAGE_BYTES:
            for engine in ENGINES:
                found = measure(engine, size, options.megabytes * 1_000_000)
                runs.append({"round": number, **found})
                print(
                    f"round {number + 1}: {engine:7} {size:7} B messages "
                    f"{found['mb_per_s']:7.1f} MB/s, {found['cpu_s_per_gb']:6.1f} CPU s/GB, "
                    f"set up in {found['setup_s'] * 1000:5.1f} ms",
                    flush=True,
                )
    medians = {
        size: {
            engine: statistics.median(
                run["mb_per_s"]
                for run in runs
                if run["engine"] == engine and run["message_bytes"] == size
            )
            for engine in ENGINES
        }
        for size in MESSAGE_BYTES
    }
    for size, row in medians.items():
        ratio = row["native"] / row["aiortc"]
        print(f"{size:7} B messages: native is {ratio:.1f} times as fast as aiortc (medians)")
    OUTPUT.mkdir(exist_ok=True)
    about = {
        "commit": commit(),
        "command": "make bench",
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
    result = {**about, "medians_mb_per_s": medians, "runs": runs}
    (OUTPUT / "throughput.json").write_text(json.dumps(result, indent=2) + "\n")
    title = f"one data channel over loopback, commit {about['commit']}"
    (OUTPUT / "throughput.svg").write_text(svg(medians, title))
    print(f"written to {OUTPUT / 'throughput.json'} and throughput.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
