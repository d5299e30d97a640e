"""Somebody vanishes in the middle of a transfer: everything ends in bounded time, by an error."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from dcsdk import (
    DcsdkError,
    RegistrationLost,
    Session,
    SessionEnded,
    StreamClosed,
    TransportError,
    hookimpl,
)
from dcsdk.emulator import Network
from dcsdk.emulator.dc.fault_functions import VanishingEngine
from dcsdk.interfaces import AssociationEngine, ChannelAssociation, DatagramTransport
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.io.sip.transport import CLOSE_TIMEOUT_S
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.session.line_paths import LinePaths
from tests.scenarios.calls import BOB, Ue, a_call, a_channel, dial, network_with, talk
from tests.scenarios.conftest import MakeUe

SOON_S = 8.0
"""Bound of every wait here; an untouched client would take 12 s to give a peer up."""

BOUND_S = 1.0
"""Of closing, where nothing answers; every step of it alone would take as long."""

LATE_S = 0.9
"""What a busy machine may add to it."""

CHUNK = b"x" * 16_384


class Impatient:
    """A plug-in with an engine that gives silent peers up after half a second, and can vanish."""

    def __init__(self) -> None:
        class Engine(NativeEngine):
            name: ClassVar[str] = "impatient"

            def attach(
                self, transport: DatagramTransport, config: Any = None
            ) -> ChannelAssociation:
                sctp = dataclasses.replace(
                    config.sctp,
                    rto_initial_s=0.1,
                    rto_min_s=0.1,
                    rto_max_s=0.2,
                    max_retrans=2,
                    max_init_retrans=2,
                    hb_interval_s=0.2,
                )
                quick = dataclasses.replace(config, sctp=sctp, peer_timeout_s=None)
                return super().attach(transport, quick)

        self._engine = Engine
        self.vanishing = VanishingEngine(NativeEngine(EngineConfig()))

    def cuttable(self, bound: LinePaths) -> LinePaths:
        """Make the path of a line vanish with the others."""
        assert bound.paths.rtp is not None
        return LinePaths(bound.needs, rtp=self.vanishing.cuttable(bound.paths.rtp))

    @hookimpl
    def dcsdk_engines(self) -> list[type[AssociationEngine]]:
        return [self._engine]


async def impatient_ue(make_ue: MakeUe, name: str, **values: Any) -> tuple[Ue, Impatient]:
    plugin = Impatient()
    config = {"engine": "impatient", "media_timeout_s": 3.0, "close_timeout_s": 0.5, **values}
    ue = await make_ue(name, plugins=(plugin,), **config)
    ue.media.change = plugin.cuttable
    return ue, plugin


def fall_silent(network: Network) -> None:
    """Have the P-CSCF read no more of what comes; its connections stay open."""
    for flow in network.pcscf._node.endpoint._transport._flows:
        assert flow._stream is not None
        flow._stream.pause_reading()


async def endless(started: asyncio.Event) -> AsyncIterator[bytes]:
    """A file that never ends."""
    while True:
        yield CHUNK
        started.set()


@pytest.mark.clause("TS 33.328 7.2.X", "RFC 9260 8.1")
@network_with("dcmf-vanishes")
async def test_the_dcmf_vanishes_while_the_list_is_fetched(
    ims_network: Network, make_ue: MakeUe
) -> None:
    (alice, _), (bob, _) = [await impatient_ue(make_ue, name) for name in ("alice", "bob")]
    async with asyncio.timeout(SOON_S), a_call(alice, bob) as (session, _):
        assert await session.bootstrap.applications()
        ims_network.vanish_dcmf()
        with pytest.raises((DcsdkError, OSError)):
            await session.bootstrap.applications()
        assert not session.bootstrap.is_available
        closed = await alice.will_be_told(StreamClosed)
        assert closed.line == 0 and isinstance(closed.error, TransportError)
        assert not session.is_ended, "the dialog is not the media"


@pytest.mark.clause("TS 33.328 7.2.X")
@network_with("dcmf-vanishes")
async def test_the_dcmf_vanishes_before_the_handshake(
    ims_network: Network, make_ue: MakeUe
) -> None:
    alice, bob = await make_ue("alice", media_timeout_s=0.3), await make_ue("bob")
    ims_network.vanish_dcmf()
    async with asyncio.timeout(SOON_S):
        calling = asyncio.create_task(alice.client.call(BOB))
        accepting = asyncio.create_task((await bob.next_call()).accept())
        with pytest.raises((TransportError, TimeoutError)):
            await calling
        with pytest.raises((TransportError, TimeoutError)):
            await accepting


@pytest.mark.clause("RFC 9260 8.1", "TS 33.328 7.2.Y")
async def test_the_other_ue_vanishes_in_mid_transfer(make_ue: MakeUe) -> None:
    (alice, _), (bob, bobs) = [await impatient_ue(make_ue, name) for name in ("alice", "bob")]
    async with asyncio.timeout(SOON_S), a_call(alice, bob) as (session, answered):
        sender, receiver = await a_channel(session, answered, "http", label="file")
        started = asyncio.Event()
        sending = asyncio.create_task(
            sender.client.put("http://localhost/file", content=endless(started))
        )
        exchange = await anext(receiver.requests())
        body = exchange.body()
        assert await anext(body)
        bobs.vanishing.vanish()
        with pytest.raises((DcsdkError, OSError)):
            await sending
        with pytest.raises((DcsdkError, OSError)):
            async for _ in body:
                pass
        assert not session.is_ended


@pytest.mark.clause("RFC 5626 4.5", "TS 24.229 5.1.1")
async def test_the_pcscf_vanishes_in_mid_transfer(ims_network: Network, make_ue: MakeUe) -> None:
    """Calls end with the signalling they depend on; the client says that it is lost."""
    alice, bob = await make_ue("alice"), await make_ue("bob")
    async with asyncio.timeout(SOON_S), a_call(alice, bob) as (session, answered):
        sender, receiver = await a_channel(session, answered, "http", label="file")
        started = asyncio.Event()
        sending = asyncio.create_task(
            sender.client.put("http://localhost/file", content=endless(started))
        )
        exchange = await anext(receiver.requests())
        assert await anext(exchange.body())
        await ims_network.pcscf.aclose()
        with pytest.raises((DcsdkError, OSError)):
            await sending
        for end in (session, answered):
            assert "P-CSCF" in await end.wait_ended()
        for ue in (alice, bob):
            assert (await ue.will_be_told(RegistrationLost)).error
            assert "P-CSCF" in (await ue.will_be_told(SessionEnded)).reason


@pytest.mark.clause("TS 24.229 5.1.1.6")
async def test_a_client_closes_in_bounded_time_though_the_network_is_gone(
    ims_network: Network, make_ue: MakeUe
) -> None:
    alice = await make_ue("alice", close_timeout_s=0.2)
    await ims_network.aclose()
    async with asyncio.timeout(SOON_S):
        await alice.client.aclose()
        await alice.client.aclose()


@pytest.mark.clause("RFC 3261 15.1.1", "TS 24.229 5.1.1.6")
@pytest.mark.parametrize("what", ["client", "session"])
async def test_closing_has_one_bound_though_neither_network_nor_media_answer(
    ims_network: Network, make_ue: MakeUe, what: str
) -> None:
    """BYE, associations, REGISTER and the TLS connection: each alone could take all of it."""
    alice, alices = await impatient_ue(make_ue, "alice", close_timeout_s=BOUND_S)
    bob, _ = await impatient_ue(make_ue, "bob")
    session, answered = await dial(alice, bob)
    assert isinstance(session, Session) and isinstance(answered, Session)
    await a_channel(session, answered)
    assert await session.bootstrap.applications()
    fall_silent(ims_network)
    alices.vanishing.vanish()
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    await (session if what == "session" else alice.client).aclose()
    assert loop.time() - started_at < BOUND_S + LATE_S
    assert session.is_ended
    await asyncio.gather(alice.client.aclose(), bob.client.aclose())
    started_at = loop.time()
    await ims_network.aclose()  # the UE is silent to the P-CSCF and to the DCMF
    assert loop.time() - started_at < 2 * CLOSE_TIMEOUT_S + LATE_S


@pytest.mark.clause("RFC 8864 6.6")
async def test_a_channel_opens_while_another_one_is_busy(
    make_ue: MakeUe,
) -> None:
    """A file goes over one channel while another one is being opened."""
    alice, bob = await make_ue("alice"), await make_ue("bob")
    async with a_call(alice, bob) as (session, answered):
        one, other = await a_channel(session, answered, label="first")
        data = b"".join(bytes([number]) * 50_000 for number in range(40))

        async def send() -> None:
            for start in range(0, len(data), 50_000):
                await one.send(data[start : start + 50_000])

        async def receive() -> str:
            digest, size = hashlib.sha256(), 0
            while size < len(data):
                message = await other.receive()
                digest.update(message)
                size += len(message)
            return digest.hexdigest()

        sending, receiving = asyncio.create_task(send()), asyncio.create_task(receive())
        await talk(*await a_channel(answered, session, label="second"))
        await sending
        assert await receiving == hashlib.sha256(data).hexdigest()
