"""Channels opened in band: by both sides, refused, and by peers that break the rules."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.datachannel.channel import DataChannel
from dcsdk.errors import ChannelClosed, LocalProtocolError, RemoteProtocolError
from dcsdk.interfaces import Association, ChannelParameters
from dcsdk.interfaces.channel import ChannelState
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.native_channels import MAX_RESETTING
from dcsdk.plugins.engines.native_dcep import Dcep, encode_open

from .native import STREAM_ID, TIMEOUT_S, End, connected, ends, establish, read, turn

DCEP = 50
ACK = b"\x02"
OPEN = encode_open(ChannelParameters(label="chat", subprotocol="msrp"))


async def opened(end: End) -> DataChannel:
    """Wait for a channel that the other end opened."""
    async with asyncio.timeout(TIMEOUT_S):
        channel: DataChannel = await anext(end.association.incoming_channels())
    return channel


def in_band(end: End, stream_id: int | None = None, **parameters: object) -> DataChannel:
    """Open a channel by DCEP."""
    return end.open(stream_id, is_negotiated=False, **parameters)


def say(end: End, stream_id: int, data: bytes, ppid: int = DCEP) -> None:
    """Send a message as a peer would that keeps to no rule."""
    sctp, driver = end.association._native._sctp, end.association._native._driver
    assert sctp is not None and driver is not None
    sctp.send(stream_id, ppid, data, now=driver.now())
    driver.request_flush()


async def works(one: End, other: End) -> None:
    """Show that the association lives and has room for channels."""
    channel = in_band(one)
    await channel.send("still here")
    assert await read(await opened(other), 1) == ["still here"]


# --- opening --------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8832 5.1", "RFC 8832 6")
@pytest.mark.parametrize("is_ordered", [True, False])
@pytest.mark.parametrize("limit", [{}, {"max_retr": 3}, {"max_retr": 0}, {"max_time_ms": 4000}])
async def test_the_peer_learns_everything_about_a_channel(
    limit: dict[str, int], is_ordered: bool
) -> None:
    async with connected() as (client, server):
        ours = in_band(
            client,
            label="gr\u00fc\u00dfe \u2603",
            subprotocol="msrp",
            is_ordered=is_ordered,
            priority=512,
            **limit,
        )
        theirs = await opened(server)
        for channel in (ours, theirs):
            assert channel.stream_id == 0
            assert (channel.label, channel.subprotocol) == ("gr\u00fc\u00dfe \u2603", "msrp")
            assert (channel.is_ordered, channel.priority) == (is_ordered, 512)
            assert channel.max_retr == limit.get("max_retr")
            assert channel.max_time_ms == limit.get("max_time_ms")
            assert channel.state is ChannelState.OPEN


@pytest.mark.clause("RFC 8832 6")
async def test_the_client_takes_even_ids_and_the_server_odd_ones() -> None:
    async with connected() as (client, server):
        assert [in_band(client).stream_id for _ in range(3)] == [0, 2, 4]
        assert [in_band(server).stream_id for _ in range(3)] == [1, 3, 5]
        assert [(await opened(server)).stream_id for _ in range(3)] == [0, 2, 4]
        assert [(await opened(client)).stream_id for _ in range(3)] == [1, 3, 5]


@pytest.mark.clause("RFC 8832 6")
async def test_ids_agreed_in_sdp_are_stepped_over() -> None:
    async with connected() as (client, server):
        for end in (client, server):
            end.open(0)
        assert in_band(client).stream_id == 2
        assert (await opened(server)).stream_id == 2


@pytest.mark.clause("RFC 8832 6")
async def test_data_follows_the_open_at_once_both_ways() -> None:
    async with connected() as (client, server):
        ours = in_band(client)
        await ours.send("first")
        await ours.send(b"second")
        theirs = await opened(server)
        await theirs.send("third")
        assert await read(theirs, 2) == ["first", b"second"]
        assert await read(ours, 1) == ["third"]


@pytest.mark.clause("RFC 8832 6")
async def test_channel_may_be_opened_while_the_association_begins() -> None:
    async with ends() as (client, server):
        server.start(client)
        client.start(server)
        ours = in_band(client, label="early")
        sending = asyncio.create_task(ours.send("first"))
        theirs = await opened(server)
        assert theirs.label == "early"
        assert await read(theirs, 1) == ["first"]
        await sending


@pytest.mark.clause("RFC 8832 6")
async def test_unordered_channel_is_ordered_until_the_ack() -> None:
    async with connected() as (client, server):
        sctp = client.association._native._sctp
        assert sctp is not None
        sent: list[tuple[int, bool]] = []
        send = sctp.send

        def record(stream_id: int, ppid: int, data: bytes, **options: Any) -> None:
            sent.append((ppid, options.get("is_ordered", True)))
            send(stream_id, ppid, data, **options)

        sctp.send = record  # type: ignore[method-assign]
        ours = in_band(client, is_ordered=False, max_retr=0)
        await ours.send("before")
        theirs = await opened(server)
        await theirs.send("answer")
        assert await read(ours, 1) == ["answer"]
        await ours.send("after")
        assert sent == [(DCEP, True), (51, True), (51, False)]
        assert await read(theirs, 2) == ["before", "after"]


@pytest.mark.clause("RFC 8832 5.1")
async def test_label_and_protocol_of_65535_octets_arrive() -> None:
    label, subprotocol = "\u2603" * 21_845, "x" * 65_535
    async with connected() as (client, server):
        in_band(client, label=label, subprotocol=subprotocol)
        theirs = await opened(server)
        assert (theirs.label, theirs.subprotocol) == (label, subprotocol)


@pytest.mark.clause("RFC 8831 6.7", "RFC 8832 6")
async def test_id_of_a_closed_channel_is_used_again() -> None:
    async with connected() as (client, server):
        for number in range(20):
            ours = in_band(client, label=str(number))
            assert ours.stream_id == 0
            theirs = await opened(server)
            assert theirs.label == str(number)
            await ours.send("bye")
            await ours.aclose(TIMEOUT_S)
            async with asyncio.timeout(TIMEOUT_S):
                assert [message async for message in theirs] == ["bye"]
                await theirs.aclose()
        assert (
            len(client.association._native._channels)
            == len(server.association._native._channels)
            == 0
        )


async def test_iteration_ends_with_the_association() -> None:
    async with connected() as (client, server):
        in_band(client, label="one")
        in_band(client, label="two")
        async with asyncio.timeout(TIMEOUT_S):
            labels = []
            async for channel in server.association.incoming_channels():
                labels.append(channel.label)
                if len(labels) == 2:
                    await client.association.aclose()
        assert labels == ["one", "two"]


# --- refusing -------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8832 6")
async def test_channels_are_refused_where_only_sdp_opens_them() -> None:
    config = EngineConfig(is_dcep_accepted=False)
    async with connected(config=config) as (client, server):
        good = [end.open(STREAM_ID) for end in (client, server)]
        refused = in_band(client)
        with pytest.raises(ChannelClosed, match="refused the channel"):
            await read(refused, 1)
        with pytest.raises(ChannelClosed, match="refused the channel"):
            await refused.send("no")
        assert server.association.stats().dcep_refused == 1
        await good[0].send("still here")
        assert await read(good[1], 1) == ["still here"]


@pytest.mark.clause("RFC 8832 6")
async def test_streams_the_peer_uses_without_a_channel_are_bounded() -> None:
    async with connected() as (client, server):
        table = server.association._native._channels
        for stream_id in range(2000, 2000 + MAX_RESETTING + 100):
            table.refuse_stream(stream_id)
        assert len(table._resetting) == MAX_RESETTING
        async with asyncio.timeout(TIMEOUT_S):
            while table._resetting:
                await turn()
        sctp = server.association._native._sctp
        assert sctp is not None
        assert sctp.sender is not None
        assert not sctp.sender.packetizer.streams
        await works(client, server)


@pytest.mark.clause("D15")
async def test_more_channels_than_allowed_are_refused() -> None:
    async with ends() as (client, server):
        server.association._native._channels._config = EngineConfig(max_channels=2)
        server.start(client)
        client.start(server)
        await establish(client, server)
        channels = [in_band(client) for _ in range(3)]
        with pytest.raises(ChannelClosed, match="refused the channel"):
            await read(channels[2], 1)
        for channel in channels[:2]:
            await channel.send("hello")
            assert await read(await opened(server), 1) == ["hello"]


async def test_channels_nobody_takes_are_bounded() -> None:
    """Opened and closed again and again, while the program takes none."""
    async with connected(config=EngineConfig(max_channels=4)) as (client, server):
        for _ in range(4):
            await in_band(client).aclose(TIMEOUT_S)
        refused = in_band(client)
        with pytest.raises(ChannelClosed, match="refused the channel"):
            await read(refused, 1)
        assert [(await opened(server)).state for _ in range(4)] == [ChannelState.CLOSED] * 4
        await works(client, server)


@pytest.mark.parametrize(
    ("stream_id", "parameters", "reason"),
    [
        (1, {}, "for the peer to open"),
        (STREAM_ID, {}, "is taken"),
        (65_535, {}, "for the peer to open"),
        (65_536, {}, "no stream"),
        (None, {"label": "x" * 65_536}, "65535 octets"),
        (None, {"max_retr": 1, "max_time_ms": 1}, "exclude each other"),
        (None, {"max_retr": 1 << 32}, "out of range"),
    ],
)
async def test_what_cannot_be_opened_is_refused_here(
    stream_id: int | None, parameters: dict[str, Any], reason: str
) -> None:
    async with connected() as (client, server):
        client.open(STREAM_ID)
        with pytest.raises(LocalProtocolError, match=reason):
            in_band(client, stream_id, **parameters)
        await works(client, server)


@pytest.mark.parametrize("stream_id", [None, 4])
async def test_role_must_be_known_to_open_a_channel(stream_id: int | None) -> None:
    async with ends() as (client, _):
        with pytest.raises(LocalProtocolError, match="role is known"):
            in_band(client, stream_id)


def test_engine_without_dcep_says_so() -> None:
    with pytest.raises(LocalProtocolError, match="agreed in SDP only"):
        Association.incoming_channels(None)  # type: ignore[arg-type]


# --- peers that break the rules -------------------------------------------------------------------
def _open(kind: int = 3, channel: int = 0, label: bytes = b"l", extra: int = 0) -> bytes:
    head = struct.pack("!BBHLHH", kind, channel, 256, 0, len(label) + extra, 0)
    return head + label


@pytest.mark.clause("RFC 8832 5.1", "RFC 8832 6", "RFC 8832 8.2")
@pytest.mark.parametrize(
    ("stream_id", "data"),
    [
        pytest.param(2, ACK, id="ACK for an unknown stream"),
        pytest.param(2, ACK + b"\x00", id="ACK with something after it"),
        pytest.param(2, _open(label=b"\xff\xfe"), id="label that is no UTF-8"),
        pytest.param(2, _open(extra=1), id="label longer than the message"),
        pytest.param(2, OPEN + b"\x00", id="something after the protocol"),
        pytest.param(2, OPEN[:11], id="OPEN cut short"),
        pytest.param(2, _open(kind=0), id="message type 0"),
        pytest.param(2, _open(kind=1), id="message type 1"),
        pytest.param(2, _open(kind=255), id="message type 255"),
        pytest.param(2, _open(channel=0x7F), id="channel type 7f"),
        pytest.param(2, _open(channel=0xFF), id="channel type ff"),
        pytest.param(2, _open(channel=3), id="channel type 3"),
        pytest.param(3, OPEN, id="id of the wrong parity"),
    ],
)
async def test_bad_dcep_costs_its_stream_only(stream_id: int, data: bytes) -> None:
    async with connected() as (client, server):
        say(client, stream_id, data)
        await works(client, server)
        assert server.association.stats().dcep_refused == 1


@pytest.mark.clause("RFC 8832 6", "RFC 8831 6.7")
async def test_refused_stream_may_be_opened_well_later() -> None:
    async with connected() as (client, server):
        association = client.association
        assert association._native._sctp is not None and association._native._driver is not None
        is_reset = asyncio.Event()
        association._native._channels.reset_done = (  # type: ignore[method-assign]
            lambda stream_ids, is_performed: is_reset.set()
        )
        say(client, 4, OPEN[:5])
        await works(client, server)
        association._native._sctp.reset_streams((4,), now=association._native._driver.now())
        association._native._driver.request_flush()
        async with asyncio.timeout(TIMEOUT_S):
            await is_reset.wait()
        say(client, 4, OPEN)
        theirs = await opened(server)
        assert (theirs.stream_id, theirs.label) == (4, "chat")


@pytest.mark.clause("RFC 8832 6")
@pytest.mark.parametrize("data", [OPEN, b"\x00", b"\xff" * 40], ids=["OPEN", "type 0", "garbage"])
async def test_second_open_closes_the_channel(data: bytes) -> None:
    async with connected() as (client, server):
        ours = in_band(client)
        theirs = await opened(server)
        say(client, ours.stream_id, data)
        with pytest.raises(RemoteProtocolError, match="DCEP message on a channel that is open"):
            await read(theirs, 1)
        async with asyncio.timeout(TIMEOUT_S):
            assert [message async for message in ours] == []
        await works(client, server)


@pytest.mark.clause("RFC 8864 6.1", "RFC 8832 6")
@pytest.mark.parametrize("data", [OPEN, ACK], ids=["OPEN", "ACK"])
async def test_dcep_on_a_channel_agreed_in_sdp_closes_it(data: bytes) -> None:
    async with connected() as (client, server):
        agreed = [end.open(10) for end in (client, server)]
        say(client, 10, data)
        with pytest.raises(RemoteProtocolError, match="agreed in SDP"):
            await read(agreed[1], 1)
        await works(client, server)


@pytest.mark.clause("RFC 8832 5.2")
async def test_ack_nobody_waits_for_is_harmless() -> None:
    async with connected() as (client, server):
        ours = in_band(client)
        theirs = await opened(server)
        for end in (client, server):
            for _ in range(3):
                say(end, 0, ACK)
        await ours.send("on")
        await theirs.send("and on")
        assert await read(theirs, 1) == ["on"]
        assert await read(ours, 1) == ["and on"]


@pytest.mark.clause("RFC 8831 8")
@pytest.mark.parametrize("ppid", [0, 52, 54, 55, 58, 0xFFFFFFFF])
async def test_reserved_payload_kinds_cost_the_channel_only(ppid: int) -> None:
    async with connected() as (client, server):
        ours = in_band(client)
        theirs = await opened(server)
        say(client, ours.stream_id, b"x", ppid)
        with pytest.raises(RemoteProtocolError, match="payload protocol identifier"):
            await read(theirs, 1)
        await works(client, server)


class _Streams:
    """A channel table that only counts."""

    def __init__(self) -> None:
        self.adopted: list[ChannelParameters] = []
        self.refused: list[int] = []

    def adopt(self, stream_id: int, parameters: ChannelParameters) -> DataChannel:
        self.adopted.append(parameters)
        raise LocalProtocolError("full")

    def send_control(self, channel: DataChannel, data: bytes) -> None:
        raise AssertionError("nothing was adopted")

    def refuse_stream(self, stream_id: int) -> None:
        self.refused.append(stream_id)

    def acknowledged(self, channel: DataChannel) -> None:
        raise AssertionError("nothing was opened")


@pytest.mark.clause("RFC 8832 6")
@given(data=st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: b"\x03\x00" + rest))
def test_any_octets_are_an_open_or_refused(data: bytes) -> None:
    streams = _Streams()
    dcep = Dcep(streams, is_accepted=True, limit=4)
    dcep.role = "server"
    with suppress(KeyError):
        dcep.received(6, data)
    assert streams.refused == [6]
    assert dcep.refused == 1
    for parameters in streams.adopted:
        assert encode_open(parameters)[:4] == data[:4]
