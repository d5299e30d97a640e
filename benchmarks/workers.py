"""Starts workers in pairs and gives them orders."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.plan import Variant

ROOT = Path(__file__).parent.parent
OUTPUT = ROOT / ".bench"
NODE_ROOT = OUTPUT / "node"
LOG = OUTPUT / "workers.log"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 3.0
LINE_LIMIT = 1 << 22


class Unavailable(Exception):
    """A transport cannot be measured here; the message says why."""


def local_host() -> str:
    """Return an address of this machine that every transport takes: libwebrtc takes no loopback.

    What goes there goes over the loopback device all the same.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; TEST-NET-1
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def command_of(variant: Variant, host: str, signalling: int) -> list[str]:
    """Return what starts a worker.

    Raises:
        Unavailable: the program that runs it is not here.
    """
    options = ["--host", host, "--signalling", str(signalling)]
    if variant.program == "python":
        extra = ["--options", ",".join(variant.options)]
        return [sys.executable, "-m", "benchmarks.worker", variant.engine, *options, *extra]
    node = shutil.which("node")
    if node is None:
        raise Unavailable("there is no node here")
    if not (NODE_ROOT / "node_modules" / variant.engine).is_dir():
        raise Unavailable(f"{variant.engine} is not installed; {variant.how}")
    script = str(Path(__file__).parent / "worker.mjs")
    return [node, "--expose-gc", script, variant.engine, *options]


class Process:
    """One worker, or the relay.

    Args:
        process: its standard input and output are pipes.
        timeout_s: bound on each order.
    """

    def __init__(self, process: asyncio.subprocess.Process, timeout_s: float) -> None:
        self._process = process
        self._timeout_s = timeout_s
        self._count = 0

    @classmethod
    async def start(cls, command: list[str], timeout_s: float, *descriptors: int) -> Self:
        """Start one; it inherits ``descriptors``."""
        OUTPUT.mkdir(exist_ok=True)
        with LOG.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=ROOT,
                env=dict(os.environ, BENCH_NODE_ROOT=str(NODE_ROOT)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                pass_fds=descriptors,
                limit=LINE_LIMIT,
            )
        return cls(process, timeout_s)

    async def ask(self, op: str, **order: Any) -> dict[str, Any]:
        """Give an order and wait for its reply.

        Raises:
            RuntimeError: it failed, or the worker ended.
            TimeoutError: there was no reply in time.
        """
        self._count += 1
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        async with asyncio.timeout(self._timeout_s + order.get("seconds", 0.0)):
            with contextlib.suppress(ConnectionError):
                stdin.write(json.dumps({"id": self._count, "op": op, **order}).encode() + b"\n")
                await stdin.drain()
            while True:
                line = await stdout.readline()
                if not line:
                    raise RuntimeError(f"the worker ended with status {await self._process.wait()}")
                try:
                    reply: dict[str, Any] = json.loads(line)
                except ValueError:
                    continue  # a library printed something
                if reply.get("id") != self._count:
                    continue
                if "error" in reply:
                    raise RuntimeError(reply["error"])
                return reply

    async def stop(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


Rewrite = Callable[[str, int], str]
"""Changes the description of end 0 or 1 on its way to the other."""


class Pair:
    """Two workers of one variant that can signal to each other.

    Args:
        variant: what they run.
        host: address they bind.
        timeout_s: bound on each order.
        rewrite: changes what they signal; without it they do so directly.

    Attributes:
        caller: sends.
        callee: receives.
        version: what the worker says it runs.
    """

    def __init__(
        self, variant: Variant, host: str, timeout_s: float, rewrite: Rewrite | None = None
    ) -> None:
        self._variant = variant
        self._host = host
        self._timeout_s = timeout_s
        self._rewrite = rewrite
        self._processes: list[Process] = []
        self._pumps: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._log_start = LOG.stat().st_size if LOG.exists() else 0
        self.version = ""

    @property
    def caller(self) -> Process:
        """The end that offers and sends."""
        return self._processes[0]

    @property
    def callee(self) -> Process:
        """The end that answers and receives."""
        return self._processes[1]

    async def both(self, op: str, **order: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give both the same order."""
        caller, callee = await asyncio.gather(
            self.caller.ask(op, is_caller=True, **order),
            self.callee.ask(op, is_caller=False, **order),
        )
        return caller, callee

    async def transfer(
        self, size: int, seconds: float, *, every: bool = False, session: int = -1
    ) -> dict[str, Any]:
        """Send one way for a time; return what the receiver reports, checked.

        Args:
            size: of a message, bytes.
            seconds: of sending.
            every: over all channels of all sessions instead of one.
            session: which one.

        Raises:
            RuntimeError: what arrived is not what was sent.
        """
        suffix = "_all" if every else ""
        receiving = asyncio.ensure_future(
            self.callee.ask(f"receive{suffix}", size=size, seconds=seconds, session=session)
        )
        try:
            await asyncio.sleep(0.05)  # the receiver must listen before the first message comes
            sent = await self.caller.ask(
                f"send{suffix}", size=size, seconds=seconds, session=session
            )
            received = await receiving
        finally:
            receiving.cancel()
        if received["is_damaged"] or received["count"] != sent["count"]:
            raise RuntimeError(
                f"{sent['count']} messages of {size} bytes were sent, {received['count']} came"
            )
        received["sender_cpu_s"] = sent.get("cpu_s", 0.0)
        return received

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _start(self) -> None:
        ours: list[socket.socket] = []
        if self._rewrite is None:
            theirs = list(socket.socketpair())
        else:
            pairs = [socket.socketpair() for _ in range(2)]
            ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        with contextlib.ExitStack() as stack:
            for sock in theirs:
                stack.enter_context(sock)
            for sock in theirs:
                command = command_of(self._variant, self._host, sock.fileno())
                made = await Process.start(command, self._timeout_s, sock.fileno())
                self._processes.append(made)
        if ours:
            await self._connect(ours)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                hello, _ = await self.both("hello")
        except (RuntimeError, TimeoutError) as exc:
            raise Unavailable(f"{_last_words(exc, self._log_start)}; {self._variant.how}") from exc
        self.version = str(hello["version"])

    async def _connect(self, sockets: list[socket.socket]) -> None:
        ends = [await asyncio.open_connection(sock=sock, limit=LINE_LIMIT) for sock in sockets]
        self._writers = [writer for _, writer in ends]
        for index in range(2):
            reader, writer = ends[index][0], ends[1 - index][1]
            self._pumps.append(asyncio.ensure_future(self._pump(reader, writer, index)))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, index: int
    ) -> None:
        assert self._rewrite is not None
        while line := await reader.readline():
            writer.write(json.dumps(self._rewrite(json.loads(line), index)).encode() + b"\n")

    async def stop(self) -> None:
        """End both."""
        for pump in self._pumps:
            pump.cancel()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(process.stop() for process in self._processes))


def _last_words(exc: Exception, start: int) -> str:
    """Say why a worker did not start: the last line of its traceback, when it left one."""
    if isinstance(exc, TimeoutError):
        return f"no answer in {START_TIMEOUT_S:g} s"
    with contextlib.suppress(OSError):
        log = LOG.read_bytes()[start:].decode(errors="replace")
        errors = [line for line in log.splitlines() if "Error: " in line]
        if errors:
            return errors[-1].strip()
    return str(exc)
