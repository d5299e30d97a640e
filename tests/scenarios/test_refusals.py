"""What must be refused, by a typed error and with nothing sent on media first.

Each is brought about by the network's fault of the same name, or by a peer that says by hand what
no client of ours would. The rows E.. and D.. are those of the error catalogues.
"""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import AsyncExitStack
from typing import Any, ClassVar

import pytest

from dcsdk import (
    CallRejected,
    ConfigError,
    DataChannels,
    FingerprintMismatch,
    LineRole,
    MessageTooLarge,
    NegotiationError,
    OperationTimeout,
    PeerUnreachable,
    RemoteProtocolError,
    SecurityError,
    SecurityScope,
    Session,
    UnsupportedByNetwork,
    UnsupportedByPeer,
    hookimpl,
)
from dcsdk.emulator import Network
from dcsdk.emulator.lab.trace import TraceEvent
from dcsdk.interfaces import (
    Agreement,
    KeyingParameters,
    MediaIntent,
    Paths,
    SecureTransport,
    SecurityAnswer,
    SecurityBackend,
    SecurityContext,
)
from dcsdk.plugins.security.dtls_sctp import DtlsSctpBackend, OfferedDtls
from tests.emulator.raw_ue import RawUe
from tests.emulator.sdp import description, line
from tests.scenarios.calls import (
    BOB,
    Ue,
    a_call,
    a_channel,
    dial,
    line_of,
    messages,
    network_with,
    next_request,
    talk,
)
from tests.scenarios.conftest import MakeUe


def row(clause: str, *values: Any) -> Any:
    """A parameter set that carries its row of the catalogue."""
    return pytest.param(*values, marks=pytest.mark.clause(clause), id=values[0]["faults"][0])


def fault(name: str) -> dict[str, Any]:
    return {"faults": (name,)}


# --- answers --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("ims_network", "error", "says"),
    [
        row("E7", fault("E7-fingerprint"), SecurityError, "no a=fingerprint"),
        row("RFC 8122 5", fault("unsupported-hash"), SecurityError, "md5"),
        row("E7", fault("E7-setup"), RemoteProtocolError, "no a=setup"),
        row("E7", fault("E7-tls-id"), RemoteProtocolError, "no a=tls-id"),
        row("E12", fault("E12"), RemoteProtocolError, "actpass"),
        row("D3", fault("D3"), RemoteProtocolError, "twice"),
        row("D6", fault("D6"), RemoteProtocolError, "not offered"),
    ],
    indirect=["ims_network"],
)
async def test_a_wrong_answer_ends_the_call_before_anything_is_sent_on_media(
    ims_network: Network, alice: Ue, bob: Ue, error: type[Exception], says: str
) -> None:
    mine, theirs = await dial(alice, bob)
    assert isinstance(mine, error) and says in str(mine)
    assert alice.media.bytes_sent == 0
    assert len(alice.media.associations) == 1
    if isinstance(theirs, Session):
        assert await theirs.wait_ended() == "the peer ended the call"
        await theirs.aclose()
    assert list(messages(ims_network, "alice", "P-CSCF", "ACK"))
    assert list(messages(ims_network, "alice", "P-CSCF", "BYE"))


@pytest.mark.clause("E6", "RFC 8122 5", "TS 33.328 7.2.X step 10")
@network_with("E6")
async def test_a_certificate_that_was_not_signalled_ends_the_call_before_any_message(
    alice: Ue, bob: Ue
) -> None:
    mine, theirs = await dial(alice, bob)
    assert isinstance(mine, FingerprintMismatch)
    assert alice.media.packets_sent == 0
    if isinstance(theirs, Session):
        await theirs.wait_ended()
        await theirs.aclose()


@pytest.mark.clause("E7", "RFC 8842 5.4")
@network_with("E7-tls-id")
async def test_a_missing_tls_id_is_taken_when_the_config_says_so(make_ue: MakeUe) -> None:
    alice = await make_ue("alice", accept_missing_tls_id=True)
    bob = await make_ue("bob", accept_missing_tls_id=True)
    async with a_call(alice, bob) as (session, answered):
        await talk(*await a_channel(session, answered))


@pytest.mark.clause("D11", "RFC 3264 6")
@network_with("D11")
async def test_refused_lines_are_unsupported_by_the_peer_and_the_call_goes_on(
    make_ue: MakeUe,
) -> None:
    alice, bob = await make_ue("alice"), await make_ue("bob", media_timeout_s=1.5)
    async with a_call(alice, bob) as (session, answered):
        with pytest.raises(UnsupportedByPeer):
            await session.bootstrap.applications()
        opening = asyncio.create_task(session.open(label="chat"))
        accepting = asyncio.create_task((await next_request(answered)).accept())
        with pytest.raises(UnsupportedByPeer):
            await opening
        with pytest.raises((PeerUnreachable, OperationTimeout)):
            await accepting
        assert alice.media.bytes_sent == 0
        assert not session.is_ended


@pytest.mark.clause("E14", "RFC 8841 9.3")
@network_with("E14")
async def test_sctp_port_0_refuses_the_association(alice: Ue, bob: Ue) -> None:
    async with a_call(alice, bob) as (session, _):
        assert session.streams == () and not session.bootstrap.is_available
        assert alice.media.bytes_sent == 0


@pytest.mark.parametrize(
    ("ims_network", "error"),
    [
        row("E7", fault("E7-fingerprint"), SecurityError),
        row("E12", fault("E12"), RemoteProtocolError),
        row("D6", fault("D6"), RemoteProtocolError),
    ],
    indirect=["ims_network"],
)
async def test_a_wrong_answer_to_a_reoffer_costs_the_call_nothing_else(
    ims_network: Network, alice: Ue, bob: Ue, error: type[Exception]
) -> None:
    """The first call asks for no line, so the first answer there is to spoil is the re-offer's."""
    async with a_call(alice, bob, []) as (session, answered):
        opening = asyncio.create_task(session.open(label="chat"))
        accepting = asyncio.create_task((await next_request(answered)).accept())
        with pytest.raises(error):
            await opening
        assert alice.media.bytes_sent == 0
        with pytest.raises(ConnectionError):
            await accepting
        assert not session.is_ended and not answered.is_ended
        assert session.streams == ()
        assert [stream.app.role for stream in answered.streams] == [LineRole.BOOTSTRAP]


# --- offers ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("ims_network", "says"),
    [
        row("E7", fault("E7-fingerprint-offer"), "no a=fingerprint"),
        row("RFC 8122 5", fault("unsupported-hash-offer"), "md5"),
        row("E7", fault("E7-setup-offer"), "no a=setup"),
        row("E7", fault("E7-tls-id-offer"), "no a=tls-id"),
    ],
    indirect=["ims_network"],
)
async def test_a_wrong_offer_is_refused_by_the_callee(
    ims_network: Network, alice: Ue, bob: Ue, says: str
) -> None:
    mine, theirs = await dial(alice, bob)
    assert isinstance(theirs, NegotiationError) and says in str(theirs)
    assert isinstance(mine, CallRejected) and mine.status == 488
    assert bob.media.associations == [] and alice.media.bytes_sent == 0


@pytest.mark.parametrize(
    "ims_network",
    [
        row("D3", fault("D3-offer")),
        row("D4", fault("D4-offer")),
        row("D5", fault("D5-offer")),
    ],
    indirect=["ims_network"],
)
async def test_channels_that_must_not_be_opened_are_refused_by_the_callee(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    mine, theirs = await dial(alice, bob)
    async with AsyncExitStack() as stack:
        for end in (mine, theirs):
            if isinstance(end, Session):
                await stack.enter_async_context(end)
        answers = list(messages(ims_network, "bob", "P-CSCF", "200 OK (INVITE)"))
        for answer in answers:
            assert line_of(answer).is_rejected or not line_of(answer).dcmaps
        assert answers or isinstance(theirs, NegotiationError)
        assert bob.media.bytes_sent == 0


@pytest.mark.clause("D2")
@network_with("D2-offer")
async def test_a_reserved_stream_id_is_left_out_of_the_answer(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    async with a_call(alice, bob) as (_, answered):
        (offer,) = messages(ims_network, "P-CSCF", "bob", "INVITE")
        (answer,) = messages(ims_network, "bob", "P-CSCF", "200 OK (INVITE)")
        assert 5 in [dcmap.stream_id for dcmap in line_of(offer).dcmaps]
        assert [dcmap.stream_id for dcmap in line_of(answer).dcmaps] == [0]
        assert answered.streams[0].app.stream_ids == (0,)


@pytest.mark.clause("E6", "TS 33.328 7.3.X step 5")
@network_with("E6-offer")
async def test_the_callee_verifies_the_certificate_too(alice: Ue, bob: Ue) -> None:
    mine, theirs = await dial(alice, bob)
    assert isinstance(theirs, FingerprintMismatch)
    assert bob.media.packets_sent == 0
    if isinstance(mine, Session):
        await mine.wait_ended()
        await mine.aclose()


# --- what must not be asked for -------------------------------------------------------------------
@pytest.mark.clause("TS 33.328 7.2.X NOTE 2", "E2")
@network_with(e2dce_tokens=False)
async def test_e2dce_without_registration_is_an_error_before_anything_is_sent(
    ims_network: Network, alice: Ue, bob: Ue
) -> None:
    with pytest.raises(ConfigError, match="register"):
        await alice.client.call(BOB, [DataChannels(scope=SecurityScope.E2DCE)])
    assert not list(messages(ims_network, "alice", "P-CSCF", "INVITE"))
    assert alice.media.bytes_sent == 0


@pytest.mark.clause("E2", "TS 33.328 7.2.X NOTE 2")
@network_with("E2")
async def test_the_network_refuses_the_indication_of_a_ue_that_did_not_register_it(
    make_ue: MakeUe,
) -> None:
    alice, _ = await make_ue("alice", e2dce_tokens=False), await make_ue("bob")
    with pytest.raises(CallRejected) as caught:
        await alice.client.call(BOB)
    assert caught.value.status == 488
    assert alice.media.bytes_sent == 0


@pytest.mark.clause("E15", "TS 23.228 AC")
@network_with("E15")
async def test_no_data_channel_is_offered_to_a_network_that_has_none(
    ims_network: Network, alice: Ue
) -> None:
    with pytest.raises(UnsupportedByNetwork, match=r"g\.3gpp\.datachannel"):
        await alice.client.call(BOB)
    assert not list(messages(ims_network, "alice", "P-CSCF", "INVITE"))
    assert alice.media.bytes_sent == 0


@pytest.mark.clause("E15")
@network_with("E15")
async def test_a_data_channel_offered_from_such_a_network_is_refused(
    ims_network: Network, bob: Ue
) -> None:
    password = ims_network.client_config("alice").password.reveal()
    async with RawUe("alice", ims_network.address("tcp"), password=password) as alice:
        assert (await alice.register()).is_success
        calling = asyncio.create_task(alice.call(BOB, description(line(1000))))
        with pytest.raises(NegotiationError):
            await (await bob.next_call()).accept()
        response, _ = await calling
        assert response.status == 488
    assert bob.media.associations == []


@pytest.mark.clause("E16", "TS 26.114 6.2.10.1")
async def test_a_call_without_speech_is_refused_unless_it_is_meant(
    ims_network: Network, make_ue: MakeUe
) -> None:
    alice = await make_ue("alice", allow_standalone_dc=False)
    with pytest.raises(ConfigError, match="allow_standalone_dc"):
        await alice.client.call(BOB)
    assert not list(messages(ims_network, "alice", "P-CSCF", "INVITE"))


async def test_a_call_before_registration_is_refused(make_ue: MakeUe) -> None:
    alice = await make_ue("alice", register=False)
    with pytest.raises(Exception, match="not registered"):
        await alice.client.call(BOB)


@pytest.mark.clause("RFC 8841 6", "RFC 8831 6.6")
async def test_a_message_larger_than_the_peer_takes_is_refused_at_send(
    ims_network: Network, make_ue: MakeUe
) -> None:
    profile = dataclasses.replace(ims_network.config.profile, max_message_size=1200)
    alice, bob = await make_ue("alice"), await make_ue("bob", profile=profile)
    async with a_call(alice, bob) as (session, answered):
        one, other = await a_channel(session, answered)
        assert (one.max_message_size, other.max_message_size) == (1200, 262_144)
        with pytest.raises(MessageTooLarge, match="1200"):
            await one.send(b"x" * 1201)
        assert one.queued_bytes == one.messages_sent == 0
        await one.send(b"x" * 1200)
        assert await other.receive() == b"x" * 1200


class Eager:
    """A plug-in whose answerer starts DTLS on application lines before its answer has left.

    Attributes:
        ue: set it before the first call.
        fingerprint: what its answers say instead of its own, if anything.
    """

    ue: Ue

    def __init__(self, fingerprint: str | None = None) -> None:
        eager, self.fingerprint = self, fingerprint

        class EagerBackend(DtlsSctpBackend):
            name: ClassVar[str] = "eager"

            begun: SecureTransport | None = None

            async def answer(
                self,
                offered: OfferedDtls,
                intent: MediaIntent,
                context: SecurityContext,
                current: Agreement | None,
            ) -> SecurityAnswer:
                answer = await super().answer(offered, intent, context, current)
                assert isinstance(intent, DataChannels)
                if intent.bootstrap or current is not None:
                    return answer
                bound = eager.ue.media.associations[-1]
                assert bound.paths.rtp is not None
                self.begun = self.open(answer.agreement.parameters, bound.paths, context)
                bound.paths.rtp.set_remote(offered.side.address)
                self.begun.start()
                attributes = answer.attributes
                if eager.fingerprint is not None:
                    said = {"fingerprint": eager.fingerprint}
                    attributes = tuple((name, said.get(name, value)) for name, value in attributes)
                return SecurityAnswer(attributes=attributes, agreement=answer.agreement)

            def open(
                self, parameters: KeyingParameters, paths: Paths, context: SecurityContext
            ) -> SecureTransport:
                begun, self.begun = self.begun, None
                return begun or super().open(parameters, paths, context)

        self._backend = EagerBackend

    @hookimpl
    def dcsdk_security_backends(self) -> list[type[SecurityBackend]]:
        return [self._backend]

    @hookimpl(tryfirst=True)
    def dcsdk_select_security(
        self, intent: MediaIntent, candidates: list[SecurityBackend]
    ) -> SecurityBackend | None:
        return next(item for item in candidates if item.name == "eager")


@pytest.fixture
async def eager(make_ue: MakeUe) -> Eager:
    """Bob, who is early."""
    plugin = Eager()
    plugin.ue = await make_ue("bob", plugins=(plugin,))
    return plugin


def media_when_the_answer_came(network: Network, ue: Ue) -> list[tuple[int, int]]:
    """Bytes received and sent on application lines at the moment an answer is sent to alice."""
    seen: list[tuple[int, int]] = []

    def look(event: TraceEvent) -> None:
        is_answer = event.destination == "alice" and event.summary == "200 OK (INVITE)"
        if is_answer and len(ue.media.associations) > 1:
            path = ue.media.associations[1].paths.rtp
            assert path is not None
            counters = path.stats()
            seen.append((counters["bytes_received"], counters["bytes_sent"]))

    network.trace.subscribe(look)
    return seen


# --- a peer that is early -------------------------------------------------------------------------
@pytest.mark.clause("RFC 8842 5.3", "TS 33.328 7.2.Y")
async def test_a_dtls_peer_that_connects_before_the_answer_waits_until_it_is_verified(
    ims_network: Network, alice: Ue, eager: Eager
) -> None:
    seen = media_when_the_answer_came(ims_network, alice)
    async with a_call(alice, eager.ue) as (session, answered):
        one, other = await a_channel(session, answered)
        await talk(one, other)
        assert one.security.peer_fingerprint == other.security.local_fingerprint
    ((received, sent),) = seen
    assert received > 0, "the peer was early"
    assert sent == 0, "and got no answer before it was known"


@pytest.mark.clause("E6", "RFC 8842 5.3", "RFC 8122 5")
async def test_an_early_dtls_peer_that_is_not_the_signalled_one_is_shut_out(
    ims_network: Network, alice: Ue, eager: Eager
) -> None:
    eager.fingerprint = "sha-256 " + ":".join(["5A"] * 32)
    seen = media_when_the_answer_came(ims_network, alice)
    async with a_call(alice, eager.ue) as (session, answered):
        opening = asyncio.create_task(session.open(label="chat"))
        accepting = asyncio.create_task((await next_request(answered)).accept())
        with pytest.raises(FingerprintMismatch):
            await opening
        with pytest.raises((SecurityError, ConnectionError)):
            await accepting
        assert not session.is_ended
        assert alice.media.packets_sent_on(1) == 0
    (received, sent) = seen[0]
    assert received > 0 and sent == 0
