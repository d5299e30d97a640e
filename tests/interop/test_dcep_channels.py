"""Every real peer, on channels opened in band (RFC 8832) by either side."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from dcsdk.datachannel.channel import DataChannel
from dcsdk.interfaces import ChannelParameters
from dcsdk.interfaces.channel import ChannelState

from .connecting import (
    ANSWER_ACTIVE,
    ANSWER_PASSIVE,
    EACH_ROLE,
    EVERY_WAY,
    TIMEOUT_S,
    Way,
    agreed_channel,
    both_ends,
    connect,
    connected_by,
    every_peer,
    exchange,
    receive,
    sizes_both_ways,
)
from .messages import digests
from .peer_kinds import Fault, Peer
from .peer_link import PeerLink
from .peer_process import PeerChannel

pytestmark = pytest.mark.interop

SOME_SIZES = [1, 1_172, 16_384, 65_536]
MANY = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Parameters of a channel, and how they are said on both sides.

    Attributes:
        name: for the test's id.
        ours: as our engine has them.
        theirs: as ``RTCDataChannelInit`` of the W3C has them.
    """

    name: str
    ours: dict[str, Any]
    theirs: dict[str, Any]


RELIABLE = Kind(name="reliable", ours={}, theirs={})
RETRANSMITS = Kind(
    name="unordered-max-retr",
    ours={"is_ordered": False, "max_retr": 3},
    theirs={"ordered": False, "maxRetransmits": 3},
)
LIFETIME = Kind(name="max-time", ours={"max_time_ms": 9_000}, theirs={"maxPacketLifeTime": 9_000})
DEFAULTS = {"ordered": True, "maxRetransmits": None, "maxPacketLifeTime": None}

each_kind = pytest.mark.parametrize(
    "kind", [RELIABLE, RETRANSMITS, LIFETIME], ids=lambda kind: kind.name
)


async def incoming(link: PeerLink) -> DataChannel:
    """Wait for a channel that the peer opened."""
    async with asyncio.timeout(TIMEOUT_S):
        channel: DataChannel = await anext(link.association.incoming_channels())
    return channel


def expect_failure_by(peer: Peer, fault: Fault) -> None:
    """End the test here when the peer has this fault."""
    if fault in peer.kind.faults:
        pytest.xfail(f"{peer.kind.name} {fault.value}")


def label_for(peer: Peer) -> str:
    """Return a label that is no ASCII, where the peer counts octets."""
    return "greetings" if Fault.COUNTS_CHARACTERS in peer.kind.faults else "gr\u00fc\u00dfe \u2603"


@pytest.mark.clause("RFC 8832 5.1", "RFC 8832 6")
@every_peer
@connected_by(*EVERY_WAY)
async def test_every_message_of_a_channel_we_open_arrives_whole(peer: Peer, way: Way) -> None:
    async with agreed_channel(peer, way) as both:
        ours = both.link.association.open_channel(
            ChannelParameters(label="ours", is_negotiated=False)
        )
        theirs, info = await both.connection.incoming()
        assert (info["label"], info["id"]) == ("ours", ours.stream_id)
        assert ours.stream_id % 2 == (0 if way.role == "client" else 1)
        await exchange(ours, theirs, *sizes_both_ways(peer, both.link))


@pytest.mark.clause("RFC 8832 5.1", "RFC 8832 6")
@every_peer
@connected_by(*EVERY_WAY)
async def test_every_message_of_a_channel_the_peer_opens_arrives_whole(
    peer: Peer, way: Way
) -> None:
    if way is ANSWER_PASSIVE:
        expect_failure_by(peer, Fault.IDS_BY_ICE_ROLE)
    async with agreed_channel(peer, way) as both:
        theirs = await both.connection.open("theirs", protocol="http")
        ours = await incoming(both.link)
        await theirs.opened()
        assert (ours.label, ours.subprotocol) == ("theirs", "http")
        assert ours.stream_id % 2 == (1 if way.role == "client" else 0)
        assert (await theirs.info())["id"] == ours.stream_id
        await exchange(ours, theirs, *sizes_both_ways(peer, both.link))


@pytest.mark.clause("RFC 8832 6")
@every_peer
@connected_by(*EACH_ROLE)
async def test_channel_the_peer_opens_before_it_is_connected(peer: Peer, way: Way) -> None:
    async with both_ends(peer) as (link, connection):
        theirs = await connection.open("theirs")
        await connect(link, connection, way)
        ours = await incoming(link)
        await theirs.opened()
        await exchange(ours, theirs, SOME_SIZES, SOME_SIZES)


@pytest.mark.clause("RFC 8832 5.1")
@every_peer
@connected_by(*EACH_ROLE)
@each_kind
async def test_peer_learns_everything_about_a_channel_we_open(
    peer: Peer, way: Way, kind: Kind
) -> None:
    label = label_for(peer)
    async with agreed_channel(peer, way) as both:
        ours = both.link.association.open_channel(
            ChannelParameters(
                label=label, subprotocol="msrp", is_negotiated=False, priority=512, **kind.ours
            )
        )
        await ours.send("right behind the OPEN")
        theirs, info = await both.connection.incoming()
        assert (info["label"], info["protocol"]) == (label, "msrp")
        for name, value in {**DEFAULTS, **kind.theirs}.items():
            assert info.get(name, value) == value  # not every stack says it
        assert await theirs.receive(1) == digests(["right behind the OPEN"])
        await exchange(ours, theirs, SOME_SIZES, SOME_SIZES)


@pytest.mark.clause("RFC 8832 5.1")
@every_peer
@connected_by(*EACH_ROLE)
@each_kind
async def test_we_learn_everything_about_a_channel_the_peer_opens(
    peer: Peer, way: Way, kind: Kind
) -> None:
    if kind is RETRANSMITS:
        expect_failure_by(peer, Fault.FORGETS_UNORDERED)
    label = label_for(peer)
    async with agreed_channel(peer, way) as both:
        theirs = await both.connection.open(label, protocol="msrp", **kind.theirs)
        ours = await incoming(both.link)
        await theirs.opened()
        assert (ours.label, ours.subprotocol) == (label, "msrp")
        assert ours.is_ordered == kind.ours.get("is_ordered", True)
        assert ours.max_retr == kind.ours.get("max_retr")
        assert ours.max_time_ms == kind.ours.get("max_time_ms")
        await exchange(ours, theirs, SOME_SIZES, SOME_SIZES)


@pytest.mark.clause("RFC 8832 6", "RFC 8831 6.7")
@every_peer
@connected_by(*EACH_ROLE)
async def test_ids_of_closed_channels_are_used_again(peer: Peer, way: Way) -> None:
    async with agreed_channel(peer, way) as both:
        used = set()
        for number in range(5):
            ours = both.link.association.open_channel(
                ChannelParameters(label=str(number), is_negotiated=False)
            )
            used.add(ours.stream_id)
            theirs, info = await both.connection.incoming()
            assert info["label"] == str(number)
            await exchange(ours, theirs, [1_000], [1_000])
            await ours.aclose(TIMEOUT_S)
            assert ours.state is ChannelState.CLOSED
            await theirs.closed()
        assert len(used) == 1


@pytest.mark.clause("RFC 8832 6", "RFC 8831 6.7")
@every_peer
@connected_by(ANSWER_ACTIVE)
async def test_channel_the_peer_opened_and_closed_is_gone(peer: Peer, way: Way) -> None:
    async with agreed_channel(peer, way) as both:
        for number in range(5):
            theirs = await both.connection.open(str(number))
            ours = await incoming(both.link)
            assert ours.label == str(number)
            await theirs.opened()
            await exchange(ours, theirs, [1_000], [1_000])
            await theirs.close()
            assert [message async for message in ours] == []
            await ours.aclose(TIMEOUT_S)
            assert ours.state is ChannelState.CLOSED
            await theirs.closed()


@pytest.mark.clause("RFC 8832 6")
@every_peer
@connected_by(ANSWER_ACTIVE)
async def test_many_channels_opened_by_both_sides_at_once(peer: Peer, way: Way) -> None:
    async with agreed_channel(peer, way) as both:
        opened_here = {
            str(number): both.link.association.open_channel(
                ChannelParameters(label=str(number), is_negotiated=False)
            )
            for number in range(0, MANY, 2)
        }
        opened_there: dict[str, PeerChannel] = {
            str(number): await both.connection.open(str(number)) for number in range(1, MANY, 2)
        }
        pairs: list[tuple[DataChannel, PeerChannel]] = []
        for _ in list(opened_here):
            theirs, info = await both.connection.incoming()
            pairs.append((opened_here.pop(info["label"]), theirs))
        for _ in list(opened_there):
            ours = await incoming(both.link)
            pairs.append((ours, opened_there.pop(ours.label)))
        assert len({ours.stream_id for ours, _ in pairs}) == MANY
        for ours, theirs in pairs:
            await theirs.opened()
            await exchange(ours, theirs, [2_000], [2_000])
        sent = await asyncio.gather(*(theirs.send([5_000]) for _, theirs in pairs))
        assert [await receive(ours, 1) for ours, _ in pairs] == list(sent)
