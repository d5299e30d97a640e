"""Programs that close, cancel or fail at the worst moment: everything ends, and nothing stays."""

from __future__ import annotations

import asyncio

import pytest

from dcsdk import CallRejected, Client, DcsdkError, Event, Session, SessionEnded, TransportError
from dcsdk.emulator import Network
from dcsdk.interfaces import SignallingDialog
from dcsdk.plugins.signalling.sip_calls import SipIncomingInvitation
from dcsdk.sdp.session import SessionDescription
from tests.scenarios.calls import BOB, Ue, a_call, dial, messages, next_request


@pytest.mark.parametrize("is_accepting", [True, False], ids=["accepting", "not yet"])
async def test_a_channel_request_ends_when_the_own_side_hangs_up(
    alice: Ue, bob: Ue, is_accepting: bool
) -> None:
    async with a_call(alice, bob) as (session, answered):
        opening = asyncio.create_task(session.open(label="x"))
        request = await next_request(answered)
        if is_accepting:
            accepting = asyncio.create_task(request.accept())
            await asyncio.sleep(0)
            await answered.aclose()
        else:
            await answered.aclose()
            accepting = asyncio.create_task(request.accept())
        with pytest.raises(DcsdkError):
            async with asyncio.timeout(5):
                await accepting
        with pytest.raises(DcsdkError):
            await opening


@pytest.mark.clause("TS 24.229 5.1.1.6")
async def test_a_client_that_closes_while_it_answers_ends_the_call_with_a_typed_error(
    alice: Ue, bob: Ue, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = SipIncomingInvitation.accept

    async def closing(
        invitation: SipIncomingInvitation, answer: SessionDescription
    ) -> SignallingDialog:
        dialog = await accept(invitation, answer)
        await bob.client.aclose()
        return dialog

    monkeypatch.setattr(SipIncomingInvitation, "accept", closing)
    mine, theirs = await dial(alice, bob)
    assert isinstance(theirs, TransportError)
    if isinstance(mine, Session):  # it was up for a moment
        await mine.wait_ended()
        await mine.aclose()


async def test_hanging_up_while_the_peer_does_tells_the_end_all_the_same(
    alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (session, answered):
        await session.aclose()
        await answered.wait_ended()
        await answered.aclose()
    assert [event.reason for event in bob.told(SessionEnded)] == ["the peer ended the call"]


async def test_an_event_callback_that_fails_is_logged_and_ends_nothing(
    ims_network: Network, bob: Ue, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: Event) -> None:
        raise ZeroDivisionError("a program's mistake")

    async with Client(ims_network.client_config("alice"), on_event=fail) as client:
        await client.register()
        calling = asyncio.create_task(client.call(BOB))
        async with await (await bob.next_call()).accept(), await calling as session:
            assert await session.bootstrap.applications()
    assert "on_event failed event=StreamSecured" in caplog.text


@pytest.mark.clause("RFC 3261 15")
async def test_a_client_that_closes_while_it_rings_refuses_the_call_and_sends_no_bye(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    calling = asyncio.create_task(alice.client.call(BOB))
    await (await bob.next_call()).ring()
    await bob.client.aclose()
    with pytest.raises(CallRejected) as caught:
        await calling
    assert caught.value.status == 480
    assert not list(messages(ims_network, "bob", "P-CSCF", "BYE"))
