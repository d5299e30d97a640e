"""The SIP signalling plug-in against a scripted P-CSCF on loopback sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

import pytest

from dcsdk.config import ClientConfig
from dcsdk.emulator.lab.authority import Authority
from dcsdk.errors import (
    ConfigError,
    LocalProtocolError,
    OperationTimeout,
    PeerUnreachable,
    RegistrationFailed,
    SecurityError,
    TransportError,
)
from dcsdk.ims.feature_tags import contact_features
from dcsdk.ims.mediasec import SecurityMechanism
from dcsdk.interfaces import (
    OutgoingInvitation,
    RegistrationGrant,
    RegistrationRequest,
    SignallingDialog,
)
from dcsdk.io.sip.endpoint import IncomingRequest, SipEndpoint
from dcsdk.io.sip.flow import Flow
from dcsdk.plugins.signalling.sip import SipSignalling
from dcsdk.sdp.session import SessionDescription
from dcsdk.security import Secret, SignallingSecurity
from dcsdk.sip.digest import Challenge
from dcsdk.sip.syntax.headers import Headers
from dcsdk.sip.syntax.message import Request
from dcsdk.sip.syntax.uri import parse_uri
from dcsdk.sip.transactions.timers import SipTimers

Transport = Literal["udp", "tcp", "tls"]

TIMERS = SipTimers(t1_s=0.02, t2_s=0.05, t4_s=0.02, trying_s=0.005, glare_scale=0.02)

CLOSE_S = 0.3

SDP_TEXT = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"

OFFER = SessionDescription.parse(SDP_TEXT)

ANSWER = SessionDescription.parse(SDP_TEXT.replace("o=- 1", "o=- 2"))

E2DCE = SecurityMechanism.media("e2dce-dtls")

REQUEST = RegistrationRequest(
    security_client=(E2DCE,), contact_features=contact_features(dc_mux=True)
)

CHALLENGE = str(Challenge(realm="ims.example", nonce="n1", algorithm="SHA-256", qop=("auth",)))


class Network:
    """A P-CSCF, registrar and peer in one: what it answers is up to the test.

    Attributes:
        seen: every request that came.
        register: answers REGISTER; by default a challenge, then 200 with everything.
        other: answers the rest; by default by doing nothing.
    """

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.flows: list[Flow] = []
        self.register: Callable[[IncomingRequest], None] = self.challenge_then_ok
        self.other: Callable[[IncomingRequest], Any] = lambda incoming: None
        self.grant: list[tuple[str, str]] = [
            ("Service-Route", "<sip:scscf.ims.example;lr>"),
            ("P-Associated-URI", "<sip:alice@ims.example>"),
            ("Feature-Caps", "*;+g.3gpp.datachannel"),
        ]
        self.expires = 600_000
        self.arrived = asyncio.Event()
        self.endpoint = SipEndpoint(on_request=self.handle, timers=TIMERS, name="network")

    async def handle(self, incoming: IncomingRequest) -> None:
        self.seen.append(incoming.request)
        self.flows.append(incoming.flow)
        self.arrived.set()
        if incoming.request.method == "REGISTER":
            self.register(incoming)
        else:
            self.other(incoming)

    def challenge_then_ok(self, incoming: IncomingRequest) -> None:
        if 'nonce=""' in (incoming.request.headers.get("Authorization") or ""):
            server = ("Security-Server", "e2dce-dtls;mediasec, sdes-srtp;mediasec")
            incoming.reply(401, headers=[("WWW-Authenticate", CHALLENGE), server])
        else:
            contact = incoming.request.contacts[0]
            expires = min(self.expires, int(contact.param("expires") or 0))
            bindings = [("Contact", f"<{contact.uri}>;expires={expires}")] if expires else []
            incoming.reply(200, headers=[*bindings, *self.grant])

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.arrived.clear()
            await self.arrived.wait()

    def methods(self) -> list[str]:
        return [request.method for request in self.seen]

    async def invite(self, *, body: bytes = b"", tag: str | None = None) -> tuple[int, Request]:
        """Send an INVITE to the UE over its own connection and return the final status."""
        headers = Headers(
            [
                ("Max-Forwards", "70"),
                ("From", "<sip:bob@ims.example>;tag=b"),
                ("To", "<sip:alice@ims.example>"),
                ("Call-ID", "from-bob"),
                ("CSeq", "1 INVITE"),
                ("Contact", "<sip:bob@192.0.2.2>"),
                ("P-Asserted-Identity", '"Bob" <sip:bob@ims.example>, <tel:+49>'),
            ]
        )
        if body:
            headers.add("Content-Type", "application/sdp")
        request = Request("INVITE", parse_uri("sip:alice@ims.example"), headers, body)
        return (await self.endpoint.send(request, self.flows[0]).final()).status, request


async def network(stack: AsyncExitStack) -> Network:
    made = Network()
    await stack.enter_async_context(made.endpoint)
    return made


def configured(port: int, transport: Transport = "tcp", **options: Any) -> ClientConfig:
    values: dict[str, Any] = {
        "public_identity": "sip:alice@ims.example",
        "password": Secret("opensesame"),
        "pcscf_port": port,
        "pcscf_transport": transport,
        "register_timeout_s": 5.0,
        "call_timeout_s": 5.0,
        "close_timeout_s": CLOSE_S,
    }
    return ClientConfig(**{**values, **options})


async def started(
    stack: AsyncExitStack, made: Network, transport: Transport = "tcp", **options: Any
) -> SipSignalling:
    _, port = await made.endpoint.listen(transport, "127.0.0.1")
    signalling = SipSignalling(configured(port, transport, **options), timers=TIMERS)
    stack.push_async_callback(signalling.aclose, CLOSE_S)
    await signalling.start()
    return signalling


async def registered(
    stack: AsyncExitStack, transport: Transport = "tcp", **options: Any
) -> tuple[Network, SipSignalling]:
    made = await network(stack)
    signalling = await started(stack, made, transport, **options)
    await signalling.register(REQUEST)
    return made, signalling


def calling(signalling: SipSignalling) -> OutgoingInvitation:
    return signalling.invite("sip:bob@ims.example", OFFER, contact_features={})


def answering(*, body: str = str(ANSWER), content_type: str = "application/sdp") -> Any:
    """A peer that accepts every INVITE and answers the rest with 200."""

    def handle(incoming: IncomingRequest) -> None:
        if incoming.request.method == "INVITE":
            incoming.reply(
                200,
                headers=[
                    ("Contact", "<sip:bob@192.0.2.2>"),
                    ("P-Asserted-Identity", "<sip:bob@ims.example>"),
                ],
                body=body.encode(),
                content_type=content_type,
            )
        elif incoming.request.method != "ACK":
            incoming.reply(200)

    return handle


async def called(
    stack: AsyncExitStack,
) -> tuple[Network, SipSignalling, SignallingDialog]:
    made, signalling = await registered(stack)
    made.other = answering()
    dialog, answer = await calling(signalling).answered()
    assert answer == ANSWER
    return made, signalling, dialog


# --- registration ---------------------------------------------------------------------------------
@pytest.mark.clause("TS 24.229 5.1.1.2", "TS 24.229 7.2A.7")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_registration_over_unprotected_transports(
    stack: AsyncExitStack, transport: Transport
) -> None:
    made = await network(stack)
    signalling = await started(stack, made, transport)
    assert signalling.local_host == "127.0.0.1"
    assert signalling.security is SignallingSecurity.NONE
    grant = await signalling.register(REQUEST)
    assert grant.expires_s == 600_000 and grant.signalling is SignallingSecurity.NONE
    assert [m.name for m in grant.security_server] == ["e2dce-dtls", "sdes-srtp"]
    assert grant.feature_caps.has("g.3gpp.datachannel")
    assert grant.associated_uris == ("sip:alice@ims.example",)
    assert grant.service_route == ("<sip:scscf.ims.example;lr>",)
    first, second = made.seen
    assert "Security-Verify" not in first.headers
    assert second.headers.get_list("Security-Verify") == [
        "e2dce-dtls;mediasec",
        "sdes-srtp;mediasec",
    ]
    assert "P-Access-Network-Info" not in first.headers
    contact = first.contacts[0]
    assert contact.param("+sip.app-subtype") == "webrtc-datachannel"
    with pytest.raises(LocalProtocolError):
        await signalling.register(REQUEST)
    await signalling.deregister(CLOSE_S)
    assert made.seen[-1].contacts[0].param("expires") == "0"
    await signalling.deregister(CLOSE_S)


@pytest.mark.clause("TS 33.203 O.2.3", "RFC 7315 5.4")
async def test_registration_over_tls_with_a_key_log(stack: AsyncExitStack, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    made = await network(stack)
    context = authority.server_context(authority.issue("pcscf", ["127.0.0.1"]))
    _, port = await made.endpoint.listen("tls", "127.0.0.1", ssl_context=context)
    keylog = tmp_path / "keys.txt"
    signalling = SipSignalling(
        configured(port, "tls", ca_file=authority.ca_file, keylog=keylog), timers=TIMERS
    )
    stack.push_async_callback(signalling.aclose, CLOSE_S)
    await signalling.start()
    grant = await signalling.register(REQUEST)
    assert grant.signalling is signalling.security is SignallingSecurity.TLS
    assert made.seen[1].headers.get("P-Access-Network-Info") == "IEEE-802.11"
    assert "transport=tls" in str(made.seen[1].contacts[0].uri)
    assert "TRAFFIC_SECRET" in keylog.read_text() or "CLIENT_RANDOM" in keylog.read_text()
    assert keylog.stat().st_mode & 0o077 == 0


@pytest.mark.clause("RFC 3261 26.3.2.1")
async def test_a_certificate_of_a_stranger_is_refused(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    made = await network(stack)
    context = stranger.server_context(stranger.issue("pcscf", ["127.0.0.1"]))
    _, port = await made.endpoint.listen("tls", "127.0.0.1", ssl_context=context)
    signalling = SipSignalling(configured(port, "tls", ca_file=authority.ca_file))
    stack.push_async_callback(signalling.aclose, CLOSE_S)
    with pytest.raises(SecurityError):
        await signalling.start()
    assert made.seen == []
    broken = SipSignalling(configured(port, "tls", ca_file=tmp_path / "missing.pem"))
    stack.push_async_callback(broken.aclose, CLOSE_S)
    with pytest.raises(ConfigError):
        await broken.start()


async def test_a_pcscf_that_is_not_there_is_unreachable(stack: AsyncExitStack) -> None:
    made = await network(stack)
    _, port = await made.endpoint.listen("tcp", "127.0.0.1")
    await made.endpoint.aclose()
    signalling = SipSignalling(configured(port))
    stack.push_async_callback(signalling.aclose, CLOSE_S)
    with pytest.raises(LocalProtocolError):
        _ = signalling.local_host
    with pytest.raises(PeerUnreachable):
        await signalling.start()


@pytest.mark.clause("RFC 3261 10.2.7")
@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (403, []),
        (401, [("WWW-Authenticate", CHALLENGE)]),
        (423, [("Min-Expires", "1")]),
        (494, [("Security-Server", "e2dce-dtls;mediasec")]),
        (500, [("Retry-After", "7")]),
    ],
)
async def test_a_refused_registration_is_a_typed_error_and_can_be_tried_again(
    stack: AsyncExitStack, status: int, headers: list[tuple[str, str]]
) -> None:
    made = await network(stack)
    signalling = await started(stack, made)
    made.register = lambda incoming: incoming.reply(status, headers=headers)
    with pytest.raises(RegistrationFailed) as caught:
        await signalling.register(REQUEST)
    assert caught.value.status == status
    assert caught.value.retry_after_s == (7 if status == 500 else None)
    made.register = made.challenge_then_ok
    assert (await signalling.register(REQUEST)).expires_s == 600_000


@pytest.mark.clause("E3")
async def test_494_to_register_is_answered_with_the_new_list(stack: AsyncExitStack) -> None:
    made = await network(stack)
    signalling = await started(stack, made)

    def demand(incoming: IncomingRequest) -> None:
        if "Security-Verify" in incoming.request.headers:
            made.challenge_then_ok(incoming)
        else:
            incoming.reply(494, headers=[("Security-Server", "e2dce-dtls;mediasec")])

    made.register = demand
    grant = await signalling.register(REQUEST)
    assert [m.name for m in grant.security_server] == ["e2dce-dtls", "sdes-srtp"]


@pytest.mark.parametrize("bound", [0.05, 5.0])
async def test_a_registrar_that_is_silent_times_out(stack: AsyncExitStack, bound: float) -> None:
    made = await network(stack)
    signalling = await started(stack, made, register_timeout_s=bound)
    made.register = lambda incoming: None
    with pytest.raises(OperationTimeout):
        await signalling.register(REQUEST)


async def test_a_cancelled_registration_leaves_the_signalling_usable(
    stack: AsyncExitStack,
) -> None:
    made = await network(stack)
    signalling = await started(stack, made)
    made.register = lambda incoming: None
    waiter = asyncio.ensure_future(signalling.register(REQUEST))
    await made.until(lambda: len(made.seen) == 1)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    made.register = made.challenge_then_ok
    await signalling.register(REQUEST)


@pytest.mark.clause("TS 24.229 5.1.1.4")
async def test_the_registration_is_refreshed_by_itself(stack: AsyncExitStack) -> None:
    made = await network(stack)
    signalling = await started(stack, made)
    made.expires = 1
    refreshed: asyncio.Future[RegistrationGrant] = asyncio.get_running_loop().create_future()
    await signalling.register(REQUEST, on_refreshed=refreshed.set_result)
    made.expires = 600_000
    assert (await refreshed).expires_s == 600_000
    assert made.seen[-1].call_id == made.seen[0].call_id


@pytest.mark.clause("TS 24.229 5.1.1.4")
async def test_a_refused_refresh_tells_that_the_registration_is_lost(
    stack: AsyncExitStack,
) -> None:
    made = await network(stack)
    signalling = await started(stack, made)
    made.expires = 1
    lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    await signalling.register(REQUEST, on_lost=lost.set_result)
    made.register = lambda incoming: incoming.reply(403)
    error = await lost
    assert isinstance(error, RegistrationFailed) and error.status == 403
    made.register = made.challenge_then_ok
    await signalling.register(REQUEST)


async def test_a_deregistration_without_answer_is_bounded(stack: AsyncExitStack) -> None:
    made, signalling = await registered(stack)
    made.register = lambda incoming: None
    await signalling.deregister(0.05)
    assert made.seen[-1].contacts[0].param("expires") == "0"


@pytest.mark.clause("RFC 5626 4.5")
async def test_a_broken_connection_is_opened_again_and_the_registration_refreshed(
    stack: AsyncExitStack,
) -> None:
    made = await network(stack)
    signalling = await started(stack, made)
    refreshed: asyncio.Future[RegistrationGrant] = asyncio.get_running_loop().create_future()
    await signalling.register(REQUEST, on_refreshed=refreshed.set_result)
    made.other = answering()
    dialog, _ = await calling(signalling).answered()
    made.flows[0].close()
    await refreshed
    assert made.seen[-1].contacts[0].uri != made.seen[0].contacts[0].uri
    await dialog.bye()
    assert made.methods()[-1] == "BYE"


@pytest.mark.clause("RFC 5626 4.5")
async def test_a_network_that_vanishes_is_told_and_ends_the_calls(stack: AsyncExitStack) -> None:
    made = await network(stack)
    signalling = await started(stack, made)
    lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    await signalling.register(REQUEST, on_lost=lost.set_result)
    made.other = answering()
    dialog, _ = await calling(signalling).answered()
    await made.endpoint.aclose()
    assert isinstance(await lost, TransportError)
    assert "cannot be reached" in await dialog.wait_ended()
    with pytest.raises(TransportError):
        calling(signalling)


# --- life -----------------------------------------------------------------------------------------
async def test_nothing_works_before_start_or_after_the_end(stack: AsyncExitStack) -> None:
    made = await network(stack)
    _, port = await made.endpoint.listen("tcp", "127.0.0.1")
    signalling = SipSignalling(configured(port, local_host="127.0.0.1"))
    with pytest.raises(LocalProtocolError):
        calling(signalling)
    with pytest.raises(LocalProtocolError):
        await signalling.register(REQUEST)
    await signalling.start()
    await signalling.start()
    await signalling.aclose(CLOSE_S)
    await signalling.aclose(CLOSE_S)
    with pytest.raises(LocalProtocolError):
        await signalling.start()
    assert [invitation async for invitation in signalling.invitations()] == []
    await signalling.deregister(CLOSE_S)


async def test_closing_ends_calls_with_bye(stack: AsyncExitStack) -> None:
    made, signalling, dialog = await called(stack)
    await signalling.aclose(CLOSE_S)
    assert made.methods()[-1] == "BYE"
    assert await dialog.wait_ended() == "we ended the call"
