"""Offers inside a call: re-INVITE both ways, glare, and what ends it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from dcsdk.errors import (
    CallRejected,
    ChannelClosed,
    LocalProtocolError,
    OperationTimeout,
)
from dcsdk.io.sip.call import CallLeg
from dcsdk.sip.syntax.message import Response
from dcsdk.sip.transactions.timers import SipTimers

from .test_user_agent import OFFER, SLOW, contact, two


@pytest.mark.clause("RFC 3261 14")
async def test_a_reoffer_is_answered(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    leg, other = await ends.call()

    async def answer_it() -> None:
        reoffer = await anext(other.reoffers)
        assert reoffer.body == b"again"
        await reoffer.accept(b"yes")
        with pytest.raises(LocalProtocolError):
            await reoffer.accept(b"twice")
        reoffer.reject(488)

    response, _ = await asyncio.gather(leg.reinvite(b"again", timeout_s=5), answer_it())
    assert response.body == b"yes"
    assert not leg.exchange.is_pending and not other.exchange.is_pending
    response, _ = await asyncio.gather(leg.reinvite(b"again", timeout_s=5), answer_it())
    assert response.body == b"yes"


@pytest.mark.clause("RFC 3261 14.1", "RFC 3261 21.4.26")
async def test_a_refused_reoffer_leaves_the_session_as_it_was(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    leg, other = await ends.call()

    async def refuse() -> None:
        (await anext(other.reoffers)).reject(488)

    with pytest.raises(CallRejected) as caught:
        await asyncio.gather(leg.reinvite(b"again", timeout_s=5), refuse())
    assert caught.value.status == 488 and not leg.is_ended
    assert not leg.exchange.is_pending and not other.exchange.is_pending


@pytest.mark.clause("D10", "RFC 3261 14.1", "RFC 3261 14.2")
async def test_crossing_reoffers_get_491_and_both_succeed_when_tried_again(
    stack: AsyncExitStack,
) -> None:
    ends = await two(stack)
    leg, other = await ends.call()
    statuses: list[int | None] = []

    async def answer_all(side: CallLeg) -> None:
        async for reoffer in side.reoffers:
            await reoffer.accept(b"yes")

    async def offer_until_answered(side: CallLeg) -> Response:
        while True:
            try:
                return await side.reinvite(b"mine", timeout_s=5)
            except CallRejected as exc:
                statuses.append(exc.status)
            await side.wait_after_glare()

    answering = [asyncio.ensure_future(answer_all(side)) for side in (leg, other)]
    responses = await asyncio.gather(offer_until_answered(leg), offer_until_answered(other))
    assert [response.body for response in responses] == [b"yes", b"yes"]
    assert statuses and set(statuses) == {491}
    await leg.bye()
    await asyncio.gather(*answering)


@pytest.mark.clause("RFC 3261 14.1")
async def test_the_wait_after_glare_ends_with_the_call(stack: AsyncExitStack) -> None:
    ends = await two(stack, timers=SLOW)
    leg, other = await ends.call()
    leg.exchange.begin_local()
    waiting = asyncio.ensure_future(leg.wait_after_glare())
    await other.bye()
    with pytest.raises(ChannelClosed):
        await waiting


@pytest.mark.clause("D10")
async def test_our_own_offer_waits_for_nobody_while_the_peers_is_open(
    stack: AsyncExitStack,
) -> None:
    ends = await two(stack)
    leg, other = await ends.call()
    pending = asyncio.ensure_future(leg.reinvite(b"again", timeout_s=5))
    reoffer = await anext(other.reoffers)
    with pytest.raises(CallRejected) as caught:
        await other.reinvite(b"mine", timeout_s=5)
    assert caught.value.status == 491
    reoffer.reject(488)
    with pytest.raises(CallRejected):
        await pending


@pytest.mark.clause("RFC 3261 14.2")
async def test_a_second_reoffer_before_the_first_answer_gets_500(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    leg, other = await ends.call()
    pending = asyncio.ensure_future(leg.reinvite(b"one", timeout_s=5))
    reoffer = await anext(other.reoffers)
    leg.exchange.end()
    with pytest.raises(CallRejected) as caught:
        await leg.reinvite(b"two", timeout_s=5)
    assert caught.value.status == 500 and caught.value.retry_after_s is not None
    await reoffer.accept(b"yes")
    assert (await pending).body == b"yes"


@pytest.mark.clause("D10")
async def test_a_reoffer_while_the_peer_has_one_out_is_refused_with_491(
    stack: AsyncExitStack,
) -> None:
    ends = await two(stack)
    leg, other = await ends.call()
    other.exchange.begin_local()
    with pytest.raises(CallRejected) as caught:
        await leg.reinvite(b"again", timeout_s=5)
    assert caught.value.status == 491
    assert not leg.exchange.is_pending


async def test_a_reoffer_that_is_not_answered_in_time_is_taken_back(
    stack: AsyncExitStack,
) -> None:
    ends = await two(stack)
    leg, other = await ends.call()
    pending = asyncio.ensure_future(leg.reinvite(b"again", timeout_s=0.1))
    reoffer = await anext(other.reoffers)
    with pytest.raises(OperationTimeout):
        await pending
    await reoffer.wait_withdrawn()
    with pytest.raises(CallRejected):
        await reoffer.accept(b"late")
    assert not leg.is_ended


@pytest.mark.clause("RFC 3261 13.2.2.4")
async def test_a_reoffer_accepted_after_we_gave_up_ends_the_call(stack: AsyncExitStack) -> None:
    ends = await two(stack, timers=SipTimers())  # no 100 comes, so CANCEL cannot be sent
    leg, other = await ends.call()
    pending = asyncio.ensure_future(leg.reinvite(b"again", timeout_s=5))
    reoffer = await anext(other.reoffers)
    pending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pending
    await reoffer.accept(b"yes")
    assert await other.wait_ended() == "the peer ended the call"
    assert leg.is_ended


async def test_bye_while_a_reoffer_is_open_ends_both(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    leg, other = await ends.call()
    pending = asyncio.ensure_future(leg.reinvite(b"again", timeout_s=5))
    reoffer = await anext(other.reoffers)
    await other.bye()
    await reoffer.wait_withdrawn()
    with pytest.raises(CallRejected) as caught:
        await pending
    assert caught.value.status == 487
    with pytest.raises(CallRejected):
        await reoffer.accept(b"late")
    with pytest.raises(ChannelClosed):
        await leg.reinvite(b"again", timeout_s=5)
    assert [r async for r in other.reoffers] == []


async def test_our_bye_while_our_reoffer_is_open(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    leg, other = await ends.call()
    pending = asyncio.ensure_future(leg.reinvite(b"again", timeout_s=5))
    await anext(other.reoffers)
    await leg.bye()
    with pytest.raises(CallRejected):
        await pending
    assert await other.wait_ended() == "the peer ended the call"


@pytest.mark.clause("RFC 3261 12.2.1.2")
async def test_481_to_a_reoffer_ends_the_dialog(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    leg, other = await ends.call()
    ends.bob.agent.forget(other)
    with pytest.raises(CallRejected) as caught:
        await leg.reinvite(b"again", timeout_s=5)
    assert caught.value.status == 481 and leg.is_ended


async def test_a_reoffer_without_sdp_is_refused(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    leg, _ = await ends.call()
    assert await ends.alice.send(leg.dialog.request("INVITE", headers=contact())) == 488
    assert await ends.alice.send(leg.dialog.request("OPTIONS")) == 200
    assert await ends.alice.send(leg.dialog.request("UPDATE")) == 405
    unsupported = leg.dialog.request("BYE", headers=[("Require", "100rel")])
    assert await ends.alice.send(unsupported) == 420
    bad = leg.dialog.request(
        "INVITE",
        headers=[("Contact", "<")],
        body=OFFER,
        content_type="application/sdp",
    )
    assert await ends.alice.send(bad) == 400
    leg.dialog.local_cseq -= 1
    assert await ends.alice.send(leg.dialog.request("OPTIONS")) == 500
