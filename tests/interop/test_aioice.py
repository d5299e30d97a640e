"""Our ICE agent against aioice's: its codec we use, its agent is another one than ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aioice
import pytest

from dcsdk.errors import PeerUnreachable
from dcsdk.ice import Candidate, ConsentLost, IceConfig, IceCredentials, IceDescription, IceEvent
from dcsdk.interfaces import DatagramReceiver
from dcsdk.io.net.ice import IcePath
from dcsdk.sdp.attributes import Attribute

pytestmark = pytest.mark.interop

TIMEOUT_S = 20.0
HOSTS = ["127.0.0.1", "::1"]
DTLS = b"\x17"


class LoopbackConnection(aioice.Connection):
    """aioice on one address, which may be a loopback address; it leaves those out by itself."""

    def __init__(self, host: str, *, ice_controlling: bool) -> None:
        super().__init__(ice_controlling=ice_controlling)
        self._host = host

    async def get_component_candidates(
        self,
        component: int,
        addresses: list[str],
        timeout: int = 5,  # noqa: ASYNC109
    ) -> list[aioice.Candidate]:
        """Gather on our one address."""
        return await super().get_component_candidates(component, [self._host], timeout)


class Sink(DatagramReceiver):
    """Keeps datagrams and lets a test wait for them."""

    def __init__(self) -> None:
        self.datagrams: asyncio.Queue[bytes] = asyncio.Queue()

    def datagrams_received(self, batch: Sequence[tuple[bytes, int]]) -> None:
        """Take the datagrams of a batch one by one."""
        for data, size in batch:
            for start in range(0, len(data), size):
                self.datagrams.put_nowait(data[start : start + size])

    def path_writable(self) -> None:
        """Nothing waits here."""


def their_description(peer: aioice.Connection, *, with_candidates: bool = True) -> IceDescription:
    """Return what aioice would put into SDP, read from that text."""
    lines = [
        Attribute("ice-ufrag", peer.local_username),
        Attribute("ice-pwd", peer.local_password),
    ]
    if with_candidates:
        lines += [Attribute("candidate", item.to_sdp()) for item in peer.local_candidates]
    description = IceDescription.parse(lines)
    assert description is not None
    return description


async def describe(path: IcePath, peer: aioice.Connection) -> None:
    """Tell aioice what our SDP says."""
    ours = path.local_description
    peer.remote_username = ours.credentials.ufrag
    peer.remote_password = ours.credentials.password
    peer.remote_is_lite = ours.is_lite
    for candidate in ours.candidates:
        await peer.add_remote_candidate(aioice.Candidate.from_sdp(str(candidate)))
    await peer.add_remote_candidate(None)


@asynccontextmanager
async def ends(
    host: str, *, they_control: bool, config: IceConfig | None = None
) -> AsyncIterator[tuple[IcePath, Sink, LoopbackConnection]]:
    """Make our path and aioice's connection, not connected yet."""
    path, sink = IcePath.bind(host, config=config), Sink()
    path.attach(sink)
    path.set_remote(path.local_address)
    peer = LoopbackConnection(host, ice_controlling=they_control)
    try:
        await peer.gather_candidates()
        yield path, sink, peer
    finally:
        path.close()
        await peer.close()


async def connect(path: IcePath, peer: LoopbackConnection, *, is_controlling: bool) -> None:
    """Exchange descriptions and wait for both ends."""
    await describe(path, peer)
    path.set_remote_description(their_description(peer))
    path.start(is_controlling=is_controlling)
    async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as group:
        group.create_task(peer.connect())
        group.create_task(path.wait_selected(TIMEOUT_S))


async def check_data(path: IcePath, sink: Sink, peer: LoopbackConnection) -> None:
    """Send datagrams both ways and compare them."""
    datagrams = [DTLS + bytes([number]) * 1199 for number in range(40)]
    path.send(b"".join(datagrams), 1200)
    async with asyncio.timeout(TIMEOUT_S):
        assert [await peer.recv() for _ in datagrams] == datagrams
        for datagram in datagrams:
            await peer.send(datagram)
        assert [await sink.datagrams.get() for _ in datagrams] == datagrams


@pytest.mark.clause("RFC 8445 7", "RFC 8445 8.1.1")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("we_control", [True, False])
async def test_a_pair_is_found_and_carries_data(host: str, we_control: bool) -> None:
    async with ends(host, they_control=not we_control) as (path, sink, peer):
        await connect(path, peer, is_controlling=we_control)
        assert path.is_controlling is we_control
        assert path.selected is not None
        assert path.selected.local[0] == path.selected.remote[0] == host
        await check_data(path, sink, peer)


@pytest.mark.clause("RFC 8445 7.3.1.1", "RFC 8445 7.2.5.1")
@pytest.mark.parametrize("role", [True, False])
async def test_a_role_conflict_is_settled(role: bool) -> None:
    async with ends("127.0.0.1", they_control=role) as (path, sink, peer):
        await connect(path, peer, is_controlling=role)
        assert path.is_controlling is not peer.ice_controlling
        await check_data(path, sink, peer)


@pytest.mark.clause("RFC 8445 2.5", "RFC 8445 6.1.1")
async def test_aioice_finds_our_lite_agent() -> None:
    config = IceConfig(is_lite=True)
    async with ends("127.0.0.1", they_control=True, config=config) as (path, sink, peer):
        await connect(path, peer, is_controlling=False)
        await check_data(path, sink, peer)


@pytest.mark.clause("RFC 8838 11")
@pytest.mark.parametrize("we_control", [True, False])
async def test_candidates_may_come_late(we_control: bool) -> None:
    async with ends("127.0.0.1", they_control=not we_control) as (path, sink, peer):
        path.set_remote_description(their_description(peer, with_candidates=False))
        path.start(is_controlling=we_control)
        ours = path.local_description
        peer.remote_username = ours.credentials.ufrag
        peer.remote_password = ours.credentials.password
        connecting = asyncio.create_task(peer.connect())
        await asyncio.sleep(0)
        late = [Candidate.parse(item.to_sdp()) for item in peer.local_candidates]
        path.add_remote_candidates(late)
        await describe(path, peer)
        async with asyncio.timeout(TIMEOUT_S):
            await connecting
        await path.wait_selected(TIMEOUT_S)
        await check_data(path, sink, peer)


@pytest.mark.clause("RFC 8445 7.3.1.3")
async def test_a_peer_whose_candidates_we_never_hear_of_is_found_by_its_checks() -> None:
    async with ends("127.0.0.1", they_control=True) as (path, sink, peer):
        await describe(path, peer)
        path.set_remote_description(their_description(peer, with_candidates=False))
        path.start(is_controlling=False)
        async with asyncio.timeout(TIMEOUT_S):
            await peer.connect()
        pair = await path.wait_selected(TIMEOUT_S)
        assert pair.remote_candidate.type == "prflx"
        await check_data(path, sink, peer)


@pytest.mark.clause("RFC 7675 5.1")
async def test_consent_is_given_until_aioice_is_gone() -> None:
    config = IceConfig(consent_interval_s=0.02, consent_expiry_s=0.3)
    async with ends("127.0.0.1", they_control=False, config=config) as (path, sink, peer):
        events: asyncio.Queue[IceEvent] = asyncio.Queue()
        await connect(path, peer, is_controlling=True)
        path.on_event = events.put_nowait
        while path.stats()["ice_consent_checks"] < 30:  # twice the time that consent lasts
            await check_data(path, sink, peer)
        assert events.empty()
        await peer.close()
        async with asyncio.timeout(TIMEOUT_S):
            assert isinstance(await events.get(), ConsentLost)
        assert path.selected is None


@pytest.mark.clause("RFC 8489 9.1.3")
async def test_a_wrong_password_leads_nowhere() -> None:
    config = IceConfig(rto_s=0.05, max_transmissions=2, last_wait=1, patience_s=0.3)
    async with ends("127.0.0.1", they_control=False, config=config) as (path, _, peer):
        await describe(path, peer)
        theirs = their_description(peer)
        wrong = IceCredentials(ufrag=theirs.credentials.ufrag, password="x" * 22)
        path.set_remote_description(IceDescription(credentials=wrong, candidates=theirs.candidates))
        path.start(is_controlling=True)
        with pytest.raises(PeerUnreachable):
            await path.wait_selected(TIMEOUT_S)
        assert path.stats()["ice_answers_unsigned"] > 0
