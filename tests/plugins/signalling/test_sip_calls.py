"""Calls of the SIP signalling, in both directions."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from dcsdk.errors import (
    CallRejected,
    RemoteProtocolError,
)
from dcsdk.ims.mediasec import SecurityMechanism
from dcsdk.interfaces import (
    IncomingInvitation,
    RegistrationRequest,
    SignallingDialog,
)
from dcsdk.io.sip.endpoint import IncomingRequest
from dcsdk.plugins.signalling.sip import SipSignalling
from dcsdk.sip.syntax.message import Request

from .test_sip import (
    ANSWER,
    CHALLENGE,
    E2DCE,
    OFFER,
    REQUEST,
    Network,
    answering,
    called,
    calling,
    network,
    registered,
    started,
)


@pytest.mark.clause("TS 24.229 5.1.2A.1", "RFC 3608 6.1", "RFC 3325 9.2")
async def test_an_invite_goes_by_the_pcscf_and_the_service_route(stack: AsyncExitStack) -> None:
    made, _, dialog = await called(stack)
    invite = made.seen[2]
    port = made.flows[0].local[1]
    assert invite.headers.get_list("Route") == [
        f"<sip:127.0.0.1:{port};transport=tcp;lr>",
        "<sip:scscf.ims.example;lr>",
    ]
    assert invite.headers.get("P-Preferred-Identity") == "<sip:alice@ims.example>"
    assert "Security-Verify" not in invite.headers and "P-Asserted-Identity" not in invite.headers
    assert invite.body == OFFER.encode() and invite.content_type == "application/sdp"
    assert dialog.asserted_identity == "sip:bob@ims.example"
    assert dialog.remote_uri == "sip:bob@ims.example"
    await made.until(lambda: "ACK" in made.methods())
    await dialog.bye()
    assert await dialog.wait_ended() == "we ended the call"
    assert made.methods()[-1] == "BYE"


@pytest.mark.clause("RFC 3261 21.4.26")
async def test_a_refused_call_tells_its_status(stack: AsyncExitStack) -> None:
    made, signalling = await registered(stack)

    def refuse(incoming: IncomingRequest) -> None:
        if incoming.request.method == "INVITE":
            incoming.reply(180)
            incoming.reply(488, headers=[("Warning", '304 ims "media type"')])

    made.other = refuse
    invitation = calling(signalling)
    with pytest.raises(CallRejected, match="304") as caught:
        await invitation.answered()
    assert caught.value.status == 488 and list(invitation.progress)[-1] == 180


@pytest.mark.clause("E3")
async def test_494_to_invite_is_answered_with_the_list_that_came(stack: AsyncExitStack) -> None:
    made, signalling = await registered(stack)
    accept = answering()

    def demand(incoming: IncomingRequest) -> None:
        if (
            incoming.request.method == "INVITE"
            and "Security-Verify" not in incoming.request.headers
        ):
            incoming.reply(494, headers=[("Security-Server", "tls;q=0.1, sdes-srtp;mediasec")])
        else:
            accept(incoming)

    made.other = demand
    dialog, _ = await calling(signalling).answered()
    first, second = (request for request in made.seen if request.method == "INVITE")
    assert second.headers.get("Security-Verify") == "tls;q=0.1, sdes-srtp;mediasec"
    assert second.cseq.number == first.cseq.number + 1 and second.call_id == first.call_id
    await dialog.bye()


@pytest.mark.clause("E3")
@pytest.mark.parametrize("headers", [[("Security-Server", "tls")], []])
async def test_494_to_invite_again_is_a_refusal(
    stack: AsyncExitStack, headers: list[tuple[str, str]]
) -> None:
    made, signalling = await registered(stack)
    made.other = lambda incoming: incoming.is_answered or incoming.reply(494, headers=headers)
    with pytest.raises(CallRejected) as caught:
        await calling(signalling).answered()
    assert caught.value.status == 494


@pytest.mark.clause("RFC 3261 22.2", "RFC 3261 22.3")
@pytest.mark.parametrize(
    ("status", "asks", "answers"),
    [
        (401, "WWW-Authenticate", "Authorization"),
        (407, "Proxy-Authenticate", "Proxy-Authorization"),
    ],
)
async def test_a_challenge_to_invite_is_answered_once(
    stack: AsyncExitStack, status: int, asks: str, answers: str
) -> None:
    made, signalling = await registered(stack)
    made.other = lambda incoming: (
        incoming.is_answered or incoming.reply(status, headers=[(asks, CHALLENGE)])
    )
    with pytest.raises(CallRejected) as caught:
        await calling(signalling).answered()
    assert caught.value.status == status
    assert [answers in r.headers for r in made.seen if r.method == "INVITE"] == [False, True]
    made.other = lambda incoming: (
        incoming.is_answered or incoming.reply(status, headers=[(asks, "Basic realm=x")])
    )
    with pytest.raises(CallRejected):
        await calling(signalling).answered()


@pytest.mark.clause("RFC 3264 5")
@pytest.mark.parametrize(
    ("body", "content_type"), [("nonsense", "application/sdp"), ("hello", "text/plain")]
)
async def test_a_2xx_without_a_usable_answer_is_ended(
    stack: AsyncExitStack, body: str, content_type: str
) -> None:
    made, signalling = await registered(stack)
    made.other = answering(body=body, content_type=content_type)
    with pytest.raises(RemoteProtocolError):
        await calling(signalling).answered()
    assert "BYE" in made.methods()


@pytest.mark.clause("RFC 3261 14")
async def test_a_reoffer_of_ours_is_answered(stack: AsyncExitStack) -> None:
    _, _, dialog = await called(stack)
    assert await dialog.reoffer(OFFER, timeout_s=5) == ANSWER
    await dialog.wait_after_glare()
    assert await dialog.reoffer(OFFER, timeout_s=5) == ANSWER


async def test_a_call_comes_in_and_is_reoffered(stack: AsyncExitStack) -> None:
    made, signalling = await registered(stack)
    sending = asyncio.ensure_future(made.invite(body=OFFER.encode()))
    invitation = await anext(aiter(signalling.invitations()))
    assert invitation.offer == OFFER and invitation.call_id == "from-bob"
    assert invitation.remote_uri == "sip:bob@ims.example"
    assert invitation.asserted_identity == "sip:bob@ims.example"
    await invitation.ring()
    accepting = asyncio.ensure_future(invitation.accept(ANSWER))
    status, invite = await sending
    assert status == 200
    dialog = await acknowledged(made, signalling, invite, accepting)
    for body, expected in ((b"nonsense", 400), (OFFER.encode(), 200), (OFFER.encode(), 488)):
        reoffer = inside(signalling, invite, "INVITE", body)
        sent = made.endpoint.send(reoffer, made.flows[0])
        if expected != 400:
            waiting = await anext(aiter(dialog.reoffers()))
            assert waiting.offer == OFFER
            if expected == 488:
                await waiting.reject(488)
            else:
                answered = asyncio.ensure_future(waiting.accept(ANSWER))
                await sent.final()
                ack = inside(signalling, invite, "ACK")
                made.endpoint.send_ack(ack, made.flows[0])
                await answered
        else:
            listening = asyncio.ensure_future(anext(aiter(dialog.reoffers())))
            await sent.final()
            listening.cancel()
        assert (await sent.final()).status == expected
    await dialog.bye()


numbers = iter(range(2, 1000))


def inside(signalling: SipSignalling, invite: Request, method: str, body: bytes = b"") -> Request:
    """A request of the peer inside the dialog of ``invite``."""
    (leg,) = signalling._agent.legs
    headers = invite.headers.copy()
    headers.set("To", str(leg.dialog.local))
    number = leg.dialog.remote_cseq if method == "ACK" else next(numbers)
    headers.set("CSeq", f"{number} {method}")
    if not body:
        headers.remove("Content-Type")
    return Request(method, invite.uri, headers, body)


async def acknowledged(
    made: Network,
    signalling: SipSignalling,
    invite: Request,
    accepting: asyncio.Future[SignallingDialog],
) -> SignallingDialog:
    made.endpoint.send_ack(inside(signalling, invite, "ACK"), made.flows[0])
    return await accepting


async def test_a_call_can_be_refused(stack: AsyncExitStack) -> None:
    made, signalling = await registered(stack)
    sending = asyncio.ensure_future(made.invite(body=OFFER.encode()))
    invitation: IncomingInvitation = await anext(aiter(signalling.invitations()))
    await invitation.reject(603, "Decline")
    assert (await sending)[0] == 603


async def test_sdp_that_cannot_be_read_is_answered_400(stack: AsyncExitStack) -> None:
    made, _ = await registered(stack)
    assert (await made.invite(body=b"nonsense"))[0] == 400


async def test_a_call_without_offer_is_handed_over(stack: AsyncExitStack) -> None:
    made, signalling = await registered(stack)
    sending = asyncio.ensure_future(made.invite())
    invitation = await anext(aiter(signalling.invitations()))
    assert invitation.offer is None
    await invitation.reject(488)
    assert (await sending)[0] == 488


@pytest.mark.clause("TS 23.228 AC.7")
@pytest.mark.parametrize("caps", [True, False])
async def test_the_data_channel_tag_stays_out_of_calls_without_the_networks_capability(
    stack: AsyncExitStack, caps: bool
) -> None:
    made = await network(stack)
    if not caps:
        made.grant = []
    signalling = await started(stack, made)
    grant = await signalling.register(REQUEST)
    assert grant.service_route == () or caps
    assert ("+sip.app-subtype" in signalling._agent.features) is caps
    calling_identity = signalling._preferred_identity()
    assert calling_identity == "sip:alice@ims.example"


@pytest.mark.clause("RFC 3329 2.6")
async def test_security_verify_goes_with_requests_once_signalling_was_agreed(
    stack: AsyncExitStack,
) -> None:
    made = await network(stack)
    signalling = await started(stack, made)
    await signalling.register(
        RegistrationRequest(security_client=(SecurityMechanism(name="tls"), E2DCE))
    )
    made.other = answering()
    dialog, _ = await calling(signalling).answered()
    await made.until(lambda: "ACK" in made.methods())
    await dialog.bye()
    carried = {r.method: "Security-Verify" in r.headers for r in made.seen[2:]}
    assert carried == {"INVITE": True, "ACK": False, "BYE": True}


async def test_a_request_that_comes_past_the_pcscf_is_refused(stack: AsyncExitStack) -> None:
    made, _ = await registered(stack, "udp")
    stranger = await network(stack)
    host, port = made.flows[0].remote
    flow = await stranger.endpoint.connect("udp", host, port)
    stranger.flows.append(flow)
    assert (await stranger.invite(body=OFFER.encode()))[0] == 403
    stranger.endpoint.send_ack(made.seen[0], flow)
