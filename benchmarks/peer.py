"""One end of a measured data channel, in a process of its own.

``python -m benchmarks.peer ENGINE DTLS_ROLE send|receive MESSAGE_BYTES MESSAGES`` prints one JSON
line with its address and fingerprint, reads the other end's line, and prints one with the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import resource
import sys
import time
from abc import ABC, abstractmethod
from typing import Any, Literal, cast

from dcsdk.channel import DataChannel
from dcsdk.interfaces import ChannelParameters, DtlsRole, DtlsSctpParameters
from dcsdk.io.engine_config import EngineConfig
from dcsdk.plugins.engine_native import NativeEngine
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate
from tests.interop.aiortc_peer import AiortcPeer

HOST = "127.0.0.1"
STREAM_ID = 10
MAX_MESSAGE = 1 << 20
SETUP_TIMEOUT_S = 30.0
QUEUE_HIGH_BYTES, QUEUE_LOW_BYTES = 1 << 20, 1 << 18
"""How far a sender runs ahead of the network where the stack leaves that to the program."""


class End(ABC):
    """What is measured: connect, send, receive."""

    @abstractmethod
    async def open(self) -> dict[str, Any]:
        """Bind; returns what the other end must know."""

    @abstractmethod
    async def connect(self, remote: dict[str, Any], role: DtlsRole) -> None:
        """Return when messages can be sent."""

    @abstractmethod
    async def send(self, message: bytes) -> None:
        """Send one message, waiting when too much is queued."""

    @abstractmethod
    async def receive(self) -> str | bytes:
        """Take the next message."""

    @abstractmethod
    async def close(self) -> None:
        """Close everything."""


class NativeEnd(End):
    """dcsdk's own engine."""

    async def open(self) -> dict[str, Any]:
        """Bind a path and make the association."""
        engine, self._certificate = NativeEngine(), Certificate.generate()
        path = await engine.bind_path(HOST)
        self._association = engine.create(path, self._certificate, EngineConfig())
        parameters = ChannelParameters(stream_id=STREAM_ID)
        self._channel = cast(DataChannel, self._association.open_channel(parameters))
        return {"address": path.local_address, "fingerprint": str(self._certificate.fingerprint)}

    async def connect(self, remote: dict[str, Any], role: DtlsRole) -> None:
        """Shake hands and wait for SCTP."""
        self._association.start(
            DtlsSctpParameters(
                dtls_role=role,
                remote_address=(remote["address"][0], remote["address"][1]),
                remote_fingerprints=(Fingerprint.parse(remote["fingerprint"]),),
                local_tls_id=None,
                remote_tls_id=None,
                local_max_message_size=MAX_MESSAGE,
                remote_max_message_size=MAX_MESSAGE,
            )
        )
        await self._association.wait_established(SETUP_TIMEOUT_S)

    async def send(self, message: bytes) -> None:
        """Send; the channel itself waits for room."""
        await self._channel.send(message)

    async def receive(self) -> str | bytes:
        """Take the next message."""
        return await self._channel.receive()

    async def close(self) -> None:
        """Close the association."""
        await self._association.aclose()


class AiortcEnd(End):
    """aiortc's DTLS and SCTP on our path."""

    async def open(self) -> dict[str, Any]:
        """Bind a path."""
        self._peer = AiortcPeer(HOST, stream_id=STREAM_ID, max_message_size=MAX_MESSAGE)
        self._low = asyncio.Event()
        self._peer.channel.bufferedAmountLowThreshold = QUEUE_LOW_BYTES
        self._peer.channel.on("bufferedamountlow", self._low.set)
        return {"address": self._peer.address, "fingerprint": self._peer.fingerprint}

    async def connect(self, remote: dict[str, Any], role: DtlsRole) -> None:
        """Shake hands and wait for SCTP."""
        address = (remote["address"][0], remote["address"][1])
        await self._peer.start(address, remote["fingerprint"], role)
        async with asyncio.timeout(SETUP_TIMEOUT_S):
            await self._peer.opened.wait()

    async def send(self, message: bytes) -> None:
        """Send, and wait while aiortc has too much queued."""
        self._peer.channel.send(message)
        if self._peer.channel.bufferedAmount > QUEUE_HIGH_BYTES:
            self._low.clear()
            await self._low.wait()

    async def receive(self) -> str | bytes:
        """Take the next message."""
        return await self._peer.messages.get()

    async def close(self) -> None:
        """Close the association."""
        await self._peer.__aexit__(None, None, None)


ENDS: dict[str, type[End]] = {"native": NativeEnd, "aiortc": AiortcEnd}


def cpu_s() -> float:
    """Return the processor seconds this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def run(
    engine: str, role: DtlsRole, task: Literal["send", "receive"], size: int, count: int
) -> None:
    """Be one end of one measurement."""
    end = ENDS[engine]()
    print(json.dumps(await end.open()), flush=True)
    remote = json.loads(await asyncio.to_thread(sys.stdin.readline))
    began = time.perf_counter()
    await end.connect(remote, role)
    setup_s = time.perf_counter() - began
    message = hashlib.shake_128(b"%d" % size).digest(size)
    digest = hashlib.sha256()
    used, began = cpu_s(), time.perf_counter()
    if task == "send":
        for _ in range(count):
            await end.send(message)
            digest.update(message)
        await end.receive()  # the other end has everything
    else:
        received = [await end.receive()]
        used, began = cpu_s(), time.perf_counter()
        received += [await end.receive() for _ in range(count - 1)]
        seconds = time.perf_counter() - began
        for item in received:
            digest.update(cast(bytes, item))
        await end.send(b"done")
    figures = {
        "setup_s": setup_s,
        "seconds": time.perf_counter() - began if task == "send" else seconds,
        "cpu_s": cpu_s() - used,
        "bytes": size * count,
        "sha256": digest.hexdigest(),
    }
    print(json.dumps(figures), flush=True)
    with contextlib.suppress(ValueError):
        await asyncio.to_thread(sys.stdin.readline)  # both ends close when both are done
    await end.close()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(
        run(
            arguments[0],
            cast(DtlsRole, arguments[1]),
            cast(Literal["send", "receive"], arguments[2]),
            int(arguments[3]),
            int(arguments[4]),
        )
    )
