"""Application channels from UE to UE: end to end DTLS (TS 33.328 7.2.Y, 7.3.Y; TS 24.186 9.3)."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from dcsdk import (
    CallRejected,
    ChannelClosed,
    DataChannel,
    LineRole,
    LocalProtocolError,
    Session,
    StreamSecured,
    TransportError,
    UnsupportedByPeer,
)
from dcsdk.emulator import Network
from dcsdk.security import SecurityScope
from tests.scenarios.calls import (
    BOB,
    Ue,
    a_call,
    a_channel,
    line_of,
    messages,
    network_with,
    next_request,
    talk,
)
from tests.scenarios.conftest import MakeUe


@pytest.mark.clause("TS 33.328 7.2.Y step 1", "TS 24.186 9.3.2.2.2")
async def test_the_offer_of_an_application_line_carries_no_indication(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (session, answered):
        one, other = await a_channel(session, answered, label="chat", app_id="whiteboard")
        await talk(one, other)
        reinvite = list(messages(ims_network, "alice", "P-CSCF", "INVITE"))[1]
        offered = line_of(reinvite, 1)
        assert offered.has("fingerprint") and offered.has("tls-id")
        assert offered.get("setup") == "actpass"
        assert not offered.has("3ge2dce") and not offered.has("3ge2ae")
        assert [dcmap.stream_id for dcmap in offered.dcmaps] == [1000]
        assert "whiteboard" in (offered.get("3gpp-req-app") or "")


@pytest.mark.clause("TS 33.328 7.2.Y step 2", "TS 33.328 7.2.Y step 3", "TS 23.228 AC.7.2.1")
async def test_the_network_passes_the_line_on_unchanged(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (session, answered):
        await a_channel(session, answered, label="chat")
        sent = line_of(list(messages(ims_network, "alice", "P-CSCF", "INVITE"))[1], 1)
        came = line_of(list(messages(ims_network, "P-CSCF", "bob", "INVITE"))[1], 1)
        for name in ("fingerprint", "tls-id", "setup", "sctp-port", "dcmap"):
            assert sent.get_all(name) == came.get_all(name)


@pytest.mark.clause("TS 33.328 7.2.Y step 5", "TS 33.328 7.3.Y step 3", "TS 24.186 9.3.3.2.1")
async def test_both_ends_verify_each_other_but_cannot_know_whether_the_network_anchors(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (session, answered):
        one, other = await a_channel(session, answered)
        assert one.security.peer_fingerprint == other.security.local_fingerprint
        assert other.security.peer_fingerprint == one.security.local_fingerprint
        for channel, who in ((one, BOB), (other, "sip:alice@ims.example")):
            assert channel.security.scope is SecurityScope.NETWORK_DECIDES
            assert channel.security.asserted_identity == who
            truth = ims_network.scope_of(channel.security.peer_fingerprint)
            assert truth is SecurityScope.E2E
        assert [stream.app.role for stream in session.streams] == [
            LineRole.BOOTSTRAP,
            LineRole.APPLICATION,
        ]
        assert len(alice.told(StreamSecured)) == len(bob.told(StreamSecured)) == 2


@pytest.mark.clause("TS 33.328 7.3.Y step 1", "TS 33.328 7.3.Y step 2", "RFC 8842 5.3")
async def test_the_callee_answers_an_application_line_with_its_own_values(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (session, answered):
        _, other = await a_channel(session, answered)
        answer = list(messages(ims_network, "bob", "P-CSCF", "200 OK (INVITE)"))[1]
        line = line_of(answer, 1)
        assert line.get("fingerprint") == other.security.local_fingerprint
        assert line.get("setup") in ("active", "passive") and line.has("tls-id")
        assert not line.has("3ge2dce")


@pytest.mark.clause("RFC 8864 5.1")
async def test_the_callee_sees_every_option_of_the_channel(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, answered):
        opening = asyncio.create_task(
            session.open(
                "game",
                label="moves",
                app_id="whiteboard",
                is_ordered=False,
                max_retr=3,
                priority=512,
            )
        )
        request = await next_request(answered)
        assert (request.subprotocol, request.label, request.app_id) == (
            "game",
            "moves",
            "whiteboard",
        )
        assert request.stream_id == 1000
        assert (request.dcmap.is_ordered, request.dcmap.max_retr) == (False, 3)
        assert request.dcmap.priority == 512
        channel = await request.accept()
        assert (await opening).max_retr == channel.max_retr == 3
        assert answered.streams[1].app.app_id == "whiteboard"


@pytest.mark.clause("RFC 8864 6.6", "TS 24.186 9.3.2.2.2")
async def test_channels_of_one_application_share_a_line(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, answered):
        pairs = [await a_channel(session, answered, label=name) for name in ("one", "two", "three")]
        assert [one.stream_id for one, _ in pairs] == [1000, 1001, 1002]
        assert [stream.app.stream_ids for stream in session.streams] == [
            (0, 10),
            (1000, 1001, 1002),
        ]
        for one, other in pairs:
            await talk(one, other)
        assert len(alice.media.associations) == 2


@pytest.mark.clause("TS 24.186 9.3.2.2.2")
async def test_channels_of_different_applications_have_lines_of_their_own(
    alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (session, answered):
        for app in ("whiteboard", "file-drop"):
            await talk(*await a_channel(session, answered, app_id=app))
        assert [stream.app.app_id for stream in session.streams] == [
            None,
            "whiteboard",
            "file-drop",
        ]


@pytest.mark.clause("TS 33.328 7.3.Y", "RFC 3264 8")
async def test_both_sides_open_channels(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, answered):
        await talk(*await a_channel(session, answered, label="from alice"))
        await talk(*await a_channel(answered, session, label="from bob"))
        await talk(*await a_channel(session, answered, label="again"))
        assert session.streams[1].app.stream_ids == answered.streams[1].app.stream_ids


@pytest.mark.clause("RFC 3261 14.1", "D10")
async def test_channels_opened_by_both_sides_at_once_both_come_up(
    quick_sip: None, ims_network: Network, make_ue: MakeUe
) -> None:
    alice, bob = await make_ue("alice"), await make_ue("bob")
    async with a_call(alice, bob) as (session, answered):
        opening = [asyncio.create_task(end.open(label="glare")) for end in (session, answered)]

        async def accept_one(end: Session) -> DataChannel:
            channel: DataChannel = await (await next_request(end)).accept()
            return channel

        accepted = await asyncio.gather(accept_one(answered), accept_one(session))
        opened = await asyncio.gather(*opening)
        assert {channel.stream_id for channel in opened} == {c.stream_id for c in accepted}
        for one in opened:
            other = next(c for c in accepted if c.stream_id == one.stream_id and c is not one)
            await talk(one, other)


@pytest.mark.clause("RFC 8864 6.4")
async def test_a_refused_channel_raises_and_the_call_goes_on(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, answered):
        before = alice.media.bytes_sent
        opening = asyncio.create_task(session.open(label="unwanted"))
        request = await next_request(answered)
        request.refuse()
        with pytest.raises(UnsupportedByPeer):
            await opening
        with pytest.raises(ChannelClosed):
            await request.accept()
        assert alice.media.bytes_sent_on(1) == 0
        assert alice.media.bytes_sent >= before
        await talk(*await a_channel(session, answered, label="wanted"))


@pytest.mark.clause("RFC 8864 6.4")
async def test_one_channel_of_a_line_is_refused_and_the_others_stay(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, answered):
        kept = await a_channel(session, answered, label="kept")
        opening = asyncio.create_task(session.open(label="unwanted"))
        (await next_request(answered)).refuse()
        with pytest.raises(UnsupportedByPeer):
            await opening
        await talk(*kept)
        assert session.streams[1].app.stream_ids == answered.streams[1].app.stream_ids == (1000,)


async def test_a_request_nobody_decides_is_refused_in_time(make_ue: MakeUe) -> None:
    alice, bob = await make_ue("alice"), await make_ue("bob", request_timeout_s=0.2)
    async with a_call(alice, bob) as (session, answered):
        opening = asyncio.create_task(session.open(label="ignored"))
        late = await next_request(answered)
        with pytest.raises(UnsupportedByPeer):
            await opening
        with pytest.raises(ChannelClosed):
            await late.accept()


@pytest.mark.clause("RFC 8831 6.7", "RFC 6525")
async def test_closing_a_channel_ends_the_other_side_of_it_only(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, answered):
        one, other = await a_channel(session, answered, label="short")
        kept = await a_channel(session, answered, label="long")
        await one.send("last words")
        await one.aclose()
        assert [message async for message in other] == ["last words"]
        await talk(*kept)


@pytest.mark.clause("TS 24.186 9.3.2.2.2")
@network_with(unknown_app="REJECT")
async def test_an_application_the_network_does_not_know_may_be_refused(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, answered):
        with pytest.raises(CallRejected) as caught:
            await session.open(app_id="unheard-of")
        assert caught.value.status == 488
        await talk(*await a_channel(session, answered, app_id="whiteboard"))


@pytest.mark.clause("D15")
async def test_more_lines_than_allowed_are_refused_before_anything_is_sent(
    ims_network: Network, make_ue: MakeUe
) -> None:
    profile = dataclasses.replace(ims_network.config.profile, max_associations=2)
    alice, bob = await make_ue("alice", profile=profile), await make_ue("bob")
    async with a_call(alice, bob) as (session, answered):
        await a_channel(session, answered, app_id="whiteboard")
        with pytest.raises(LocalProtocolError, match="D15"):
            await session.open(app_id="file-drop")
        assert len(list(messages(ims_network, "alice", "P-CSCF", "INVITE"))) == 2


@pytest.mark.clause("D15")
async def test_a_callee_refuses_lines_beyond_its_bound(
    ims_network: Network, make_ue: MakeUe
) -> None:
    profile = dataclasses.replace(ims_network.config.profile, max_associations=2)
    alice, bob = await make_ue("alice"), await make_ue("bob", profile=profile)
    async with a_call(alice, bob) as (session, answered):
        kept = await a_channel(session, answered, app_id="whiteboard")
        opening = asyncio.create_task(session.open(app_id="file-drop"))
        request = await next_request(answered)
        with pytest.raises(LocalProtocolError):
            await request.accept()
        with pytest.raises(CallRejected) as caught:
            await opening
        assert caught.value.status == 488
        await talk(*kept)


async def test_a_session_that_ended_opens_nothing(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, answered):
        await answered.aclose()
        await session.wait_ended()
        with pytest.raises(TransportError):
            await session.open(label="late")
        assert [request async for request in session.incoming()] == []
