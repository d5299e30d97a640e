"""Two user agents on one TCP connection: calls, forks, re-INVITE, glare, BYE, refusals."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack

import pytest

from dcsdk.errors import (
    CallRejected,
    LocalProtocolError,
    OperationTimeout,
    ParseError,
    TransportError,
)
from dcsdk.io.mailbox import Mailbox
from dcsdk.io.sip.call import CallLeg
from dcsdk.io.sip.endpoint import IncomingRequest, SipEndpoint
from dcsdk.io.sip.flow import Flow
from dcsdk.io.sip.invitation import IncomingInvite, OutgoingInvite
from dcsdk.io.sip.user_agent import SipUserAgent
from dcsdk.sip.syntax.message import Request
from dcsdk.sip.transactions.timers import SipTimers
from tests.sip.messages import request

FAST = SipTimers(t1_s=0.005, t2_s=0.02, t4_s=0.01, trying_s=0.005, glare_scale=0.001)

SLOW = SipTimers(trying_s=0.005, glare_scale=0.02)

OFFER, ANSWER = b"v=0\r\no=offer\r\n", b"v=0\r\no=answer\r\n"

FEATURES = {"+sip.app-subtype": "webrtc-datachannel"}


class Side:
    """A user agent on its endpoint, and the calls that reached it."""

    def __init__(self, name: str, timers: SipTimers, timeout_s: float) -> None:
        self.calls: Mailbox[IncomingInvite] = Mailbox(8)
        self.agent = SipUserAgent(
            identity=f"sip:{name}@ims.example",
            user=name,
            on_call=self.calls.put,  # type: ignore[arg-type]
            timeout_s=timeout_s,
        )
        self.endpoint = SipEndpoint(
            on_request=self.agent.handle, timers=timers, is_user_agent=True, name=name
        )
        self.agent.attach(self.endpoint)
        self.flow: Flow | None = None

    def invite(self, target: str = "sip:bob@ims.example") -> OutgoingInvite:
        assert self.flow is not None
        return self.agent.invite(target, OFFER, self.flow, features=FEATURES)

    async def send(self, message: Request) -> int:
        assert self.flow is not None
        return (await self.endpoint.send(message, self.flow).final()).status


class Two:
    """Alice, who is connected, and Bob, who listens."""

    def __init__(self, alice: Side, bob: Side) -> None:
        self.alice, self.bob = alice, bob

    async def call(self) -> tuple[CallLeg, CallLeg]:
        """A call from Alice to Bob: her leg and his."""
        outgoing = self.alice.invite()
        incoming = await anext(self.bob.calls)
        (leg, response), other = await asyncio.gather(outgoing.answered(), incoming.accept(ANSWER))
        assert response.body == ANSWER
        return leg, other


async def two(stack: AsyncExitStack, *, timers: SipTimers = SLOW, timeout_s: float = 10.0) -> Two:
    alice, bob = Side("alice", timers, timeout_s), Side("bob", timers, timeout_s)
    for side in (alice, bob):
        await stack.enter_async_context(side.endpoint)
        stack.push_async_callback(side.agent.aclose, 0.5)
    address = await bob.endpoint.listen("tcp", "127.0.0.1")
    alice.flow = await alice.endpoint.connect("tcp", *address)
    return Two(alice, bob)


def outside(method: str, **options: object) -> Request:
    message = request(method, call_id=os.urandom(8).hex(), **options)  # type: ignore[arg-type]
    message.headers.remove("Via")
    return message


# --- calls ----------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 3261 13", "TS 26.114 6.2.10.1")
async def test_a_call_is_made_and_ended(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    outgoing = ends.alice.invite()
    incoming = await anext(ends.bob.calls)
    assert incoming.body == OFFER
    assert incoming.leg.remote_uri == "sip:alice@ims.example"
    incoming.ring()
    leg, other = await asyncio.gather(outgoing.answered(), incoming.accept(ANSWER))
    assert outgoing.progress == [180]
    assert leg[0].dialog.call_id == other.dialog.call_id == outgoing.call_id
    await other.bye()
    assert await leg[0].wait_ended() == "the peer ended the call"
    assert await other.wait_ended() == "we ended the call"
    await other.bye()
    await leg[0].bye()
    assert ends.alice.agent.legs == ends.bob.agent.legs == ()
    incoming.ring()
    incoming.reject(486)


async def test_the_contact_of_a_call_carries_the_features(stack: AsyncExitStack) -> None:
    seen: list[Request] = []
    ends = await two(stack)
    ends.bob.agent.features = FEATURES
    handle = ends.bob.agent.handle

    async def watch(incoming: IncomingRequest) -> None:
        seen.append(incoming.request)
        await handle(incoming)

    ends.bob.endpoint._on_request = watch
    await ends.call()
    assert 'sip.app-subtype="webrtc-datachannel"' in (seen[0].headers.get("Contact") or "")
    assert seen[0].headers.get("Supported") == "path"


@pytest.mark.clause("RFC 3261 21.4.18")
@pytest.mark.parametrize("status", [488, 486, 603])
async def test_a_refusal_is_a_typed_error_with_its_status(
    stack: AsyncExitStack, status: int
) -> None:
    ends = await two(stack)
    outgoing = ends.alice.invite()
    incoming = await anext(ends.bob.calls)
    with pytest.raises(LocalProtocolError):
        incoming.reject(200)
    incoming.reject(status, "No")
    with pytest.raises(CallRejected) as caught:
        await outgoing.answered()
    assert caught.value.status == status
    with pytest.raises(CallRejected):
        await incoming.accept(ANSWER)
    assert ends.bob.agent.legs == ()


@pytest.mark.clause("RFC 3261 9.1", "RFC 3261 21.4.25")
async def test_a_wait_that_is_cancelled_cancels_the_call(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    outgoing = ends.alice.invite()
    waiter = asyncio.ensure_future(outgoing.answered())
    incoming = await anext(ends.bob.calls)
    incoming.ring()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    await incoming.leg.wait_ended()
    assert incoming.is_withdrawn
    with pytest.raises(CallRejected):
        await incoming.accept(ANSWER)
    with pytest.raises(CallRejected):
        await outgoing.answered()


async def test_nobody_answers_in_time_and_the_call_is_cancelled(stack: AsyncExitStack) -> None:
    ends = await two(stack, timeout_s=0.05)
    outgoing = ends.alice.invite()
    incoming = await anext(ends.bob.calls)
    incoming.ring()
    with pytest.raises(OperationTimeout):
        await outgoing.answered()
    assert await incoming.leg.wait_ended() == "the caller gave up"


@pytest.mark.clause("RFC 3261 13.2.2.4")
async def test_an_answer_that_crosses_the_cancel_is_ended_with_bye(stack: AsyncExitStack) -> None:
    ends = await two(stack, timers=SipTimers())
    outgoing = ends.alice.invite()
    incoming = await anext(ends.bob.calls)
    outgoing.cancel()  # waits for a provisional response; the 200 comes first
    accepted = asyncio.ensure_future(incoming.accept(ANSWER))
    with pytest.raises(CallRejected):
        await outgoing.answered()
    leg = await accepted
    assert await leg.wait_ended() == "the peer ended the call"


@pytest.mark.clause("RFC 3261 13.2.2.4")
async def test_the_first_fork_wins_and_the_others_are_ended(stack: AsyncExitStack) -> None:
    methods: asyncio.Queue[tuple[str, str | None]] = asyncio.Queue()

    async def forking(incoming: IncomingRequest) -> None:
        message = incoming.request
        methods.put_nowait((message.method, message.to.tag))
        if message.method == "INVITE":
            contact = [("Contact", "<sip:bob@192.0.2.2>")]
            for tag in ("one", "two", "one"):
                incoming.respond(
                    message.response(
                        200,
                        to_tag=tag,
                        headers=contact,
                        body=ANSWER,
                        content_type="application/sdp",
                    )
                )
        elif message.method == "BYE":
            incoming.reply(200)

    ends = await two(stack)
    ends.bob.endpoint._on_request = forking
    leg, _ = await ends.alice.invite().answered()
    assert leg.dialog.remote.tag == "one"
    seen = [await methods.get() for _ in range(5)]
    assert seen.count(("ACK", "one")) == 2
    assert ("ACK", "two") in seen and ("BYE", "two") in seen
    assert not leg.is_ended


@pytest.mark.clause("RFC 3261 13.3.1.4")
async def test_without_an_ack_the_callee_ends_the_call(stack: AsyncExitStack) -> None:
    ends = await two(stack, timers=FAST)
    assert ends.alice.flow is not None
    message = outside("INVITE", body=OFFER, extra=(("Content-Type", "application/sdp"),))
    sent = ends.alice.endpoint.send(message, ends.alice.flow)
    incoming = await anext(ends.bob.calls)
    with pytest.raises(OperationTimeout):
        await incoming.accept(ANSWER)
    assert (await sent.final()).status == 200
    assert incoming.leg.is_ended


async def test_a_caller_that_hangs_up_before_its_ack_ends_the_wait(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    assert ends.alice.flow is not None
    message = outside("INVITE", body=OFFER, extra=(("Content-Type", "application/sdp"),))
    sent = ends.alice.endpoint.send(message, ends.alice.flow)
    incoming = await anext(ends.bob.calls)
    accepting = asyncio.ensure_future(incoming.accept(ANSWER))
    tag = (await sent.final()).to.tag
    bye = request("BYE", to_tag=tag, cseq=2, call_id=message.call_id)
    bye.headers.remove("Via")
    assert await ends.alice.send(bye) == 200
    with pytest.raises(CallRejected):
        await accepting


@pytest.mark.clause("RFC 3261 15.1.2")
async def test_bye_in_an_early_dialog_ends_the_invitation(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    assert ends.alice.flow is not None
    message = outside("INVITE", body=OFFER, extra=(("Content-Type", "application/sdp"),))
    sent = ends.alice.endpoint.send(message, ends.alice.flow)
    incoming = await anext(ends.bob.calls)
    incoming.ring()
    ringing = await anext(sent)
    while ringing.status == 100:
        ringing = await anext(sent)
    bye = request("BYE", to_tag=ringing.to.tag, cseq=2, call_id=message.call_id)
    bye.headers.remove("Via")
    assert await ends.alice.send(bye) == 200
    assert (await sent.final()).status == 487
    assert incoming.is_withdrawn


async def test_a_cancelled_accept_ends_the_call(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    assert ends.alice.flow is not None
    message = outside("INVITE", body=OFFER, extra=(("Content-Type", "application/sdp"),))
    sent = ends.alice.endpoint.send(message, ends.alice.flow)
    incoming = await anext(ends.bob.calls)
    accepting = asyncio.ensure_future(incoming.accept(ANSWER))
    await sent.final()
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    assert await incoming.leg.wait_ended() == "we ended the call"


async def test_a_lost_connection_ends_the_wait_for_an_answer(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    outgoing = ends.alice.invite()
    incoming = await anext(ends.bob.calls)
    assert ends.alice.flow is not None
    ends.alice.flow.close()
    with pytest.raises(TransportError):
        await outgoing.answered()
    await incoming.leg.wait_ended()
    with pytest.raises(CallRejected):
        await incoming.accept(ANSWER)


async def test_a_call_without_an_offer_gets_ours_and_its_answer_comes_in_the_ack(
    stack: AsyncExitStack,
) -> None:
    ends = await two(stack)
    assert ends.alice.flow is not None
    message = outside("INVITE")
    sent = ends.alice.endpoint.send(message, ends.alice.flow)
    incoming = await anext(ends.bob.calls)
    assert incoming.body == b""
    accepting = asyncio.ensure_future(incoming.accept(OFFER))
    tag = (await sent.final()).to.tag
    ack = request(
        "ACK",
        to_tag=tag,
        call_id=message.call_id,
        body=ANSWER,
        extra=(("Content-Type", "application/sdp"),),
    )
    ack.headers.remove("Via")
    ends.alice.endpoint.send_ack(ack, ends.alice.flow)
    assert (await accepting).ack_body == ANSWER


def contact() -> list[tuple[str, str]]:
    return [("Contact", "<sip:alice@192.0.2.1>")]


# --- outside of dialogs ---------------------------------------------------------------------------
@pytest.mark.clause("RFC 3261 8.2", "RFC 3261 11.2", "RFC 3261 12.2.2")
async def test_requests_outside_of_any_dialog(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    alice = ends.alice
    assert await alice.send(outside("OPTIONS")) == 200
    assert await alice.send(outside("MESSAGE")) == 405
    assert await alice.send(outside("BYE")) == 481
    assert await alice.send(outside("BYE", to_tag="unknown")) == 481
    assert await alice.send(outside("INVITE", to_tag="unknown")) == 481
    assert await alice.send(outside("OPTIONS", extra=(("Require", "100rel"),))) == 420
    assert await alice.send(outside("INVITE", extra=(("Require", "precondition"),))) == 420
    assert await alice.send(outside("INVITE", body=b"x")) == 415
    assert await alice.send(outside("INVITE", uri="http:x")) == 416
    no_contact = outside("INVITE")
    no_contact.headers.remove("Contact")
    assert await alice.send(no_contact) == 400
    assert alice.flow is not None
    for tag in (None, "unknown"):
        alice.endpoint.send_ack(outside("ACK", to_tag=tag), alice.flow)


async def test_a_target_that_is_no_uri_is_refused(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    with pytest.raises(ParseError):
        ends.alice.invite("bob")


@pytest.mark.clause("RFC 3261 19.1.5", "RFC 3261 19.1.1")
@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("sip:bob@ims.example?Subject=x&Priority=urgent", "no headers .Subject, Priority."),
        ("sip:bob@ims.example?body=hello", "no headers .body."),
        ("sip:bob@ims.example;method=REGISTER", "names no method"),
    ],
)
async def test_a_target_that_asks_for_more_than_a_call_is_refused(
    stack: AsyncExitStack, target: str, says: str
) -> None:
    ends = await two(stack)
    with pytest.raises(LocalProtocolError, match=says):
        ends.alice.agent.invite(target, OFFER, ends.alice.flow, features={})  # type: ignore[arg-type]


async def test_closing_ends_every_call(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    leg, other = await ends.call()
    open_call = ends.alice.invite()
    waiting = await anext(ends.bob.calls)
    waiting.ring()
    await ends.alice.agent.aclose(0.5)
    await ends.alice.agent.aclose(0.5)
    assert await other.wait_ended() == "the peer ended the call"
    await waiting.leg.wait_ended()
    with pytest.raises(CallRejected):
        await open_call.answered()
    assert leg.is_ended
    late = CallLeg(ends.alice.agent, leg.dialog, leg.flow, "")
    await late.bye()
    assert late.is_ended
    ends.alice.agent.end_later(CallLeg(ends.alice.agent, leg.dialog, leg.flow, ""))


async def test_a_lost_network_ends_every_dialog_without_bye(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    leg, other = await ends.call()
    ends.alice.agent.end_all("no network")
    assert await leg.wait_ended() == "no network"
    assert not other.is_ended


async def test_dialogs_move_to_the_new_connection(stack: AsyncExitStack) -> None:
    ends = await two(stack)
    leg, other = await ends.call()
    old, address = leg.flow, leg.flow.remote
    new = await ends.alice.endpoint.connect("tcp", *address)
    ends.alice.agent.move(old, new)
    await leg.bye()
    assert await other.wait_ended() == "the peer ended the call"
