"""How calls end, or never begin: BYE by either side, CANCEL, refusals (RFC 3261 9, 13, 15)."""

from __future__ import annotations

import asyncio

import pytest

from dcsdk import CallRejected, OperationTimeout, SessionEnded
from dcsdk.emulator import Network
from tests.scenarios.calls import (
    ALICE,
    BOB,
    Ue,
    a_call,
    a_channel,
    headers_of,
    line_of,
    messages,
    network_with,
    next_request,
)
from tests.scenarios.conftest import MakeUe


@pytest.mark.clause("RFC 3261 15", "TS 24.229 5.1.5")
@pytest.mark.parametrize("who", ["caller", "callee"])
async def test_either_side_hangs_up(ims_network: Network, alice: Ue, bob: Ue, who: str) -> None:
    async with a_call(alice, bob) as (session, answered):
        first, second = (session, answered) if who == "caller" else (answered, session)
        one, other = await a_channel(session, answered)
        await first.aclose()
        assert await second.wait_ended() == "the peer ended the call"
        assert await first.wait_ended() == "we ended the call"
        assert session.is_ended and answered.is_ended
        for channel in (one, other):
            with pytest.raises(ConnectionError):
                await channel.send("too late")
        ue = alice if who == "caller" else bob
        assert [event.reason for event in ue.told(SessionEnded)] == ["we ended the call"]


@pytest.mark.clause("RFC 3261 15")
async def test_both_sides_hang_up_at_once(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as sessions:
        await asyncio.gather(*(session.aclose() for session in sessions))
        assert all(session.is_ended for session in sessions)


@pytest.mark.clause("RFC 3261 15", "TS 24.229 5.1.1.6")
async def test_closing_a_client_hangs_up_and_deregisters(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (_, answered):
        await alice.client.aclose()
        await answered.wait_ended()
        requests = [
            event.summary
            for event in messages(ims_network, "alice", "P-CSCF")
            if event.summary in ("BYE", "REGISTER")
        ]
        assert requests[-2:] == ["BYE", "REGISTER"]


@pytest.mark.clause("RFC 3261 9.1", "RFC 3261 9.2")
async def test_a_cancelled_call_is_withdrawn_at_the_callee(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    calling = asyncio.create_task(alice.client.call(BOB))
    call = await bob.next_call()
    await call.ring()
    await ims_network.trace.wait_for(
        lambda event: event.destination == "alice" and event.summary.startswith("180")
    )
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await ims_network.trace.wait_for(
        lambda event: event.source == "bob" and event.summary.startswith("487")
    )
    assert await call.wait_ended() == "the caller gave up"
    with pytest.raises(CallRejected) as caught:
        await call.accept()
    assert caught.value.status == 487
    assert alice.media.bytes_sent == bob.media.bytes_sent == 0
    assert alice.told(SessionEnded) == []


@pytest.mark.clause("RFC 3261 9.1", "TS 24.229 5.1.3.1")
async def test_nobody_answers_in_time(ims_network: Network, make_ue: MakeUe) -> None:
    alice, bob = await make_ue("alice", call_timeout_s=0.3), await make_ue("bob")
    with pytest.raises(OperationTimeout):
        await alice.client.call(BOB)
    await bob.next_call()
    await ims_network.trace.wait_for(
        lambda event: event.destination == "bob" and event.summary == "CANCEL"
    )
    assert alice.media.bytes_sent == 0


@pytest.mark.clause("RFC 3261 21.4.24", "RFC 3261 21.6.2")
@pytest.mark.parametrize(("status", "reason"), [(486, None), (603, "Decline"), (480, None)])
async def test_a_rejected_call_says_why(
    ims_network: Network, alice: Ue, bob: Ue, status: int, reason: str | None
) -> None:
    calling = asyncio.create_task(alice.client.call(BOB))
    call = await bob.next_call()
    assert call.remote_uri == call.asserted_identity == ALICE
    assert call.call_id
    await call.reject(status, reason)
    with pytest.raises(CallRejected) as caught:
        await calling
    assert caught.value.status == status
    assert alice.media.bytes_sent == 0
    assert len(bob.media.associations) == 0


@pytest.mark.clause("RFC 3261 21.4.1")
async def test_a_callee_nobody_knows(alice: Ue) -> None:
    with pytest.raises(CallRejected) as caught:
        await alice.client.call("sip:nobody@ims.example")
    assert caught.value.status == 404
    assert alice.media.bytes_sent == 0


@pytest.mark.clause("RFC 3261 21.4.18")
async def test_a_callee_who_is_not_registered(alice: Ue) -> None:
    with pytest.raises(CallRejected) as caught:
        await alice.client.call(BOB)
    assert caught.value.status in (404, 480)
    assert alice.media.bytes_sent == 0


@pytest.mark.clause("RFC 3261 21.4.18")
async def test_a_callee_who_left(alice: Ue, bob: Ue) -> None:
    await bob.client.aclose()
    with pytest.raises(CallRejected) as caught:
        await alice.client.call(BOB)
    assert caught.value.status in (404, 480)


async def test_two_calls_one_after_the_other(alice: Ue, bob: Ue) -> None:
    call_ids = set()
    for _ in range(2):
        async with a_call(alice, bob) as (session, answered):
            await a_channel(session, answered)
            call_ids.add(session.call_id)
    async with a_call(bob, alice) as (session, _):
        assert await session.bootstrap.applications()
        call_ids.add(session.call_id)
    assert len(call_ids) == 3


async def test_two_calls_at_the_same_time(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as first, a_call(alice, bob) as second:
        for session, answered in (first, second):
            await a_channel(session, answered)
        assert first[0].call_id != second[0].call_id
        await first[0].aclose()
        assert not second[0].is_ended


# --- a peer without data channels ----------------------------------------------------------------
@pytest.mark.clause("TS 24.275 IMS_DC_configuration", "TS 24.186 9.3.3")
async def test_a_callee_without_data_channels_is_called_without_them(
    ims_network: Network, make_ue: MakeUe
) -> None:
    """Its side of the call is all refused; nothing else is in it, so that is the call's end."""
    alice, bob = await make_ue("alice"), await make_ue("bob", dc_allowed=False)
    (registered, *_) = messages(ims_network, "bob", "P-CSCF", "REGISTER")
    assert "app-subtype" not in headers_of(registered, "Contact")[0]
    calling = asyncio.create_task(alice.client.call(BOB))
    session = await (await bob.next_call()).accept()
    async with await calling as mine, session:
        assert session.streams == () and not session.bootstrap.is_available
        (invite,) = messages(ims_network, "P-CSCF", "bob", "INVITE")
        assert b"m=application" not in invite.data or line_of(invite).is_rejected
        assert mine.bootstrap.is_available, "the own network's channels do not need the peer"
        with pytest.raises(CallRejected) as caught:
            await mine.open(label="chat")
        assert caught.value.status == 488
        assert await mine.bootstrap.applications()
    assert bob.media.bytes_sent == 0


@pytest.mark.clause("TS 24.275 IMS_DC_configuration")
async def test_a_caller_without_data_channels_offers_none(
    ims_network: Network, make_ue: MakeUe
) -> None:
    alice = await make_ue("alice", dc_allowed=False)
    with pytest.raises(ValueError, match="dc_allowed"):
        await alice.client.call(BOB)
    assert not list(messages(ims_network, "alice", "P-CSCF", "INVITE"))


@pytest.mark.clause("TS 24.186 9.3.2.2")
@network_with(
    subscribers=(
        {"name": "alice", "password": "alice-secret"},
        {"name": "bob", "password": "bob-secret", "dc_allowed": False},
    )
)
async def test_a_callee_without_the_subscription_gets_no_bootstrap_channels(
    alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (session, answered):
        assert session.bootstrap.is_available
        assert not answered.bootstrap.is_available


async def test_a_request_left_undecided_ends_with_the_call(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, answered):
        opening = asyncio.create_task(session.open(label="never decided"))
        await next_request(answered)
        await answered.aclose()
        with pytest.raises((CallRejected, ConnectionError)):
            await opening
