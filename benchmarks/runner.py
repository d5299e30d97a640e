"""Runs the measurements of a plan, in rounds, and keeps every value."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

from benchmarks.plan import FIGURES, VARIANTS, Effort, Figure, Group, Variant, group_of
from benchmarks.relay import redirect
from benchmarks.workers import Pair, Process, Unavailable, local_host

GROUPS: tuple[Group, ...] = ("pair", "distance", "growth", "memory")
ONE_WAY_S = 0.010
PING_BYTES = 100
DISTANCE_BYTES = GROWTH_BYTES = 16_384
SIZES = {"mb_per_s_16k": 16_384, "mb_per_s_1k": 1_024, "messages_per_s_100": 100}
LOSSES = {"distance_0": 0.0, "distance_0.1": 0.001, "distance_1": 0.01}


class Runner:
    """Measures.

    Args:
        effort: how much is done.
        figures: of those asked for, only what they need is measured.
        say: takes lines about how it goes.

    Attributes:
        values: variant and metric to one value for each round.
        versions: variant to what its worker says it runs.
        missing: variant, or variant and metric, to why there is no value.
    """

    def __init__(
        self,
        effort: Effort,
        figures: Iterable[Figure] = FIGURES,
        say: Callable[[str], None] = print,
    ) -> None:
        self._effort = effort
        self._say = say
        self._host = local_host()
        self._began = time.monotonic()
        self._wanted: dict[str, set[str]] = defaultdict(set)
        for figure in figures:
            for name in {figure.ours, *figure.peers, *figure.against}:
                self._wanted[name].add(figure.metric)
        self.values: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.versions: dict[str, str] = {}
        self.missing: dict[tuple[str, str], str] = {}

    async def run(self) -> None:
        """Measure everything, round after round."""
        for number in range(self._effort.rounds):
            for group in GROUPS:
                if group == "memory" and number:
                    continue  # it hardly varies, and takes long
                for variant in VARIANTS:
                    metrics = {
                        name for name in self._wanted[variant.name] if group_of(name) == group
                    }
                    if group in variant.groups and metrics:
                        self._say(
                            f"{time.monotonic() - self._began:5.0f} s  "
                            f"round {number + 1}: {group:8} {variant.title}"
                        )
                        await self._measure(group, variant, metrics)

    async def _measure(self, group: Group, variant: Variant, metrics: set[str]) -> None:
        gone = self.missing.get((variant.name, ""))
        if gone is not None:
            return
        budget = self._effort.budget_s
        if budget is not None and time.monotonic() - self._began > budget:
            self._miss(variant, metrics, "no time was left for it in --quick")
            return
        act = {
            "pair": self._pair,
            "distance": self._distance,
            "growth": self._growth,
            "memory": self._memory,
        }[group]
        try:
            await act(variant, metrics)
        except Unavailable as exc:
            self.missing[(variant.name, "")] = str(exc)
            self._say(f"    {variant.name} cannot be measured: {exc}")
        except (RuntimeError, TimeoutError, OSError) as exc:
            why = "no answer in time" if isinstance(exc, TimeoutError) else str(exc)
            self._miss(variant, metrics, why)

    def _miss(self, variant: Variant, metrics: set[str], why: str) -> None:
        for metric in metrics:
            if not self.values.get((variant.name, metric)):
                self.missing[(variant.name, metric)] = why
        self._say(f"    {variant.name}: {why}")

    def _keep(self, variant: Variant, metric: str, value: float) -> None:
        self.values[(variant.name, metric)].append(value)
        self.missing.pop((variant.name, metric), None)
        self._say(f"    {metric:24} {value:12.2f}")

    def _open(self, variant: Variant, rewrite: Any = None) -> Pair:
        return Pair(variant, self._host, self._effort.order_timeout_s, rewrite)

    # --- groups -----------------------------------------------------------------------------------
    async def _pair(self, variant: Variant, metrics: set[str]) -> None:
        """Set-up, throughput and round trips between two processes."""
        effort = self._effort
        async with self._open(variant) as pair:
            self.versions[variant.name] = pair.version
            if metrics & {"setup_wall_ms", "setup_cpu_ms"}:
                await self._set_up(pair, 3)  # what is loaded on first use is not set-up
                caller, callee = await self._set_up(pair, effort.setups)
                self._keep(variant, "setup_wall_ms", median(caller["wall_s"]) * 1e3)
                used = median(caller["cpu_s"]) + median(callee["cpu_s"])
                self._keep(variant, "setup_cpu_ms", used / 2 * 1e3)
            await self._set_up(pair, 1, keep=True)
            for metric, size in SIZES.items():
                if metric in metrics:
                    found = await pair.transfer(size, effort.seconds)
                    scale = 1e6 if metric.startswith("mb_") else size
                    self._keep(variant, metric, found["bytes_per_s"] / scale)
                    megabytes = found["count"] * size / 1e6
                    used = found["cpu_s"] + found["sender_cpu_s"]
                    self._keep(variant, f"cpu_ms_per_mb_{size}", used / megabytes * 1e3)
            if metrics & {"rtt_p50_us", "rtt_p99_us"}:
                count = effort.pings
                echoing = asyncio.ensure_future(pair.callee.ask("echo", count=count))
                try:
                    await asyncio.sleep(0.05)
                    found = await pair.caller.ask("ping", count=count, size=PING_BYTES)
                    await echoing
                finally:
                    echoing.cancel()
                self._keep(variant, "rtt_p50_us", found["p50_s"] * 1e6)
                self._keep(variant, "rtt_p99_us", found["p99_s"] * 1e6)
            await pair.both("close")

    async def _distance(self, variant: Variant, metrics: set[str]) -> None:
        """Throughput through the relay."""
        effort = self._effort
        command = [sys.executable, "-m", "benchmarks.relay"]
        relay = await Process.start(
            [*command, "--host", self._host, "--delay", str(ONE_WAY_S)], effort.order_timeout_s
        )
        try:
            ports: list[int] = (await relay.ask("ports"))["ports"]
            telling: list[asyncio.Future[Any]] = []
            lock = asyncio.Lock()

            async def tell(index: int, address: tuple[str, int]) -> None:
                async with lock:
                    await relay.ask("end", index=index, address=address)

            def rewrite(text: str, index: int) -> str:
                changed, real = redirect(text, self._host, ports[1 - index])
                if real is not None:
                    telling.append(asyncio.ensure_future(tell(index, real)))
                return changed

            async with self._open(variant, rewrite) as pair:
                await self._set_up(pair, 1, keep=True)
                await asyncio.gather(*telling)
                for metric, loss in LOSSES.items():
                    if metric in metrics:
                        await relay.ask("loss", loss=loss)
                        seconds = effort.lossy_seconds if loss else effort.seconds
                        found = await pair.transfer(DISTANCE_BYTES, seconds)
                        self._keep(variant, metric, found["bytes_per_s"] / 1e6)
                await relay.ask("loss", loss=0.0)
        finally:
            await relay.stop()

    async def _growth(self, variant: Variant, metrics: set[str]) -> None:
        """One, then many: channels on an association, associations in a process."""
        if "channels_throughput" in metrics:
            await self._channel_growth(variant)
        if "channels_memory" in metrics:
            await self._channel_memory(variant)
        if metrics & {"associations_throughput", "associations_spread", "associations_memory"}:
            await self._association_growth(variant)

    async def _channel_growth(self, variant: Variant) -> None:
        many, seconds = self._effort.many, self._effort.seconds
        async with self._open(variant) as pair:
            await self._set_up(pair, 1, keep=True)
            one = await pair.transfer(GROWTH_BYTES, seconds, every=True)
            await pair.both("channels", count=many)
            spread = await pair.transfer(GROWTH_BYTES, seconds, every=True)
            ratio = spread["bytes_per_s"] / one["bytes_per_s"]
            self._keep(variant, "channels_throughput", ratio)

    async def _channel_memory(self, variant: Variant) -> None:
        many = self._effort.many
        async with self._open(variant) as pair:
            await self._set_up(pair, 1, keep=True)
            await pair.both("channels", count=many)  # fills what is free in the process
            await self._set_up(pair, 1, keep=True)
            marks, levels = (1, (many + 1) // 2, many), []
            for count in marks:
                await pair.both("channels", count=count)
                levels.append(await self._resident(pair))
            self._keep_growth(variant, "channels", marks, levels)

    async def _association_growth(self, variant: Variant) -> None:
        many, seconds = self._effort.many, self._effort.seconds
        async with self._open(variant) as pair:
            await self._set_up(pair, 1, keep=True)
            one = await pair.transfer(GROWTH_BYTES, seconds, session=0)
            # The first quarter fills what the transfer left free in the processes.
            step = many * 3 // 8
            marks, levels, there = (many - 2 * step, many - step, many), [], 1
            for count in marks:
                await self._set_up(pair, count - there, keep=True)
                levels.append(await self._resident(pair))
                there = count
            busy = await pair.transfer(GROWTH_BYTES, seconds, session=0)
            spread = await pair.transfer(GROWTH_BYTES, seconds, every=True)
            for name, found in (("throughput", busy), ("spread", spread)):
                ratio = found["bytes_per_s"] / one["bytes_per_s"]
                self._keep(variant, f"associations_{name}", ratio)
            self._keep_growth(variant, "associations", marks, levels)

    def _keep_growth(
        self, variant: Variant, what: str, marks: tuple[int, int, int], levels: list[float]
    ) -> None:
        """Keep the memory of one, and how the later ones compare with the earlier ones.

        Args:
            variant: that was measured.
            what: there were many of.
            marks: at how many of them memory was looked at.
            levels: what it was, kB.
        """
        before = (levels[1] - levels[0]) / (marks[1] - marks[0])
        after = (levels[2] - levels[1]) / (marks[2] - marks[1])
        self._keep(variant, f"{what}_kb", after)
        if before <= 0:
            self._miss(variant, {f"{what}_memory"}, "too few of them to see their memory")
            return
        self._keep(variant, f"{what}_memory", after / before)

    async def _memory(self, variant: Variant, metrics: set[str]) -> None:
        """Memory and idleness of many open associations."""
        effort, is_ours = self._effort, variant.engine == "dcsdk"
        count = effort.idle if is_ours else effort.idle_peers
        settle_s, idle_s = (
            (effort.settle_s, effort.idle_s)
            if is_ours
            else (effort.settle_peers_s, effort.idle_peers_s)
        )
        first = max(5, count // 4)
        async with self._open(variant) as pair:
            self.versions.setdefault(variant.name, pair.version)
            # The first ones grow what all share: heaps, caches, modules.
            await self._set_up(pair, first, keep=True)
            before = await self._resident(pair)
            await self._set_up(pair, count - first, keep=True)
            after = await self._resident(pair)
            self._keep(variant, "memory_kb", (after - before) / (count - first))
            if "idle_percent" in metrics:
                await asyncio.sleep(settle_s)
                shares = await pair.both("idle", seconds=idle_s)
                share = sum(end["share"] for end in shares) / 2 * 200 / count
                self._keep(variant, "idle_percent", share * 100)

    async def _set_up(
        self, pair: Pair, count: int, *, keep: bool = False
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Set up associations one after the other."""
        return await pair.both("open", count=count, keep=keep, seconds=count * self._effort.open_s)

    @staticmethod
    async def _resident(pair: Pair) -> float:
        """Return the memory of one of the two ends, kB."""
        return float(sum(end["kb"] for end in await pair.both("memory"))) / 2
