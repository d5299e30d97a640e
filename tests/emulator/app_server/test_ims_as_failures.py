"""The IMS AS when something goes wrong, or comes at the wrong moment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from dcsdk.emulator.app_server.served_call import ServedCall
from dcsdk.emulator.sbi.dc_control import Decision, LineEnd, SessionInfo
from dcsdk.sip.dialog import Dialog
from tests.emulator.conftest import SmallNetwork, small_network
from tests.emulator.fake_control import FakeControl
from tests.emulator.raw_ue import RawUe
from tests.emulator.sdp import audio, description, line

from .test_ims_as import ANSWER, OFFER, ROBERTA, call, two_ues


@pytest.mark.parametrize("body", [b"", b"nonsense"])
async def test_an_answer_that_is_none_ends_the_call(
    served: SmallNetwork, control: FakeControl, body: bytes
) -> None:
    async with two_ues(served) as (alice, bob):
        task = asyncio.ensure_future(alice.call(ROBERTA, OFFER))
        incoming = await bob.next_request("INVITE")
        kind = [("Content-Type", "application/sdp")] if body else []
        contact = ("Contact", f"<{bob.contact}>")
        incoming.reply(200, headers=[contact, *kind], body=body)
        (await bob.next_request("BYE")).reply(200)
        response, _ = await task
        assert response.status == 502
        await control.until(lambda: not control.contexts)


async def test_an_answer_with_too_few_lines_ends_the_call(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        task = asyncio.ensure_future(alice.call(ROBERTA, OFFER))
        answering = asyncio.ensure_future(
            bob.answer(await bob.next_request("INVITE"), description(audio()))
        )
        (await bob.next_request("BYE")).reply(200)
        response, _ = await task
        assert response.status == 502
        await answering


async def test_an_invite_without_offer_is_not_acceptable(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, _):
        request = alice.request("INVITE", ROBERTA, alice.route)
        assert (await alice.send(request)).status == 488


async def test_an_extension_that_is_not_there_is_refused(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, _):
        response, _ = await alice.call(ROBERTA, OFFER, ("Require", "100rel, x"))
        assert response.status == 420
        assert response.headers.get("Unsupported") == "100rel, x"


async def test_a_reinvite_without_offer_is_not_acceptable(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        _, ours, _, _ = await call(served, control, alice, bob)
        assert (await alice.send(ours.request("INVITE"))).status == 488
        assert (await alice.send(ours.request("OPTIONS"))).status == 200
        response = await alice.send(ours.request("UPDATE"))
        assert response.status == 405 and "INVITE" in (response.headers.get("Allow") or "")
        late = ours.request("OPTIONS")
        late.headers.set("CSeq", "1 OPTIONS")
        assert (await alice.send(late)).status == 500


async def test_a_far_user_that_lost_the_dialog_ends_the_call(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        _, ours, _, _ = await call(served, control, alice, bob)
        task = asyncio.ensure_future(alice.reinvite(ours, OFFER))
        (await bob.next_request("INVITE")).reply(481)
        assert (await task).status == 481
        (await alice.next_request("BYE")).reply(200)


async def test_a_far_user_that_never_answers_a_reinvite_is_given_up(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        _, ours, _, _ = await call(served, control, alice, bob)
        bob.flow.close()
        response = await alice.reinvite(ours, OFFER)
        assert response.status in (430, 480, 408, 500)


async def test_a_cancelled_reinvite_changes_nothing(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        _, ours, _, _ = await call(served, control, alice, bob)
        request = ours.request(
            "INVITE",
            headers=[("Contact", f"<{alice.contact}>")],
            body=description(*OFFER.media, line(1000)).encode(),
            content_type="application/sdp",
        )
        transaction = alice.start(request)
        incoming = await bob.next_request("INVITE")
        incoming.reply(183)
        assert (await anext(transaction)).status == 100
        transaction.cancel()
        await incoming.cancelled.wait()
        incoming.reply(487)
        assert (await transaction.final()).status == 487
        assert served.ims_as is not None
        calls: tuple[ServedCall, ...] = served.ims_as.calls
        assert not any(item.model.is_pending for item in calls)


@pytest.mark.clause("RFC 3261 15")
async def test_a_bye_before_the_answer_ends_the_set_up(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        request = alice.invite_request(ROBERTA, OFFER)
        transaction = alice.start(request)
        incoming = await bob.next_request("INVITE")
        incoming.reply(180)
        async for response in transaction:
            if response.status == 180:
                break
        early = Dialog.from_response(request, response)
        bye = asyncio.ensure_future(alice.send(early.request("BYE")))
        await incoming.cancelled.wait()
        incoming.reply(487)
        assert (await bye).status == 200
        assert (await transaction.final()).status == 487


async def test_an_answer_nobody_acknowledges_ends_the_call(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        transaction = alice.start(alice.invite_request(ROBERTA, OFFER))
        await bob.answer(await bob.next_request("INVITE"), ANSWER)
        assert (await transaction.final()).status == 200
        (await bob.next_request("BYE")).reply(200)
        (await alice.next_request("BYE")).reply(200)


async def test_more_calls_than_fit_are_refused(
    served: SmallNetwork, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcsdk.emulator.app_server.ims_as.MAX_CALLS", 0)
    async with two_ues(served) as (alice, _):
        response, _ = await alice.call(ROBERTA, OFFER)
        assert response.status == 503


async def test_a_database_that_cannot_answer_is_a_server_error(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, _):
        served.hss.close()
        response, _ = await alice.call(ROBERTA, OFFER)
        assert response.status == 500


async def test_a_2xx_that_comes_again_is_acknowledged_again(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        task = asyncio.ensure_future(alice.call(ROBERTA, OFFER))
        incoming = await bob.next_request("INVITE")
        contact = ("Contact", f'<{bob.contact}>;+sip.app-subtype="webrtc-datachannel"')
        response = incoming.request.response(
            200,
            to_tag=incoming.local_tag,
            headers=[contact],
            body=ANSWER.encode(),
            content_type="application/sdp",
        )
        for _ in range(3):
            incoming.respond(response)
            async with asyncio.timeout(5):
                assert (await bob.requests.get()).request.method == "ACK"
        assert (await task)[0].status == 200


class SlowControl(FakeControl):
    """Holds every question until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()

    async def session_establishment(
        self, session: SessionInfo, offered: Mapping[str, LineEnd]
    ) -> Mapping[str, Decision]:
        self.asked.set()
        await self.go_on.wait()
        return await super().session_establishment(session, offered)


@pytest.mark.clause("RFC 3261 9")
async def test_a_cancel_while_the_dcsf_thinks_reaches_nobody_else() -> None:
    control = SlowControl()
    async with (
        small_network(control=control, is_served=True) as network,
        two_ues(network) as (alice, bob),
    ):
        transaction = alice.start(alice.invite_request(ROBERTA, OFFER))
        await control.asked.wait()
        assert (await anext(transaction)).status == 100
        transaction.cancel()
        await network.bus.wait_for(
            lambda event: event.source == "IMS-AS" and event.summary == "200 OK (CANCEL)"
        )
        control.go_on.set()
        assert (await transaction.final()).status == 487
        await control.until(lambda: control.of("orig")[-1:] == ["failed by SERVED"])
        assert bob.requests.empty()


async def test_a_callee_that_hangs_up_before_the_caller_knows_ends_the_set_up(
    served: SmallNetwork, control: FakeControl
) -> None:
    class Stubborn(FakeControl):
        async def media_answered(self, session_id: str, media_id: str, answer: LineEnd) -> None:
            hung_up.set()
            await ended.wait()

    hung_up, ended = asyncio.Event(), asyncio.Event()
    async with (
        small_network(control=Stubborn(), is_served=True) as network,
        two_ues(network) as (alice, bob),
    ):
        task = asyncio.ensure_future(alice.call(ROBERTA, OFFER))
        dialog = await bob.answer(await bob.next_request("INVITE"), ANSWER)
        await hung_up.wait()
        assert (await bob.send(dialog.request("BYE"))).status == 200
        ended.set()
        response, _ = await task
        assert response.status == 480


async def test_a_reinvite_waits_for_the_ack_of_the_one_before(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        _, ours, theirs, _ = await call(served, control, alice, bob)
        request = ours.request(
            "INVITE",
            headers=[("Contact", f"<{alice.contact}>")],
            body=OFFER.encode(),
            content_type="application/sdp",
        )
        transaction = alice.start(request)
        await bob.answer(await bob.next_request("INVITE"), ANSWER)
        assert (await transaction.final()).status == 200
        task = asyncio.ensure_future(bob.reinvite(theirs, ANSWER))
        await served.bus.wait_for(
            lambda event: event.source == "roberta" and event.summary == "INVITE"
        )
        alice.endpoint.send_ack(ours.ack(request.cseq.number), alice.flow)
        await alice.answer(await alice.next_request("INVITE"), OFFER)
        assert (await task).status == 200


async def test_a_stray_request_in_no_dialog_is_told_so(
    served: SmallNetwork, control: FakeControl
) -> None:
    assert served.ims_as is not None
    uri = str(served.ims_as.uri)
    async with RawUe("core", (served.ims_as.uri.host, served.ims_as.uri.port or 0)) as core:
        assert (await core.send(core.request("BYE", uri, [("To", f"<{uri}>;tag=1")]))).status == 481
        assert (await core.send(core.request("MESSAGE", uri))).status == 405
        for headers in ([], [("P-Served-User", "<sip:a@b>")], [("P-Served-User", "<")]):
            invite = core.request("INVITE", uri, headers, body=OFFER.encode())
            assert (await core.send(invite)).status == 400
        core.endpoint.send_ack(core.request("ACK", uri, [("To", f"<{uri}>;tag=1")]), core.flow)
        stranger = ("P-Served-User", "<sip:x@elsewhere>;sescase=orig")
        invite = core.request("INVITE", uri, [stranger], body=description(line(0)).encode())
        assert (await core.send(invite)).status == 488


async def test_a_reinvite_whose_answer_nobody_acknowledges_ends_the_call(
    served: SmallNetwork, control: FakeControl
) -> None:
    async with two_ues(served) as (alice, bob):
        _, ours, _, _ = await call(served, control, alice, bob)
        request = ours.request(
            "INVITE",
            headers=[("Contact", f"<{alice.contact}>")],
            body=OFFER.encode(),
            content_type="application/sdp",
        )
        transaction = alice.start(request)
        await bob.answer(await bob.next_request("INVITE"), ANSWER)
        assert (await transaction.final()).status == 200
        (await bob.next_request("BYE")).reply(200)
        (await alice.next_request("BYE")).reply(200)
