"""Calls through the SIP half of the IMS AS, once for each of the two users."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.session import SessionDescription
from dcsdk.sip.dialog import Dialog
from dcsdk.sip.syntax.message import Request, Response
from tests.emulator.conftest import SmallNetwork, small_network
from tests.emulator.fake_control import FakeControl
from tests.emulator.raw_ue import RawUe
from tests.emulator.sdp import MF_FINGERPRINT, audio, description, line

ROBERTA = "sip:roberta@ims.example"

E2DCE = ("Security-Client", "e2dce-dtls;mediasec")

OFFER = description(audio(), line(0, 10))

ANSWER = description(audio(30_002), line(0, setup="active", port=50_000))


@asynccontextmanager
async def two_ues(
    network: SmallNetwork, *headers: tuple[str, str]
) -> AsyncIterator[tuple[RawUe, RawUe]]:
    """alice and roberta, registered."""
    async with RawUe("alice", network.address) as alice, RawUe("roberta", network.address) as bob:
        for ue in (alice, bob):
            assert (await ue.register(*headers)).status == 200
        yield alice, bob


def sdp_of(message: Request | Response) -> SessionDescription:
    return SessionDescription.parse(message.body)


async def settled(control: FakeControl) -> None:
    """Wait until both sides have reported the call established."""
    await control.until(lambda: control.of("orig")[-1:] == control.of("term")[-1:] == ["SUCCESS"])


async def call(
    network: SmallNetwork,
    control: FakeControl,
    alice: RawUe,
    bob: RawUe,
    offer: SessionDescription = OFFER,
    answer: SessionDescription = ANSWER,
) -> tuple[Response, Dialog, Dialog, Request]:
    """Set up a call."""
    features = ("Contact", f'<{alice.contact}>;+sip.app-subtype="webrtc-datachannel";audio')
    task = asyncio.ensure_future(alice.call(ROBERTA, offer, features))
    incoming = await bob.next_request("INVITE")
    incoming.reply(180, headers=[("Contact", f"<{bob.contact}>;video")])
    theirs = await bob.answer(incoming, answer)
    response, ours = await task
    assert ours is not None, response
    await settled(control)
    return response, ours, theirs, incoming.request


@pytest.mark.clause("TS 23.228 AC.7.1")
@pytest.mark.clause("TS 24.186 9.3.2.2")
@pytest.mark.clause("TS 24.186 9.3.3.2")
async def test_each_users_bootstrap_line_ends_in_its_own_mf(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        response, _, _, arrived = await call(served, control, alice, bob)
        offered = sdp_of(arrived).media
        assert [media.media for media in offered] == ["audio", "application"]
        assert offered[1].fingerprints() == (MF_FINGERPRINT,)
        assert offered[1].setup is Setup.ACTPASS
        answered = sdp_of(response).media
        assert answered[0].port == 30_002
        assert answered[1].fingerprints() == (MF_FINGERPRINT,)
        assert [entry.stream_id for entry in answered[1].dcmaps] == [0, 10]
        assert control.answered[0].address == ("192.0.2.10", 50_000)
        assert [item.served_identity for item in control.sessions] == [
            "sip:alice@ims.example",
            ROBERTA,
        ]
        assert control.of("orig") == ["establish", "ALERTING", "SUCCESS"]
        assert control.of("term") == ["establish", "ALERTING", "answered local", "SUCCESS"]


@pytest.mark.clause("TS 26.114 6.2.10.1")
async def test_feature_tags_and_identities_pass_both_ways(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        response, _, _, arrived = await call(served, control, alice, bob)
        assert arrived.contacts[0].param("+sip.app-subtype") == "webrtc-datachannel"
        assert arrived.contacts[0].param("audio") == ""
        assert response.contacts[0].param("+sip.app-subtype") == "webrtc-datachannel"
        assert arrived.headers.get("P-Asserted-Identity") == "<sip:alice@ims.example>"
        assert response.headers.get("P-Asserted-Identity") == f"<{ROBERTA}>"
        assert arrived.call_id != response.call_id
        assert arrived.from_.uri == response.from_.uri and arrived.from_.tag != "alice"


@pytest.mark.clause("TS 33.328 7.3.X")
@pytest.mark.clause("TS 33.328 7.2.X")
async def test_mf_lines_are_marked_for_users_that_registered_e2dce(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served, E2DCE) as (alice, bob):
        offer = description(line(0, extra=[("3ge2dce", "requested")]))
        response, _, _, arrived = await call(
            served, control, alice, bob, offer, description(line(0, setup="active"))
        )
        assert [media.get("3ge2dce") for media in sdp_of(arrived).media] == ["applied"]
        assert [media.get("3ge2dce") for media in sdp_of(response).media] == ["applied"]


@pytest.mark.clause("E8")
async def test_marks_are_taken_from_users_that_did_not_register_e2dce(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        response, _, _, arrived = await call(served, control, alice, bob)
        for message in (arrived, response):
            assert not any(media.has("3ge2dce") for media in sdp_of(message).media)


@pytest.mark.clause("TS 23.228 AC.7.2.1")
@pytest.mark.clause("TS 24.186 9.3.2.2.2.2")
@pytest.mark.parametrize("caller_opens", [True, False])
async def test_either_user_adds_an_application_line_that_passes_unchanged(
    served: SmallNetwork, control: FakeControl, caller_opens: bool
) -> None:
    async with two_ues(served) as (alice, bob):
        _, ours, theirs, _ = await call(served, control, alice, bob)
        opener, dialog, other = (alice, ours, bob) if caller_opens else (bob, theirs, alice)
        app = line(1000, port=45_000, extra=[("3gpp-req-app", "chat")])
        lines = OFFER.media if caller_opens else ANSWER.media
        task = asyncio.ensure_future(opener.reinvite(dialog, description(*lines, app, version=2)))
        incoming = await other.next_request("INVITE")
        assert sdp_of(incoming.request).media[-1] == app
        assert len(sdp_of(incoming.request).media) == 3
        answer_line = line(1000, port=46_000, setup="active")
        await other.answer(incoming, description(audio(), line(0, setup="active"), answer_line))
        response = await task
        assert sdp_of(response).media[2] == answer_line
        assert sdp_of(response).media[1].fingerprints() == (MF_FINGERPRINT,)
        by = ("SERVED", "REMOTE") if caller_opens else ("REMOTE", "SERVED")
        assert f"change by {by[0]}" in control.of("orig")
        assert f"change by {by[1]}" in control.of("term")
        assert control.offered[-1] == ("term" if caller_opens else "orig", (1000,))


@pytest.mark.clause("D12")
@pytest.mark.clause("RFC 3261 14.1")
async def test_a_reinvite_the_far_user_refuses_leaves_the_session_as_it_was(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        _, ours, _, _ = await call(served, control, alice, bob)
        with_app = description(*OFFER.media, line(1000))
        for expected in (488, 200):
            task = asyncio.ensure_future(alice.reinvite(ours, with_app))
            incoming = await bob.next_request("INVITE")
            assert len(sdp_of(incoming.request).media) == 3
            if expected == 488:
                incoming.reply(488, headers=[("Warning", '399 bob "no"')])
            else:
                await bob.answer(incoming, description(*ANSWER.media, line(1000, setup="active")))
            response = await task
            assert response.status == expected
            if expected == 488:
                assert response.headers.get("Warning") == '399 bob "no"'
                assert control.of("orig")[-1] == "MEDIA_CHANGE_FAILURE"


@pytest.mark.clause("TS 24.186 9.3.2.2")
async def test_a_line_the_dcsf_rejects_refuses_the_reinvite_and_the_far_user_never_sees_it(
    served: SmallNetwork, control: FakeControl
) -> None:
    control.rejects = frozenset({1000})
    async with two_ues(served) as (alice, bob):
        _, ours, _, _ = await call(served, control, alice, bob)
        response = await alice.reinvite(ours, description(*OFFER.media, line(1000)))
        assert response.status == 488
        assert bob.requests.empty() or (await bob.requests.get()).request.method == "ACK"
        assert len(served.ims_as.calls if served.ims_as else ()) == 2


@pytest.mark.clause("RFC 3264 8")
async def test_a_reinvite_with_fewer_lines_is_refused(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        _, ours, _, _ = await call(served, control, alice, bob)
        assert (await alice.reinvite(ours, description(audio()))).status == 488


@pytest.mark.clause("D10")
@pytest.mark.clause("RFC 3261 14.2")
async def test_two_reinvites_that_cross_are_both_told_to_wait(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        _, ours, theirs, _ = await call(served, control, alice, bob)
        first = asyncio.ensure_future(alice.reinvite(ours, OFFER))
        incoming = await bob.next_request("INVITE")
        assert (await bob.reinvite(theirs, ANSWER)).status == 491
        incoming.reply(491)
        assert (await first).status == 491


@pytest.mark.clause("RFC 3261 15")
@pytest.mark.parametrize("caller_ends", [True, False])
async def test_a_bye_of_either_user_ends_both_legs_and_all_contexts(
    served: SmallNetwork, control: FakeControl, caller_ends: bool
) -> None:
    async with two_ues(served) as (alice, bob):
        _, ours, theirs, _ = await call(served, control, alice, bob)
        assert [len(ids) for ids in control.contexts.values()] == [1, 1]
        ender, dialog, other = (alice, ours, bob) if caller_ends else (bob, theirs, alice)
        assert (await ender.send(dialog.request("BYE"))).status == 200
        (await other.next_request("BYE")).reply(200)
        await control.until(lambda: not control.contexts)
        assert served.ims_as is not None and served.ims_as.calls == ()
        assert control.of("orig")[-1] == f"ended by {'SERVED' if caller_ends else 'REMOTE'}"
        assert control.of("term")[-1] == f"ended by {'REMOTE' if caller_ends else 'SERVED'}"
        assert (await ender.send(dialog.request("INFO"))).status == 481


@pytest.mark.clause("RFC 3261 9")
async def test_a_cancel_reaches_the_called_user_and_deletes_what_was_made(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        transaction = alice.start(alice.invite_request(ROBERTA, OFFER))
        incoming = await bob.next_request("INVITE")
        incoming.reply(180)
        async for response in transaction:
            if response.status == 180:
                break
        transaction.cancel()
        async with asyncio.timeout(5):
            await incoming.cancelled.wait()
        incoming.reply(487)
        assert (await transaction.final()).status == 487
        await control.until(lambda: not control.contexts)
        assert control.of("orig")[-1] == "failed by SERVED"
        assert control.of("term")[-1] == "failed by REMOTE"


@pytest.mark.parametrize("status", [486, 603, 488])
async def test_a_refusal_reaches_the_caller_and_deletes_what_was_made(
    served: SmallNetwork, control: FakeControl, status: int
) -> None:
    async with two_ues(served) as (alice, bob):
        task = asyncio.ensure_future(alice.call(ROBERTA, OFFER))
        (await bob.next_request("INVITE")).reply(status, headers=[("Retry-After", "7")])
        response, _ = await task
        assert response.status == status
        assert response.headers.get("Retry-After") == "7"
        await control.until(lambda: not control.contexts)


@pytest.mark.clause("TS 24.186 9.3.2.2.1")
async def test_a_caller_without_data_channels_calls_without_them(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with RawUe("mu", served.address) as mu, RawUe("roberta", served.address) as bob:
        for ue in (mu, bob):
            await ue.register()
        task = asyncio.ensure_future(mu.call(ROBERTA, OFFER))
        incoming = await bob.next_request("INVITE")
        await bob.answer(incoming, ANSWER)
        response, _ = await task
        assert [media.port for media in sdp_of(response).media] == [30_002, 0]
        assert control.of("orig") == [] and control.of("term")[0] == "establish"
        response, _ = await mu.call(ROBERTA, description(line(0)))
        assert response.status == 488


async def test_a_called_user_without_data_channels_sees_none(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with RawUe("alice", served.address) as alice, RawUe("mu", served.address) as mu:
        for ue in (alice, mu):
            await ue.register()
        app = description(audio(), line(0), line(1000))
        task = asyncio.ensure_future(alice.call("sip:mu@ims.example", app))
        incoming = await mu.next_request("INVITE")
        assert sdp_of(incoming.request).media == (audio(),)
        await mu.answer(incoming, description(audio()))
        response, _ = await task
        ports = [media.port for media in sdp_of(response).media]
        assert ports[0] == 30_000 and ports[1] > 0 and ports[2] == 0


async def test_a_called_terminal_without_data_channels_sees_none(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with RawUe("alice", served.address) as alice, RawUe("roberta", served.address) as bob:
        await alice.register()
        await bob.register(("Contact", f"<{bob.contact}>"))
        task = asyncio.ensure_future(alice.call(ROBERTA, OFFER))
        incoming = await bob.next_request("INVITE")
        assert sdp_of(incoming.request).media == (audio(),)
        incoming.reply(486)
        await task


async def test_without_the_dcsf_a_call_goes_on_without_data_channels(
    served: SmallNetwork, control: FakeControl
) -> None:
    control.is_failing = True
    async with two_ues(served) as (alice, bob):
        task = asyncio.ensure_future(alice.call(ROBERTA, OFFER))
        incoming = await bob.next_request("INVITE")
        assert sdp_of(incoming.request).media == (audio(),)
        await bob.answer(incoming, description(audio()))
        response, _ = await task
        assert [media.port for media in sdp_of(response).media] == [30_000, 0]


async def test_a_network_without_data_channels_refuses_them() -> None:
    async with small_network(is_served=True) as network, two_ues(network) as (alice, bob):
        task = asyncio.ensure_future(alice.call(ROBERTA, OFFER))
        incoming = await bob.next_request("INVITE")
        assert sdp_of(incoming.request).media == (audio(),)
        await bob.answer(incoming, description(audio()))
        response, _ = await task
        assert sdp_of(response).media[1].is_rejected
