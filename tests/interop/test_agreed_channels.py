"""Every real peer, on channels agreed beforehand: both directions, both DTLS roles."""

from __future__ import annotations

import asyncio

import pytest

from dcsdk.errors import FingerprintMismatch, MessageTooLarge

from .connecting import (
    ANSWER_ACTIVE,
    EACH_ROLE,
    EVERY_WAY,
    STREAM_ID,
    TIMEOUT_S,
    Way,
    agreed_channel,
    connect,
    connected_by,
    every_peer,
    exchange,
    receive,
    send_all,
    sizes_both_ways,
)
from .messages import TEXTS, digests
from .peer_kinds import NODE_DATACHANNEL, Fault, Peer
from .peer_link import PeerLink
from .peer_process import PeerConnection

pytestmark = pytest.mark.interop

LAST_BYTES = 100_000


@pytest.mark.clause("RFC 8261 6.1", "RFC 8842 5.2", "RFC 8864 6")
@every_peer
@connected_by(*EVERY_WAY)
async def test_every_message_arrives_whole(peer: Peer, way: Way) -> None:
    async with agreed_channel(peer, way) as both:
        await exchange(both.ours, both.theirs, *sizes_both_ways(peer, both.link))


@pytest.mark.clause("RFC 9653 5.2")
@pytest.mark.parametrize("peer", [NODE_DATACHANNEL], indirect=True, ids=[NODE_DATACHANNEL.name])
@connected_by(*EACH_ROLE)
async def test_messages_cross_without_a_checksum_where_the_peer_takes_them(
    peer: Peer, way: Way
) -> None:
    async with agreed_channel(peer, way) as both:
        sctp = both.link.association.stats().sctp
        assert sctp is not None and sctp.is_zero_checksum
        await exchange(both.ours, both.theirs, *sizes_both_ways(peer, both.link))
        sctp = both.link.association.stats().sctp
        assert sctp is not None and sctp.packets_dropped == 0


@pytest.mark.clause("RFC 8841 6")
@every_peer
@connected_by(ANSWER_ACTIVE)
async def test_message_larger_than_the_peer_takes_is_not_sent(peer: Peer, way: Way) -> None:
    async with agreed_channel(peer, way) as both:
        limit = both.link.remote_max_message_size
        assert limit > 0
        with pytest.raises(MessageTooLarge):
            await both.ours.send(bytes(limit + 1))
        await both.ours.send(bytes(limit))
        assert await both.theirs.receive(1) == digests([bytes(limit)])


@pytest.mark.clause("RFC 8831 8")
@every_peer
@connected_by(*EACH_ROLE)
async def test_text_binary_and_empty_messages_keep_their_kind(peer: Peer, way: Way) -> None:
    messages: list[str | bytes] = [*TEXTS, b"\x00\xff", "", b"", b"end"]
    texts, sizes = TEXTS, [0, 1, 0, 2]
    if Fault.HOLDS_EMPTY in peer.kind.faults:
        texts, sizes = [text for text in texts if text], [1, 2]
    async with agreed_channel(peer, way) as both:
        await send_all(both.ours, messages)
        assert await both.theirs.receive(len(messages)) == digests(messages)
        sent = await both.theirs.send_texts(texts) + await both.theirs.send(sizes)
        assert await receive(both.ours, len(sent)) == sent
        assert [item.kind for item in sent] == ["text"] * len(texts) + ["binary"] * len(sizes)


@pytest.mark.clause("RFC 8831 6.7")
@every_peer
@connected_by(*EACH_ROLE)
async def test_channel_we_close_closes_at_the_peer(peer: Peer, way: Way) -> None:
    async with agreed_channel(peer, way) as both:
        await both.ours.send("last words")
        await both.ours.aclose()
        assert await both.theirs.receive(1) == digests(["last words"])
        await both.theirs.closed()


@pytest.mark.clause("RFC 8831 6.7")
@every_peer
@connected_by(*EACH_ROLE)
async def test_channel_the_peer_closes_ends_the_reading(peer: Peer, way: Way) -> None:
    async with agreed_channel(peer, way) as both:
        sent = await both.theirs.send_texts(["last words"])
        assert await receive(both.ours, 1) == sent
        await both.theirs.close()
        assert [message async for message in both.ours] == []


@pytest.mark.clause("RFC 8831 6.7", "RFC 6525 5.1.2")
@every_peer
@connected_by(ANSWER_ACTIVE)
async def test_message_right_before_the_close_is_read(peer: Peer, way: Way) -> None:
    async with agreed_channel(peer, way) as both:
        await asyncio.gather(both.theirs.send([LAST_BYTES]), both.theirs.close())
        assert [len(message) async for message in both.ours] == [LAST_BYTES]


@pytest.mark.clause("RFC 9260 6.2")
@every_peer
@connected_by(ANSWER_ACTIVE)
async def test_nothing_is_lost_while_nobody_reads(peer: Peer, way: Way) -> None:
    """More than the receive window is sent before the first read."""
    sizes = [65_536] * 96
    async with agreed_channel(peer, way) as both:
        sent = await both.theirs.send(sizes)
        assert await receive(both.ours, len(sizes)) == sent


@pytest.mark.clause("RFC 8122 5")
@every_peer
@connected_by(*EACH_ROLE)
async def test_peer_with_another_certificate_is_refused(peer: Peer, way: Way) -> None:
    async with (
        asyncio.timeout(TIMEOUT_S),
        await PeerConnection.create(peer.process) as theirs,
        PeerLink.create(is_ice=peer.kind.is_ice, is_peer_known=False) as link,
    ):
        await theirs.open("agreed", negotiated=True, id=STREAM_ID)
        with pytest.raises(FingerprintMismatch):
            await connect(link, theirs, way)
