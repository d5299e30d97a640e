"""dcsdk, always through the public ``DataChannel``: ``await send`` and ``async for``."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.engines.base import (
    CHECK_EVERY_BYTES,
    END,
    END_TIMEOUT_S,
    OPEN_TIMEOUT_S,
    VARIANTS,
    WRONG_ECHO,
    Engine,
    Session,
    Sink,
    messages_of,
)
from dcsdk.datachannel.channel import DataChannel
from dcsdk.ice import IceDescription
from dcsdk.interfaces import (
    Association,
    ChannelParameters,
    DatagramPath,
    DtlsRole,
    DtlsSctpParameters,
)
from dcsdk.io.net.ice import IcePath
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.sdp.attributes import Attribute
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate

FIRST_STREAM_ID = 1000
MAX_MESSAGE = 262_144
MANY_QUEUED_BYTES = 128 << 10
"""A thousand associations with the usual queue would hold a gigabyte."""


class Ours(Engine):
    """The native engine.

    Options: ``ice``; ``no-offload`` (no UDP GSO and GRO); ``raw``; ``many`` (channels);
    ``per-session`` (a certificate for each session instead of one for all).
    """

    def __init__(self, options: frozenset[str], host: str) -> None:
        super().__init__(options, host)
        self.version = f"dcsdk {version('dcsdk')}"
        settings: dict[str, Any] = {}
        if "many" in options:
            settings.update(max_channels=1024, max_queued_bytes=MANY_QUEUED_BYTES)
        if "no-offload" in options:
            settings.update(use_gso=False, use_gro=False)
        if "raw" in options:
            settings["is_raw_openssl"] = True
        self.config = EngineConfig(**settings)
        self.engine = NativeEngine(self.config)
        self._certificate = Certificate.generate()

    def certificate(self) -> Certificate:
        """Return the certificate of the next session."""
        return Certificate.generate() if "per-session" in self.options else self._certificate

    def session(self) -> OurSession:
        """Make one."""
        return OurSession(self)


class OurSession(Session):
    """One association with one channel, and more of them when asked."""

    def __init__(self, engine: Ours) -> None:
        self._engine = engine
        self._certificate = engine.certificate()
        self._path: DatagramPath
        self._association: Association
        self.channels: list[DataChannel] = []

    async def offer(self) -> str:
        """Describe our end; we are the DTLS server then."""
        return await self._create()

    async def answer(self, offer: str) -> str:
        """Describe our end and begin as the DTLS client."""
        description = await self._create()
        self._start(offer, "client", is_controlling=False)
        return description

    async def accept(self, answer: str) -> None:
        """Begin as the DTLS server."""
        self._start(answer, "server", is_controlling=True)

    async def _create(self) -> str:
        engine = self._engine
        description: dict[str, Any] = {"fingerprint": str(self._certificate.fingerprint)}
        if "ice" in engine.options:
            config = engine.config
            path = IcePath.bind(engine.host, use_gso=config.use_gso, use_gro=config.use_gro)
            self._path = path
            local = path.local_description
            description["ice"] = [
                str(item) for item in (*local.session_attributes, *local.media_attributes)
            ]
        else:
            self._path = await engine.engine.bind_path(engine.host)
        description["address"] = self._path.local_address
        self._association = engine.engine.create(self._path, self._certificate, engine.config)
        self.add_channel(0)
        return json.dumps(description)

    def add_channel(self, index: int) -> None:
        """Open one more channel, agreed beforehand."""
        parameters = ChannelParameters(stream_id=FIRST_STREAM_ID + index)
        self.channels.append(self._association.open_channel(parameters))

    def _start(self, description: str, role: DtlsRole, *, is_controlling: bool) -> None:
        remote = json.loads(description)
        if isinstance(self._path, IcePath):
            attributes = [Attribute.parse(line) for line in remote["ice"]]
            told = IceDescription.parse(attributes)
            if told is None:
                raise ValueError("the peer does not speak ICE")
            self._path.set_remote_description(told)
            self._path.start(is_controlling=is_controlling)
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

    async def opened(self) -> None:
        """Wait until messages can be sent."""
        await self._association.wait_established(OPEN_TIMEOUT_S)

    async def blast(self, size: int, seconds: float) -> int:
        """Send for a time, then END; return how many messages it were."""
        return await blast_over(self.channels[:1], size, seconds)

    async def drain(self, sink: Sink) -> None:
        """Receive until END."""
        async with asyncio.timeout(END_TIMEOUT_S):
            await _drain(self.channels[0], sink)

    async def ping(self, payload: bytes, count: int) -> list[float]:
        """Send a message and wait for its echo, ``count`` times; return the times, seconds."""
        channel, clock = self.channels[0], time.perf_counter
        times = []
        async with asyncio.timeout(END_TIMEOUT_S):
            for _ in range(count):
                started = clock()
                await channel.send(payload)
                echo = await channel.receive()
                times.append(clock() - started)
                if echo != payload:
                    raise RuntimeError(WRONG_ECHO)
        return times

    async def echo(self, count: int) -> None:
        """Send back ``count`` messages."""
        channel = self.channels[0]
        async with asyncio.timeout(END_TIMEOUT_S):
            async for message in channel:
                await channel.send(message)
                count -= 1
                if not count:
                    return

    async def close(self) -> None:
        """Close the association."""
        await self._association.aclose()


async def blast_over(channels: Sequence[DataChannel], size: int, seconds: float) -> int:
    """Send over some channels in turn, then END on each; return how many messages it were."""
    messages = messages_of(size)
    step = max(1, CHECK_EVERY_BYTES // size // len(channels))
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(step):
            message = messages[count % VARIANTS]
            for channel in channels:
                await channel.send(message)
            count += 1
        await asyncio.sleep(0)
    for channel in channels:
        await channel.send(END)
    return count * len(channels)


async def drain_all(channels: Sequence[DataChannel], size: int) -> list[Sink]:
    """Receive on some channels at once until END on each."""
    sinks = [Sink(size) for _ in channels]
    async with asyncio.timeout(END_TIMEOUT_S), asyncio.TaskGroup() as group:
        for channel, sink in zip(channels, sinks, strict=True):
            group.create_task(_drain(channel, sink))
    return sinks


async def _drain(channel: DataChannel, sink: Sink) -> None:
    async for message in channel:
        if not sink.take(message):
            return


ENGINE = Ours
