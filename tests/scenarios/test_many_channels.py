"""Channels that come and go, one after the other, for the whole life of a call."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from dcsdk import UnsupportedByPeer
from dcsdk.emulator import Network
from tests.scenarios.calls import a_call, a_channel, line_of, messages, next_request, talk
from tests.scenarios.conftest import MakeUe


@pytest.mark.clause("RFC 8864 6.6.1", "D15")
async def test_more_channels_than_the_bound_one_after_the_other(
    ims_network: Network, make_ue: MakeUe
) -> None:
    profile = dataclasses.replace(ims_network.config.profile, max_channels=3)
    alice, bob = [await make_ue(name, profile=profile) for name in ("alice", "bob")]
    async with a_call(alice, bob) as (session, answered):
        for number in range(6):
            opener, other = (session, answered) if number % 2 else (answered, session)
            one, two = await a_channel(opener, other, label=str(number))
            await one.send("hello")
            assert await two.receive() == "hello"
            await one.aclose()
            assert [message async for message in two] == []
        last = await a_channel(session, answered, label="last")
        await talk(*last)
        assert session.streams[1].app.stream_ids == (last[0].stream_id,)
        offer = list(messages(ims_network, "alice", "P-CSCF", "INVITE"))[-1]
        assert len(line_of(offer, 1).dcmaps) == 1


@pytest.mark.clause("D15", "RFC 8864 6.3")
async def test_channels_beyond_the_bound_are_left_out_of_the_answer(
    ims_network: Network, make_ue: MakeUe
) -> None:
    profile = dataclasses.replace(ims_network.config.profile, max_channels=2)
    alice, bob = await make_ue("alice"), await make_ue("bob", profile=profile)
    async with a_call(alice, bob) as (session, answered):
        pairs = [await a_channel(session, answered, label=name) for name in ("one", "two")]
        with pytest.raises(UnsupportedByPeer):
            await session.open(label="three")
        for pair in pairs:
            await talk(*pair)


@pytest.mark.clause("RFC 3264 8.1")
async def test_the_place_of_a_refused_line_is_used_again(
    ims_network: Network, make_ue: MakeUe
) -> None:
    alice, bob = await make_ue("alice"), await make_ue("bob")
    async with a_call(alice, bob) as (session, answered):
        for opener, other in ((session, answered), (answered, session), (session, answered)):
            opening = asyncio.create_task(opener.open(label="unwanted"))
            (await next_request(other)).refuse()
            with pytest.raises(UnsupportedByPeer):
                await opening
        await talk(*await a_channel(session, answered, label="wanted"))
        assert [stream.index for stream in session.streams] == [0, 1]
