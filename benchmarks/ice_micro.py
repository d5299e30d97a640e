"""How long ICE takes to find a host pair on loopback, both ends in this process.

``python -m benchmarks.ice_micro [--rounds N]`` prints milliseconds of wall time from two bound
paths to both ends having selected their pair, and of CPU time for both ends together, binding
included.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import closing

from dcsdk.io.net.ice import IcePath

HOSTS: tuple[Sequence[str], ...] = (("127.0.0.1",), ("::1",), ("127.0.0.1", "::1"))
TIMEOUT_S = 5.0
WARM_UP = 20


async def set_up(hosts: Sequence[str]) -> tuple[float, float]:
    """Connect two paths once; return wall and CPU time, s."""
    cpu = time.process_time()
    one, other = IcePath.bind(hosts), IcePath.bind(hosts)
    with closing(one), closing(other):
        wall = time.perf_counter()
        other.set_remote_description(one.local_description)
        other.start(is_controlling=False)
        one.set_remote_description(other.local_description)
        one.start(is_controlling=True)
        await one.wait_selected(TIMEOUT_S)
        await other.wait_selected(TIMEOUT_S)
        return time.perf_counter() - wall, time.process_time() - cpu


async def measure(rounds: int) -> None:
    """Print one line for each choice of addresses."""
    for hosts in HOSTS:
        times = [await set_up(hosts) for _ in range(rounds + WARM_UP)][WARM_UP:]
        walls, cpus = (sorted(values) for values in zip(*times, strict=True))
        print(
            f"{'+'.join(hosts):>14}: wall p50 {statistics.median(walls) * 1e3:.2f} ms,"
            f" p99 {walls[int(len(walls) * 0.99)] * 1e3:.2f} ms;"
            f" CPU of both ends p50 {statistics.median(cpus) * 1e3:.2f} ms"
        )


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ice_micro", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300, help="set-ups for each line")
    asyncio.run(measure(parser.parse_args().rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
