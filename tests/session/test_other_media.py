"""A third party's medium beside data channels: the session knows neither."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import patch

import pytest

from dcsdk import (
    CallRejected,
    ChannelParameters,
    DataChannels,
    LocalProtocolError,
    NegotiationError,
    SecurityScope,
    Session,
    TransportError,
    UnsupportedByPeer,
)
from dcsdk.datachannel.channel import DataChannel
from dcsdk.io.secure.dtls_transport import DtlsTransport
from dcsdk.sdp.session import SessionDescription

from ..memory_clients import a_client, a_pair, dialog_of, offer_of
from ..memory_signalling import Switchboard
from .ping import Ping, PingPlugin

PLUGINS = (PingPlugin(),)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Session, Session]]:
    """A call with pings: alice's say ``here``, bob's ``there``."""
    media, takes = [Ping(word="here")], [Ping(word="there")]
    async with (
        asyncio.timeout(20),
        a_pair(Switchboard(), media, takes=takes, plugins=PLUGINS) as both,
    ):
        yield both


def ping_of(session: Session) -> Any:
    return next(stream.app for stream in session.streams if stream.kind == "ping")


async def both_ways(session: Session, answered: Session) -> None:
    assert await ping_of(session).ask() == ping_of(answered).word
    assert await ping_of(answered).ask() == ping_of(session).word


async def channel(opener: Session, other: Session) -> tuple[DataChannel, DataChannel]:
    opening = asyncio.create_task(opener.open(label="beside"))
    theirs = await (await anext(other.incoming())).accept()
    return await opening, theirs


async def test_a_call_carries_the_medium_both_ways_with_a_key_of_the_handshake(
    pair: tuple[Session, Session],
) -> None:
    session, answered = pair
    assert ping_of(answered).word == "there" and ping_of(session).remote_word == "there"
    await both_ways(session, answered)
    (stream,) = session.streams
    assert (stream.index, stream.kind) == (0, "ping")
    assert stream.security.backend == "dtls_ping"
    assert stream.security.scope is SecurityScope.NETWORK_DECIDES
    assert stream.stats().path.bytes_sent > 0


async def test_an_incoming_call_tells_what_each_line_is_before_it_is_accepted() -> None:
    board = Switchboard()
    async with (
        asyncio.timeout(20),
        a_client(board, plugins=PLUGINS) as alice,
        a_client(board, "sip:bob@ims.example") as bob,
    ):
        calling = asyncio.create_task(alice.call("sip:bob@ims.example", [Ping(), DataChannels()]))
        call = await anext(bob.incoming())
        assert [(line.kind, line.proto) for line in call.media] == [
            (None, "UDP/TLS/X-PING"),
            ("data_channel", "UDP/DTLS/SCTP"),
        ]
        async with await call.accept() as answered, await calling as session:
            assert [stream.index for stream in session.streams] == [1]
            assert [stream.kind for stream in answered.streams] == ["data_channel"]


@pytest.mark.clause("RFC 3264 6")
async def test_a_line_that_is_not_asked_for_is_answered_with_port_0() -> None:
    async with a_pair(Switchboard(), [DataChannels(), Ping()], plugins=PLUGINS) as both:
        for session in both:
            assert [stream.index for stream in session.streams] == [0]


@pytest.mark.clause("RFC 3264 8.1", "RFC 3264 8.2")
async def test_lines_are_added_removed_and_refused_by_re_invite(
    pair: tuple[Session, Session],
) -> None:
    session, answered = pair
    one, other = await channel(session, answered)
    adding = asyncio.create_task(answered.add(Ping(word="second")))
    request = await anext(session.incoming_lines())
    assert request.kind == "ping"
    app = await request.accept()
    added = await adding
    assert (added.index, await app.ask()) == (2, "second")
    await session.remove(session.streams[0])
    assert [stream.index for stream in session.streams] == [1, 2]
    assert [stream.index for stream in answered.streams] == [1, 2]
    refusing = asyncio.create_task(session.add(Ping()))
    (await anext(answered.incoming_lines())).refuse()
    with pytest.raises(UnsupportedByPeer):
        await refusing
    await one.send("still there")
    assert await other.receive() == "still there"


async def test_a_medium_changes_its_line_by_a_re_offer_of_its_own(
    pair: tuple[Session, Session],
) -> None:
    session, answered = pair
    await ping_of(session).say("changed")
    assert ping_of(answered).remote_word == "changed"
    assert await ping_of(answered).ask() == "changed"
    dialog_of(session).statuses.append(488)
    with pytest.raises(CallRejected):
        await ping_of(session).say("refused")
    assert ping_of(session).forgotten == ["refused"]
    await both_ways(session, answered)


@pytest.mark.clause("RFC 3264 8.3.3")
async def test_a_medium_takes_the_place_of_another_and_goes_back(
    pair: tuple[Session, Session],
) -> None:
    session, answered = pair
    _, other = await channel(session, answered)
    line = session.streams[1].app
    replacing = asyncio.create_task(line._services.replace(Ping(word="instead")))
    await (await anext(answered.incoming_lines())).accept()
    await replacing
    assert [stream.kind for stream in session.streams] == ["ping", "ping"]
    assert [message async for message in other] == []
    assert await answered.streams[1].app.ask() == "instead"
    ping = session.streams[1].app
    back = asyncio.create_task(
        ping.services.replace(
            DataChannels(bootstrap=False, channels=(ChannelParameters(label="again"),))
        )
    )
    await (await anext(answered.incoming())).accept()
    await back
    assert [stream.kind for stream in answered.streams] == ["ping", "data_channel"]


@pytest.mark.clause("RFC 3264 4", "RFC 3261 14.1")
async def test_an_offer_whose_other_line_cannot_be_taken_changes_nothing(
    pair: tuple[Session, Session],
) -> None:
    """What the offer closes on a line that could be taken must not be closed when it is refused."""
    session, answered = pair
    one, other = await channel(session, answered)
    slots = answered._negotiation.slots
    before = [line.description for line in answered._negotiation.lines]
    offer = await offer_of(session)
    without_channel = offer.replace_media(1, offer.media[1].without("dcmap"))
    impossible = offer.media[0].replacing("word", "impossible")
    third = dataclasses.replace(without_channel, media=(*without_channel.media, impossible))
    accepting = asyncio.create_task(accept_every_line(answered))
    for spoiled in (without_channel.replace_media(0, impossible), third):
        with pytest.raises(CallRejected) as caught:
            await dialog_of(session).reoffer(spoiled, timeout_s=5)
        assert caught.value.status == 488
        assert answered._negotiation.slots == slots
        assert before == [line.description for line in answered._negotiation.lines]
    await asyncio.wait([accepting])
    await one.send("open as ever")
    assert await other.receive() == "open as ever"
    await both_ways(session, answered)


async def accept_every_line(session: Session) -> None:
    request = await anext(session.incoming_lines())
    with pytest.raises(NegotiationError):
        await request.accept()


@pytest.mark.clause("RFC 8842 5.5", "RFC 8842 3.1")
async def test_the_keys_of_every_line_are_made_anew_on_demand(
    pair: tuple[Session, Session],
) -> None:
    session, answered = pair
    one, other = await channel(session, answered)
    keys, lines = ping_of(session).key(), session._negotiation.lines
    before = [line.description.tls_id for line in lines if line.description is not None]
    await session.restart_security()
    after = [line.description.tls_id for line in lines if line.description is not None]
    assert not set(before) & set(after)
    assert ping_of(session).key() == ping_of(answered).key() != keys
    await both_ways(session, answered)
    await one.send("across")
    assert await other.receive() == "across"
    assert [stream.stats().restarts for stream in answered.streams] == [1, 1]


@pytest.mark.clause("RFC 8839 4.4.1.1.1", "RFC 8445 9")
async def test_ice_is_restarted_on_demand_and_everything_goes_on() -> None:
    async with (
        asyncio.timeout(20),
        a_pair(
            Switchboard(), [Ping()], takes=[Ping(word="there")], plugins=PLUGINS, ice="full"
        ) as (session, answered),
    ):
        one, other = await channel(session, answered)
        lines = session._negotiation.lines
        before = [line.description.get("ice-ufrag") for line in lines if line.description]
        await session.restart_ice()
        after = [line.description.get("ice-ufrag") for line in lines if line.description]
        assert not set(before) & set(after)
        await both_ways(session, answered)
        await one.send("across")
        assert await other.receive() == "across"
        dialog_of(session).statuses.append(488)
        with pytest.raises(CallRejected):
            await session.restart_ice()
        assert [line.description.get("ice-ufrag") for line in lines if line.description] == after
        await both_ways(session, answered)


@pytest.mark.clause("RFC 8842 3.1")
async def test_new_keys_are_not_offered_for_a_transport_that_cannot_be_renewed(
    pair: tuple[Session, Session],
) -> None:
    session, answered = pair
    keys = ping_of(session).key()
    with (
        patch.object(DtlsTransport, "is_renewable", False),
        pytest.raises(LocalProtocolError, match="new keys"),
    ):
        await session.restart_security()
    assert ping_of(session).key() == keys
    await both_ways(session, answered)


async def test_a_line_that_has_ended_is_not_replaced(pair: tuple[Session, Session]) -> None:
    session, _ = pair
    ended = ping_of(session)
    await session.remove(0)
    with pytest.raises(TransportError, match="ended"):
        await ended.services.replace(Ping())


@pytest.mark.parametrize("is_seen", [True, False])
async def test_a_line_that_ends_while_an_offer_is_under_way_takes_no_other_with_it(
    pair: tuple[Session, Session], is_seen: bool
) -> None:
    session, answered = pair
    one, other = await channel(session, answered)
    line = session._negotiation.lines[0]
    dialog = dialog_of(session)
    reoffer = dialog.reoffer

    async def ending(offer: SessionDescription, *, timeout_s: float) -> SessionDescription:
        answer = await reoffer(offer, timeout_s=timeout_s)
        if is_seen:
            await line.aclose(1)
        else:
            await line.transport.aclose(1)
        return answer

    with patch.object(dialog, "reoffer", ending):
        opening = asyncio.create_task(session.open(label="second", app_id="other"))
        theirs = await (await anext(answered.incoming())).accept()
        second = await opening
    assert [stream.kind for stream in session.streams if stream.kind == "ping"] in ([], ["ping"])
    for near, far in ((one, other), (second, theirs)):
        await near.send("as ever")
        assert await far.receive() == "as ever"
    assert not line.is_up or line.transport.is_renewable is False


async def test_keys_that_cannot_follow_an_ended_transport_end_its_line_only(
    pair: tuple[Session, Session],
) -> None:
    session, answered = pair
    one, other = await channel(session, answered)
    line = session._negotiation.lines[0]
    dialog = dialog_of(session)
    reoffer = dialog.reoffer

    async def ending(offer: SessionDescription, *, timeout_s: float) -> SessionDescription:
        answer = await reoffer(offer, timeout_s=timeout_s)
        await line.transport.aclose(1)
        return answer

    with patch.object(dialog, "reoffer", ending), pytest.raises(TransportError):
        await session.restart_security()
    assert line.is_ended
    await one.send("as ever")
    assert await other.receive() == "as ever"
