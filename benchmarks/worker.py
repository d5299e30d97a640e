"""One end of a measurement: a process that obeys the runner, one JSON line an order.

Orders come on standard input, each with an ``id`` that its reply carries. What the two ends of a
session must tell each other goes over a socket of their own, not through the runner, so that
set-up is measured and not the runner. ``worker.mjs`` is the same for Node.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import resource
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from benchmarks.engines import load
from benchmarks.engines.base import Engine, Session, Sink, messages_of

LINE_LIMIT = 1 << 20
PING_WARM_UP = 0.1
"""Part of the round trips that is not counted."""


def resident_kb() -> float:
    """Return the memory of this process that is nobody else's, kB."""
    gc.collect()
    with open("/proc/self/smaps_rollup", encoding="ascii") as lines:
        found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Priv")}
    return sum(int(value) for value in found.values())


class Worker:
    """Holds the sessions of one process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: list[Session] = []
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def start(self, descriptor: int) -> None:
        """Open the way to the other end."""
        sock = socket.socket(fileno=descriptor)
        self._reader, self._writer = await asyncio.open_connection(sock=sock, limit=LINE_LIMIT)

    def _tell(self, text: str) -> None:
        self._writer.write(json.dumps(text).encode() + b"\n")

    async def _hear(self) -> str:
        line = await self._reader.readline()
        if not line:
            raise ConnectionError("the other end is gone")
        return str(json.loads(line))

    # --- orders -----------------------------------------------------------------------------------
    async def hello(self, order: dict[str, Any]) -> dict[str, Any]:
        """Say who we are."""
        return {"version": self._engine.version}

    async def open(self, order: dict[str, Any]) -> dict[str, Any]:
        """Make sessions one after the other; with ``keep`` they stay.

        ``wall_s`` of the caller counts from its first step until both ends are open. ``cpu_s``
        is the processor time of one end of one session, over the same time.
        """
        walls, cpus = [], []
        for _ in range(order["count"]):
            if order["is_caller"]:
                began, used = time.perf_counter(), time.process_time()
                session = self._engine.session()
                self._tell(await session.offer())
                await session.accept(await self._hear())
                await session.opened()
                await self._hear()
            else:
                offer = await self._hear()
                began, used = time.perf_counter(), time.process_time()
                session = self._engine.session()
                self._tell(await session.answer(offer))
                await session.opened()
                self._tell("open")
            cpus.append(time.process_time() - used)
            walls.append(time.perf_counter() - began)
            if order.get("keep"):
                self._sessions.append(session)
            else:
                self._tell("done")
                await self._hear()
                await session.close()
                self._tell("closed")
                await self._hear()
        return {"wall_s": walls, "cpu_s": cpus}

    async def send(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send messages of ``size`` bytes for ``seconds`` over the last session."""
        session = self._sessions[order.get("session", -1)]
        messages_of(order["size"])  # made before the clock runs
        used = time.process_time()
        count = await session.blast(order["size"], order["seconds"])
        return {"count": count, "cpu_s": time.process_time() - used}

    async def receive(self, order: dict[str, Any]) -> dict[str, Any]:
        """Receive them."""
        sink = Sink(order["size"])
        used = time.process_time()
        await self._sessions[order.get("session", -1)].drain(sink)
        return _report([sink], order["size"], used)

    async def ping(self, order: dict[str, Any]) -> dict[str, Any]:
        """Measure round trips of messages."""
        times = await self._sessions[-1].ping(bytes(order["size"]), order["count"])
        times = sorted(times[int(len(times) * PING_WARM_UP) :])
        return {"p50_s": times[len(times) // 2], "p99_s": times[int(len(times) * 0.99)]}

    async def echo(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send back what comes."""
        await self._sessions[-1].echo(order["count"])
        return {}

    async def memory(self, order: dict[str, Any]) -> dict[str, Any]:
        """Say how much memory this process has."""
        return {"kb": resident_kb()}

    async def idle(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do nothing for ``seconds``; say what that cost."""
        used, began = time.process_time(), time.perf_counter()
        await asyncio.sleep(order["seconds"])
        return {"share": (time.process_time() - used) / (time.perf_counter() - began)}

    async def channels(self, order: dict[str, Any]) -> dict[str, Any]:
        """Have so many channels on the last session (dcsdk only)."""
        session: Any = self._sessions[-1]
        for index in range(len(session.channels), order["count"]):
            session.add_channel(index)
        return {}

    async def send_all(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send over all channels of all sessions in turn (dcsdk only)."""
        from benchmarks.engines.ours import blast_over

        count = await blast_over(self._all_channels(), order["size"], order["seconds"])
        return {"count": count}

    async def receive_all(self, order: dict[str, Any]) -> dict[str, Any]:
        """Receive on all channels of all sessions (dcsdk only)."""
        from benchmarks.engines.ours import drain_all

        used = time.process_time()
        return _report(await drain_all(self._all_channels(), order["size"]), order["size"], used)

    def _all_channels(self) -> list[Any]:
        sessions: list[Any] = self._sessions
        return [channel for session in sessions for channel in session.channels]

    async def close(self, order: dict[str, Any]) -> dict[str, Any]:
        """Close all sessions."""
        sessions, self._sessions = self._sessions, []
        for session in sessions:
            await session.close()
        return {}

    # --- the loop ---------------------------------------------------------------------------------
    async def run(self) -> None:
        """Obey until standard input ends."""
        loop = asyncio.get_running_loop()
        orders: asyncio.Queue[str] = asyncio.Queue()

        def read() -> None:
            for line in sys.stdin:
                loop.call_soon_threadsafe(orders.put_nowait, line)
            os._exit(0)

        threading.Thread(target=read, daemon=True).start()
        while True:
            order = json.loads(await orders.get())
            reply: dict[str, Any]
            try:
                act: Callable[[dict[str, Any]], Any] = getattr(self, order["op"])
                reply = await act(order)
            except Exception as exc:
                traceback.print_exc()
                reply = {"error": f"{type(exc).__name__}: {exc}"}
            print(json.dumps({"id": order["id"], **reply}), flush=True)


def _report(sinks: list[Sink], size: int, used: float) -> dict[str, Any]:
    started = [sink.started_s for sink in sinks if sink.count]
    seconds = max(sink.ended_s for sink in sinks) - min(started) if started else 0.0
    count = sum(sink.count for sink in sinks)
    return {
        "count": count,
        "is_damaged": any(sink.is_damaged for sink in sinks),
        # The first message is there before the clock starts.
        "bytes_per_s": (count - 1) * size / seconds if seconds > 0 else 0.0,
        "cpu_s": time.process_time() - used,
    }


async def _main(arguments: argparse.Namespace) -> None:
    options = frozenset(filter(None, arguments.options.split(",")))
    worker = Worker(load(arguments.engine, options, arguments.host))
    await worker.start(arguments.signalling)
    await worker.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--signalling", type=int, required=True, help="descriptor of a socket")
    parser.add_argument("--options", default="", help="separated by commas")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_main(parser.parse_args()))
