"""A real peer in a process of its own, asked for things over JSON lines."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .messages import Digest

START_TIMEOUT_S = 60
END_TIMEOUT_S = 15

PEERS = Path(__file__).parent / "peers"
ROOT = PEERS.parent.parent.parent


class PeerError(RuntimeError):
    """The peer could not do what it was asked for."""


class PeerProcess:
    """Runs one peer while the context lasts; it may serve many tests, one connection each.

    Args:
        program: an interpreter.
        script: for it, in the ``peers`` folder; one of Python is run as a module.
        environment: added to ours.

    Raises:
        PeerError: the peer did not start.
    """

    def __init__(self, program: str, script: str, environment: Mapping[str, str]) -> None:
        self._name = script
        self._ids = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        self._is_over = False
        self._process = subprocess.Popen(
            [program, *_arguments(script)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        started: Future[Any] = self._expect(0)
        self._reader = threading.Thread(target=self._read, name=f"peer {script}", daemon=True)
        self._reader.start()
        try:
            started.result(START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise

    async def ask(self, op: str, **values: Any) -> Any:
        """Have the peer do one thing and return what it says.

        Raises:
            PeerError: it could not, or has ended.
        """
        number = next(self._ids)
        answer = self._expect(number)
        line = json.dumps({"id": number, "op": op, **values})
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError as exc:
            raise PeerError(f"{self._name} has ended") from exc
        return await asyncio.wrap_future(answer)

    def close(self) -> None:
        """End the peer: it leaves when its input ends, and is killed when it does not."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_TIMEOUT_S)
        self._reader.join(END_TIMEOUT_S)
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _expect(self, number: int) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            if self._is_over:
                raise PeerError(f"{self._name} has ended")
            self._waiting[number] = future
        return future

    def _read(self) -> None:
        """Runs in a thread: a peer outlives the event loops of the tests."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            with self._lock:
                future = self._waiting.pop(answer["id"])
            if future.cancelled():
                continue
            if "error" in answer:
                future.set_exception(PeerError(f"{self._name}: {answer['error']}"))
            else:
                future.set_result(answer["result"])
        with self._lock:
            self._is_over = True
            waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.set_exception(PeerError(f"{self._name} has ended"))


class PeerChannel:
    """A data channel as the peer sees it."""

    def __init__(self, process: PeerProcess, name: str) -> None:
        self._process, self._name = process, name

    async def info(self) -> dict[str, Any]:
        """Return what the peer says about the channel; not every peer says all of it."""
        found: dict[str, Any] = (await self._ask("info"))["info"]
        return found

    async def opened(self) -> None:
        """Wait until the peer calls the channel open."""
        await self._ask("opened")

    async def closed(self) -> None:
        """Wait until the peer calls the channel closed."""
        await self._ask("closed")

    async def close(self) -> None:
        """Have the peer close the channel."""
        await self._ask("close_channel")

    async def send(self, sizes: Sequence[int]) -> list[Digest]:
        """Have the peer send random messages of these sizes; return what it sent."""
        return _read_digests(await self._ask("send", sizes=list(sizes)), "sent")

    async def send_texts(self, texts: Sequence[str]) -> list[Digest]:
        """Have the peer send texts; return what it sent."""
        return _read_digests(await self._ask("send", texts=list(texts)), "sent")

    async def receive(self, count: int) -> list[Digest]:
        """Wait for messages at the peer; return what came."""
        return _read_digests(await self._ask("receive", count=count), "received")

    async def drain(self) -> list[Digest]:
        """Return what came and was not asked for, without waiting."""
        return _read_digests(await self._ask("drain"), "received")

    async def _ask(self, op: str, **values: Any) -> Any:
        return await self._process.ask(op, channel=self._name, **values)


class PeerConnection:
    """A connection as the peer sees it; one end of one test.

    Use :meth:`create`, and as a context manager.
    """

    def __init__(self, process: PeerProcess, name: str) -> None:
        self._process, self._name = process, name

    @classmethod
    async def create(cls, process: PeerProcess, **options: Any) -> Self:
        """Have the peer make a connection.

        Args:
            process: the peer.
            options: only what this peer knows.
        """
        return cls(process, (await process.ask("create", options=options))["connection"])

    async def offer(self, **options: Any) -> str:
        """Return the SDP of an offer, with all candidates.

        Args:
            options: ``is_restart`` to restart ICE, where the peer can.
        """
        return await self._sdp("offer", **options)

    async def answer(self, sdp: str) -> str:
        """Return the SDP of the answer to ours."""
        return await self._sdp("answer", sdp=sdp)

    async def accept(self, sdp: str) -> None:
        """Give the peer our answer."""
        await self._ask("accept", sdp=sdp)

    async def open(self, label: str, **options: Any) -> PeerChannel:
        """Have the peer make a channel.

        Args:
            label: of the channel.
            options: as in ``RTCDataChannelInit`` of the W3C.
        """
        made = await self._ask("open", label=label, options=options)
        return PeerChannel(self._process, made["channel"])

    async def incoming(self) -> tuple[PeerChannel, dict[str, Any]]:
        """Wait for a channel that our side opened; also return what the peer says about it."""
        made = await self._ask("incoming")
        return PeerChannel(self._process, made["channel"]), made["info"]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._ask("close")

    async def _sdp(self, op: str, **values: Any) -> str:
        found: str = (await self._ask(op, **values))["sdp"]
        return found

    async def _ask(self, op: str, **values: Any) -> Any:
        return await self._process.ask(op, connection=self._name, **values)


def _arguments(script: str) -> list[str]:
    path = PEERS / script
    if path.suffix != ".py":
        return [str(path)]
    return ["-m", ".".join(path.relative_to(ROOT).with_suffix("").parts)]


def _read_digests(answer: Any, key: str) -> list[Digest]:
    return [Digest(*item) for item in answer[key]]
