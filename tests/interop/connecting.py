"""The ways a real peer and our engine are connected, and messages sent over such a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from dcsdk.datachannel.channel import DataChannel
from dcsdk.interfaces import ChannelParameters, DtlsRole
from dcsdk.sdp.attributes import Setup

from .messages import Digest, digest, digests, sample, sizes_up_to
from .peer_kinds import KINDS, Peer
from .peer_link import PeerLink
from .peer_process import PeerChannel, PeerConnection

TIMEOUT_S = 30.0
"""Bound on one connection; what it does takes a second or two."""

STREAM_ID = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to connect.

    Attributes:
        name: for the test's id.
        is_ours: the offer is ours.
        setup: what we offer, or prefer in our answer.
        role: ours in DTLS, then.
    """

    name: str
    is_ours: bool
    setup: Setup
    role: DtlsRole


OFFER_ACTPASS = Way(name="we-offer-server", is_ours=True, setup=Setup.ACTPASS, role="server")
OFFER_ACTIVE = Way(name="we-offer-client", is_ours=True, setup=Setup.ACTIVE, role="client")
ANSWER_ACTIVE = Way(name="we-answer-client", is_ours=False, setup=Setup.ACTIVE, role="client")
ANSWER_PASSIVE = Way(name="we-answer-server", is_ours=False, setup=Setup.PASSIVE, role="server")

EVERY_WAY = (OFFER_ACTPASS, OFFER_ACTIVE, ANSWER_ACTIVE, ANSWER_PASSIVE)
EACH_ROLE = (OFFER_ACTPASS, ANSWER_ACTIVE)

every_peer = pytest.mark.parametrize(
    "peer", KINDS, indirect=True, ids=[kind.name for kind in KINDS]
)
"""Run a test with every real peer."""


def connected_by(*ways: Way) -> pytest.MarkDecorator:
    """Run a test once for each of these ways."""
    return pytest.mark.parametrize("way", ways, indirect=True, ids=[way.name for way in ways])


async def connect(link: PeerLink, peer: PeerConnection, way: Way) -> None:
    """Exchange offer and answer, and wait until the association is up."""
    if way.is_ours:
        link.accept(await peer.answer(link.offer(way.setup)))
    else:
        await peer.accept(link.answer(await peer.offer(), way.setup))
    assert link.role == way.role
    await link.association.wait_established(TIMEOUT_S)


@asynccontextmanager
async def both_ends(peer: Peer, **options: Any) -> AsyncIterator[tuple[PeerLink, PeerConnection]]:
    """Make both ends of a connection, not connected yet.

    Args:
        peer: the other end's.
        options: for it, only what it knows.
    """
    async with (
        asyncio.timeout(TIMEOUT_S),
        await PeerConnection.create(peer.process, **options) as theirs,
        PeerLink.create(is_ice=peer.kind.is_ice) as link,
    ):
        yield link, theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """One channel whose id both ends know beforehand, as ``a=dcmap`` says it.

    Attributes:
        link: our end of the connection.
        connection: the peer's.
        ours: our end of the channel.
        theirs: the peer's.
    """

    link: PeerLink
    connection: PeerConnection
    ours: DataChannel
    theirs: PeerChannel


@asynccontextmanager
async def agreed_channel(peer: Peer, way: Way, **options: Any) -> AsyncIterator[Agreed]:
    """Connect, with one channel of a fixed id."""
    async with both_ends(peer, **options) as (link, connection):
        ours = link.association.open_channel(
            ChannelParameters(stream_id=STREAM_ID, label="agreed", subprotocol="http")
        )
        theirs = await connection.open("agreed", negotiated=True, id=STREAM_ID, protocol="http")
        await connect(link, connection, way)
        await theirs.opened()
        yield Agreed(link=link, connection=connection, ours=ours, theirs=theirs)


async def send_all(channel: DataChannel, messages: Iterable[str | bytes]) -> None:
    """Send messages, one after the other."""
    for message in messages:
        await channel.send(message)


async def receive(channel: DataChannel, count: int) -> list[Digest]:
    """Return the digests of the next messages."""
    return [digest(await channel.receive()) for _ in range(count)]


async def exchange(
    ours: DataChannel, theirs: PeerChannel, sizes_out: Sequence[int], sizes_in: Sequence[int]
) -> None:
    """Send both ways at once; what arrives is what was sent."""
    messages = [sample(size) for size in sizes_out]
    async with asyncio.TaskGroup() as group:
        group.create_task(send_all(ours, messages))
        sent = group.create_task(theirs.send(sizes_in))
        arrived_there = group.create_task(theirs.receive(len(messages)))
        arrived_here = group.create_task(receive(ours, len(sizes_in)))
    assert arrived_there.result() == digests(messages)
    assert arrived_here.result() == sent.result()
    assert [item.size for item in sent.result()] == list(sizes_in)


def sizes_both_ways(peer: Peer, link: PeerLink) -> tuple[list[int], list[int]]:
    """Return sizes of messages that the peer takes, and of those that it sends."""
    return sizes_up_to(link.remote_max_message_size), sizes_up_to(peer.kind.largest_sent)
