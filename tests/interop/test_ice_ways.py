"""Every real peer that speaks ICE: our agent full or lite, on IPv6, and restarted by the peer."""

from __future__ import annotations

import asyncio

import pytest

from dcsdk.ice.config import IceConfig
from dcsdk.interfaces import ChannelParameters

from .connecting import (
    ANSWER_ACTIVE,
    EACH_ROLE,
    STREAM_ID,
    TIMEOUT_S,
    Way,
    connect,
    connected_by,
    exchange,
)
from .peer_kinds import CHROMIUM_PEER, KINDS, NODE_DATACHANNEL, Peer
from .peer_link import PeerLink
from .peer_process import PeerConnection

pytestmark = pytest.mark.interop

SIZES = [1, 1_172, 65_536, 262_144]
ICE_KINDS = [kind for kind in KINDS if kind.is_ice]
every_ice_peer = pytest.mark.parametrize(
    "peer", ICE_KINDS, indirect=True, ids=[kind.name for kind in ICE_KINDS]
)


@pytest.mark.clause("RFC 8445 2.5", "RFC 8445 6.1.1")
@every_ice_peer
@connected_by(*EACH_ROLE)
async def test_messages_cross_when_our_agent_is_lite(peer: Peer, way: Way) -> None:
    async with (
        asyncio.timeout(TIMEOUT_S),
        await PeerConnection.create(peer.process) as connection,
        PeerLink.create(ice=IceConfig(is_lite=True)) as link,
    ):
        ours = link.association.open_channel(ChannelParameters(stream_id=STREAM_ID))
        theirs = await connection.open("", negotiated=True, id=STREAM_ID)
        await connect(link, connection, way)
        await theirs.opened()
        await exchange(ours, theirs, SIZES, SIZES)


@pytest.mark.clause("RFC 8421 4", "RFC 8445 5.1.1.1")
@pytest.mark.parametrize("peer", [NODE_DATACHANNEL], indirect=True, ids=["node-datachannel"])
@connected_by(*EACH_ROLE)
async def test_messages_cross_over_ipv6(peer: Peer, way: Way) -> None:
    async with (
        asyncio.timeout(TIMEOUT_S),
        await PeerConnection.create(peer.process, bindAddress="::1") as connection,
        PeerLink.create("::1") as link,
    ):
        ours = link.association.open_channel(ChannelParameters(stream_id=STREAM_ID))
        theirs = await connection.open("", negotiated=True, id=STREAM_ID)
        await connect(link, connection, way)
        await theirs.opened()
        await exchange(ours, theirs, SIZES, SIZES)
        assert link.local_address[0] == "::1"


@pytest.mark.clause("RFC 8445 9", "RFC 8839 4.4.3")
@pytest.mark.parametrize("peer", [CHROMIUM_PEER], indirect=True, ids=["chromium"])
@connected_by(ANSWER_ACTIVE)
async def test_channel_lives_on_when_the_peer_restarts_ice(peer: Peer, way: Way) -> None:
    async with (
        asyncio.timeout(TIMEOUT_S),
        await PeerConnection.create(peer.process) as connection,
        PeerLink.create() as link,
    ):
        ours = link.association.open_channel(ChannelParameters(stream_id=STREAM_ID))
        theirs = await connection.open("", negotiated=True, id=STREAM_ID)
        await connect(link, connection, way)
        await theirs.opened()
        async with asyncio.TaskGroup() as group:
            group.create_task(exchange(ours, theirs, SIZES, SIZES))
            offer = await connection.offer(is_restart=True)
            await connection.accept(link.answer_again(offer))
        await link.wait_new_pair()
        await exchange(ours, theirs, SIZES, SIZES)
