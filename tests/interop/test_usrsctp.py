"""What only usrsctp can show: interleaved messages, limited reliability and lossy ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dcsdk.datachannel.channel import DataChannel
from dcsdk.interfaces import ChannelParameters
from dcsdk.sdp.attributes import Setup

from .connecting import (
    EACH_ROLE,
    OFFER_ACTPASS,
    TIMEOUT_S,
    Agreed,
    Way,
    agreed_channel,
    both_ends,
    connected_by,
    exchange,
    send_all,
)
from .messages import LARGEST, Digest, digests, sample
from .peer_kinds import USRSCTP, Peer
from .peer_link import PeerLink
from .peer_process import PeerChannel, PeerConnection
from .relay import Relay, lossy_relay

pytestmark = [
    pytest.mark.interop,
    pytest.mark.parametrize("peer", [USRSCTP], indirect=True, ids=["usrsctp"]),
]

URGENT = 40
LOSS, HEAVY_LOSS = 0.03, 0.2
LOST = 10
SIZES = [1, 1_172, 16_384, 262_144, LARGEST]


async def pair(
    both: Agreed, stream_id: int, *, priority: int = 256
) -> tuple[DataChannel, PeerChannel]:
    """Make one more channel of an id that both ends know."""
    ours = both.link.association.open_channel(
        ChannelParameters(stream_id=stream_id, priority=priority)
    )
    return ours, await both.connection.open("", negotiated=True, id=stream_id)


async def is_interleaving(both: Agreed) -> bool:
    """Ask the peer whether user data travels as I-DATA."""
    return bool((await both.theirs.info())["interleaving"])


@pytest.mark.clause("RFC 8260 2.2.1")
@pytest.mark.parametrize("is_offered", [True, False], ids=["i-data", "data"])
@connected_by(*EACH_ROLE)
async def test_messages_are_interleaved_when_both_ends_can(
    peer: Peer, way: Way, is_offered: bool
) -> None:
    async with agreed_channel(peer, way, interleaving=is_offered) as both:
        assert await is_interleaving(both) == is_offered
        await exchange(both.ours, both.theirs, SIZES, SIZES)


@pytest.mark.clause("RFC 8260 1", "RFC 8831 6.4")
@connected_by(OFFER_ACTPASS)
async def test_urgent_message_overtakes_a_large_one_to_usrsctp(peer: Peer, way: Way) -> None:
    async with agreed_channel(peer, way) as both:
        ours, theirs = await pair(both, URGENT, priority=1_024)
        large = sample(LARGEST)
        await both.ours.send(large)
        await ours.send("urgent")
        assert await both.theirs.receive(1) == digests([large])
        assert await theirs.receive(1) == digests(["urgent"])
        assert (await theirs.info())["arrived"] < (await both.theirs.info())["arrived"]


@pytest.mark.clause("RFC 8260 1")
@connected_by(OFFER_ACTPASS)
async def test_small_message_of_usrsctp_overtakes_a_large_one(peer: Peer, way: Way) -> None:
    async with agreed_channel(peer, way) as both:
        ours, theirs = await pair(both, URGENT)
        arrived: list[int] = []

        async def note(channel: DataChannel) -> int:
            size = len(await channel.receive())
            arrived.append(size)
            return size

        sent = asyncio.gather(both.theirs.send([LARGEST]), theirs.send([10]))
        await asyncio.gather(note(both.ours), note(ours), sent)
        assert arrived == [10, LARGEST]


@asynccontextmanager
async def over_a_relay(
    peer: Peer, **options: Any
) -> AsyncIterator[tuple[PeerLink, PeerConnection, Relay]]:
    """Connect through a relay that loses nothing yet."""
    async with lossy_relay() as relay, both_ends(peer, **options) as (link, connection):
        offer = relay.sdp_for_us(await connection.offer())
        await connection.accept(relay.sdp_for_them(link.answer(offer, Setup.ACTIVE)))
        await link.association.wait_established(TIMEOUT_S)
        yield link, connection, relay


@pytest.mark.clause("RFC 9260 6.3", "RFC 9260 7.2.4")
async def test_every_message_arrives_whole_over_a_lossy_way(peer: Peer) -> None:
    async with over_a_relay(peer) as (link, connection, relay):
        ours = link.association.open_channel(ChannelParameters(stream_id=10))
        theirs = await connection.open("", negotiated=True, id=10)
        losing = asyncio.create_task(relay.lose(LOSS, LOST))
        await exchange(ours, theirs, SIZES, SIZES)
        await losing


@pytest.mark.clause("RFC 3758 3.5", "RFC 7496 3", "RFC 8260 2.3.1")
@pytest.mark.parametrize("is_interleaved", [True, False], ids=["i-data", "data"])
@pytest.mark.parametrize("is_ordered", [True, False], ids=["ordered", "unordered"])
async def test_messages_given_up_hold_up_nothing(
    peer: Peer, is_ordered: bool, is_interleaved: bool
) -> None:
    """Both sides send without retransmissions: what arrives is whole, and in order if asked for."""
    messages = [sample(50 + 13 * number) for number in range(300)]
    sizes = [len(message) for message in messages]
    async with over_a_relay(peer, interleaving=is_interleaved) as (link, connection, relay):
        channels = [
            (
                link.association.open_channel(
                    ChannelParameters(stream_id=number, is_ordered=is_ordered, max_retr=0)
                ),
                await connection.open(
                    "", negotiated=True, id=number, ordered=is_ordered, maxRetransmits=0
                ),
            )
            for number in (10, 12)
        ]
        (ours_out, theirs_out), (ours_in, theirs_in) = channels
        losing = asyncio.create_task(relay.lose(HEAVY_LOSS, LOST))
        await send_all(ours_out, messages)
        sent = await theirs_in.send(sizes)
        await losing
        await asyncio.gather(ours_out.aclose(TIMEOUT_S), theirs_out.closed(), theirs_in.close())
        arrived = digests([message async for message in ours_in])
        assert_part_of(arrived, sent, is_ordered)
        assert_part_of(await theirs_out.drain(), digests(messages), is_ordered)
        last = link.association.open_channel(ChannelParameters(stream_id=14))
        await exchange(last, await connection.open("", negotiated=True, id=14), SIZES, SIZES)


def assert_part_of(arrived: list[Digest], sent: list[Digest], is_ordered: bool) -> None:
    """Some but not all of the messages arrived, each once."""
    assert 0 < len(arrived) < len(sent)
    assert len(set(arrived)) == len(arrived)
    places = [sent.index(item) for item in arrived]
    if is_ordered:
        assert places == sorted(places)
