"""How P-CSCF and S-CSCF route, and what they say of who sends."""

from __future__ import annotations

import asyncio

import pytest

from dcsdk.emulator.core.sip_node import SipNode
from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.errors import PeerUnreachable, RemoteProtocolError
from dcsdk.io.sip.endpoint import SipEndpoint
from dcsdk.io.sip.flow import Flow
from dcsdk.sdp.session import SessionDescription
from dcsdk.sip.dialog import Dialog
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import SipUri, parse_uri
from tests.emulator.conftest import SmallNetwork, small_network
from tests.emulator.raw_ue import RawUe
from tests.emulator.sdp import audio, description, line

ROBERTA = "sip:roberta@ims.example"
E2DCE = ("Security-Client", "e2dce-dtls;mediasec")


async def both(alice: RawUe, roberta: RawUe, *headers: tuple[str, str]) -> None:
    for ue in (alice, roberta):
        assert (await ue.register(*headers)).status == 200


@pytest.mark.clause("RFC 3325 5")
@pytest.mark.clause("RFC 3327 5.3")
async def test_a_request_reaches_the_contact_with_the_identity_the_network_knows(
    network: SmallNetwork,
) -> None:
    async with RawUe("alice", network.address) as alice, RawUe("roberta", network.address) as bob:
        await both(alice, bob)
        request = alice.request(
            "MESSAGE",
            "sip:roberta@IMS.example;user=phone",
            [
                *alice.route,
                ("P-Preferred-Identity", "<tel:+495>"),
                ("P-Asserted-Identity", "<sip:president@ims.example>"),
                ("P-Served-User", "<sip:president@ims.example>;sescase=orig"),
            ],
        )
        transaction = alice.start(request)
        arrived = await bob.next_request("MESSAGE")
        headers = arrived.request.headers
        assert arrived.request.uri == bob.contact
        assert headers.get_all("P-Asserted-Identity") == ["<tel:+495>"]
        assert "P-Preferred-Identity" not in headers and "P-Served-User" not in headers
        assert headers.get("P-Called-Party-ID") == f"<{ROBERTA}>"
        assert "Route" not in headers
        assert headers.get("Max-Forwards") == "67"
        arrived.reply(200, headers=[("P-Asserted-Identity", "<sip:x@y>")])
        response = await transaction.final()
        assert response.headers.get_all("P-Asserted-Identity") == [f"<{ROBERTA}>"]


@pytest.mark.clause("RFC 3325 5")
async def test_an_identity_of_somebody_else_is_not_taken(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice, RawUe("roberta", network.address) as bob:
        await both(alice, bob)
        request = alice.request(
            "MESSAGE", ROBERTA, [*alice.route, ("P-Preferred-Identity", f"<{ROBERTA}>")]
        )
        transaction = alice.start(request)
        arrived = await bob.next_request("MESSAGE")
        asserted = arrived.request.headers.get("P-Asserted-Identity")
        assert asserted == "<sip:alice@ims.example>"
        arrived.reply(200)
        await transaction.final()


@pytest.mark.clause("TS 24.229 5.2.6")
async def test_who_has_not_registered_sends_nothing(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        response = await alice.send(alice.request("MESSAGE", ROBERTA, alice.route))
        assert response.status == 403


@pytest.mark.clause("RFC 3608 6")
async def test_an_initial_request_must_take_the_service_route(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        await alice.register()
        for route in ([], [("Route", "<sip:127.0.0.1:9;lr>")]):
            request = alice.request("MESSAGE", ROBERTA, [*alice.route[:1], *route])
            assert (await alice.send(request)).status == 400


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("sip:nobody@ims.example", 404),
        (ROBERTA, 480),
        ("sip:x@elsewhere.example", 404),
        ("tel:+1", 404),
    ],
)
@pytest.mark.parametrize("method", ["MESSAGE", "INVITE"])
async def test_nobody_there(
    network: SmallNetwork, served: SmallNetwork, target: str, status: int, method: str
) -> None:
    for started in (network, served):
        async with RawUe("alice", started.address) as alice:
            await alice.register()
            body = description(audio()).encode() if method == "INVITE" else b""
            request = alice.request(method, target, alice.route, body=body)
            assert (await alice.send(request)).status == status


@pytest.mark.clause("RFC 3261 16.3")
async def test_hops_are_counted(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        await alice.register()
        request = alice.request("MESSAGE", ROBERTA, [*alice.route, ("Max-Forwards", "0")])
        assert (await alice.send(request)).status == 483


@pytest.mark.clause("RFC 3261 21.5.14")
@pytest.mark.parametrize(("header_bytes", "body_bytes"), [(70_000, 0), (0, 2_000_000)])
async def test_a_request_that_is_too_large_costs_nothing_but_itself(
    network: SmallNetwork, header_bytes: int, body_bytes: int
) -> None:
    async with RawUe("alice", network.address) as alice:
        assert (await alice.register()).status == 200
        headers = [*alice.route, ("Subject", "s" * header_bytes)]
        large = alice.request("MESSAGE", ROBERTA, headers, body=bytes(body_bytes))
        assert (await alice.send(large)).status == 513
        assert not alice.flow.is_closed
        assert (await alice.register()).status == 200


async def call(
    alice: RawUe, bob: RawUe, offer: SessionDescription, answer: SessionDescription
) -> tuple[Response, Dialog, Dialog, Request]:
    """Set up a call through the proxies alone."""
    task = asyncio.ensure_future(alice.call(ROBERTA, offer))
    incoming = await bob.next_request("INVITE")
    incoming.reply(180)
    theirs = await bob.answer(incoming, answer)
    response, ours = await task
    assert ours is not None, response
    return response, ours, theirs, incoming.request


@pytest.mark.clause("RFC 3261 16.6")
async def test_a_dialog_takes_the_recorded_route_both_ways(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice, RawUe("roberta", network.address) as bob:
        await both(alice, bob)
        sdp = description(audio())
        _, ours, theirs, _ = await call(alice, bob, sdp, sdp)
        assert len(ours.route_set) == 5 and len(theirs.route_set) == 5
        for ue, other, dialog in ((alice, bob, ours), (bob, alice, theirs)):
            transaction = ue.start(dialog.request("INFO"))
            arrived = await other.next_request("INFO")
            assert "Route" not in arrived.request.headers
            arrived.reply(200)
            assert (await transaction.final()).status == 200


@pytest.mark.clause("RFC 3261 12.2.1.1")
async def test_a_request_in_a_dialog_of_somebody_else_is_refused(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice, RawUe("roberta", network.address) as bob:
        await both(alice, bob)
        sdp = description(audio())
        _, ours, _, _ = await call(alice, bob, sdp, sdp)
        request = ours.request("INFO")
        assert (await bob.send(request)).status == 403
        request = ours.request("INFO")
        request.headers.remove("Route")
        assert (await alice.send(request)).status == 403


@pytest.mark.clause("RFC 5626 5.3.1")
async def test_a_user_whose_connection_is_gone_is_not_reachable(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        async with RawUe("roberta", network.address) as bob:
            await both(alice, bob)
        async with asyncio.timeout(5):
            while (await alice.send(alice.request("MESSAGE", ROBERTA, alice.route))).status != 480:
                pass


async def test_a_user_that_connects_again_keeps_its_dialogs(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice, RawUe("roberta", network.address) as bob:
        await both(alice, bob)
        sdp = description(audio())
        _, ours, _, _ = await call(alice, bob, sdp, sdp)
        old = bob.flow
        bob._flow = await bob.endpoint.connect("tcp", *network.address)
        old.close()
        assert (await bob.register()).status == 200
        transaction = alice.start(ours.request("INFO"))
        (await bob.next_request("INFO")).reply(200)
        assert (await transaction.final()).status == 200


async def test_a_next_hop_that_is_not_there_is_service_unavailable(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        await alice.register()
        await network.scscf.aclose()
        response = await alice.send(alice.request("MESSAGE", ROBERTA, alice.route))
        assert response.status in (500, 503)
        response = await alice.send(alice.request("MESSAGE", ROBERTA, alice.route))
        assert response.status == 503


async def test_a_stray_request_from_the_core_reaches_nobody(network: SmallNetwork) -> None:
    async def ignore(_: object) -> None: ...

    host, port = network.pcscf._core
    async with SipEndpoint(on_request=ignore) as endpoint:
        flow = await endpoint.connect("tcp", host, port)
        for route in ("", f"<sip:nonsense@{host}:{port};transport=tcp;lr>"):
            request = Request("MESSAGE", parse_uri(f"sip:alice@{host}:{port};transport=tcp"))
            for name, value in (
                ("From", "<sip:x@y>;tag=1"),
                ("To", "<sip:alice@ims.example>"),
                ("Call-ID", f"stray{route}"),
                ("CSeq", "1 MESSAGE"),
                *([("Route", route)] if route else []),
            ):
                request.headers.add(name, value)
            assert (await endpoint.send(request, flow).final()).status == 480


# --- e2DCe indications at the P-CSCF -------------------------------------------------------------
REQUESTED = ("3ge2dce", "requested")
APPLIED = ("3ge2dce", "applied")


def indications(message: Request | Response) -> list[str | None]:
    return [media.get("3ge2dce") for media in SessionDescription.parse(message.body).media]


@pytest.mark.clause("TS 33.328 7.2.X step 3")
async def test_a_request_for_e2dce_does_not_travel_through_the_core(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice, RawUe("roberta", network.address) as bob:
        await both(alice, bob, E2DCE)
        offer = description(line(0, extra=[REQUESTED]), line(1000, extra=[APPLIED]))
        _, _, _, arrived = await call(alice, bob, offer, offer)
        assert indications(arrived) == [None, None]


@pytest.mark.clause("E2")
@pytest.mark.clause("TS 33.328 7.2.X NOTE 2")
async def test_a_request_for_e2dce_without_registration_is_refused(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        await alice.register()
        response, _ = await alice.call(ROBERTA, description(line(0, extra=[REQUESTED])))
        assert response.status == 488


@pytest.mark.clause("E2")
async def test_fault_e2_requests_e2dce_for_a_user_that_did_not() -> None:
    async with (
        small_network(faults=frozenset({"E2"})) as network,
        RawUe("alice", network.address) as alice,
    ):
        await alice.register()
        response, _ = await alice.call(ROBERTA, description(line(0)))
        assert response.status == 488


@pytest.mark.clause("TS 33.328 7.2.X")
async def test_a_network_without_the_tokens_lets_them_pass() -> None:
    async with (
        small_network(is_e2dce_supported=False) as network,
        RawUe("alice", network.address) as alice,
        RawUe("roberta", network.address) as bob,
    ):
        await both(alice, bob)
        offer = description(line(0, extra=[REQUESTED]))
        _, _, _, arrived = await call(alice, bob, offer, offer)
        assert indications(arrived) == ["requested"]


@pytest.mark.clause("E8")
async def test_an_answer_cannot_claim_what_only_the_network_may(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice, RawUe("roberta", network.address) as bob:
        await both(alice, bob, E2DCE)
        answer = description(line(0, setup="active", extra=[APPLIED]))
        response, _, _, _ = await call(alice, bob, description(line(0)), answer)
        assert indications(response) == [None]


async def test_an_offer_that_cannot_be_read_is_a_bad_request(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        await alice.register()
        request = alice.request("INVITE", ROBERTA, alice.route, body=b"hello")
        assert (await alice.send(request)).status == 400


async def test_an_answer_that_cannot_be_read_passes(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice, RawUe("roberta", network.address) as bob:
        await both(alice, bob)
        transaction = alice.start(alice.invite_request(ROBERTA, description(audio())))
        incoming = await bob.next_request("INVITE")
        contact = ("Contact", f"<{bob.contact}>")
        incoming.reply(200, headers=[contact], body=b"hello", content_type="application/sdp")
        assert (await transaction.final()).body == b"hello"


# --- faults of the P-CSCF that refuse ------------------------------------------------------------
async def test_fault_488_refuses_every_call() -> None:
    async with (
        small_network(faults=frozenset({"488"})) as network,
        RawUe("alice", network.address) as alice,
    ):
        await alice.register()
        response, _ = await alice.call(ROBERTA, description(audio()))
        assert response.status == 488


@pytest.mark.clause("D10")
@pytest.mark.clause("D12")
@pytest.mark.parametrize(("fault", "statuses"), [("D10", [491, 200]), ("D12", [488, 488])])
async def test_a_fault_refuses_reinvites(fault: str, statuses: list[int]) -> None:
    async with (
        small_network(faults=frozenset({fault})) as network,
        RawUe("alice", network.address) as alice,
        RawUe("roberta", network.address) as bob,
    ):
        await both(alice, bob)
        sdp = description(audio())
        _, ours, _, _ = await call(alice, bob, sdp, sdp)
        for status in statuses:
            task = asyncio.ensure_future(alice.reinvite(ours, sdp))
            if status == 200:
                await bob.answer(await bob.next_request("INVITE"), sdp)
            assert (await task).status == status


@pytest.mark.parametrize("fault", ["silence", "silence-invite"])
async def test_a_silent_network_answers_nothing_final(fault: str) -> None:
    async with (
        small_network(faults=frozenset({fault})) as network,
        RawUe("alice", network.address) as alice,
    ):
        if fault == "silence-invite":
            await alice.register()
        request = alice.request("INVITE", ROBERTA, alice.route, body=description().encode())
        transaction = alice.start(request)
        assert (await anext(transaction)).status == 100
        await network.bus.wait_for(lambda event: event.summary.startswith("100"))
        assert not transaction.is_done


async def test_the_trace_names_both_ends_of_each_message(network: SmallNetwork) -> None:
    async with RawUe("alice", network.address) as alice:
        await alice.send(alice.register_request())
    steps = [(event.source, event.destination, event.summary) for event in network.bus]
    assert steps == [
        ("alice", "P-CSCF", "REGISTER"),
        ("P-CSCF", "S-CSCF", "REGISTER"),
        ("S-CSCF", "P-CSCF", "401 Unauthorized (REGISTER)"),
        ("P-CSCF", "alice", "401 Unauthorized (REGISTER)"),
    ]


async def test_an_address_in_use_is_an_error(network: SmallNetwork) -> None:
    with pytest.raises(Exception, match="in use") as caught:
        await network.pcscf.listen("tcp", *network.address)
    assert not isinstance(caught.value, PeerUnreachable)


async def test_ways_to_other_elements_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcsdk.emulator.core.sip_node.MAX_NEXT_HOPS", 2)

    async def ignore(_: object) -> None: ...

    node = SipNode("node", TraceBus(), on_request=ignore)
    other = SipNode("other", TraceBus(), on_request=ignore)
    ports = [(await other.listen("tcp", "127.0.0.1"))[1] for _ in range(3)]
    uris = [SipUri.parse(f"sip:127.0.0.1:{port};transport=tcp") for port in ports]
    flows = [await node.flow_to(uri) for uri in uris]
    assert flows[0].is_closed and not flows[1].is_closed
    assert await node.flow_to(uris[2]) is flows[2]
    assert other.is_own(uris[0]) and not node.is_own(uris[0])
    with pytest.raises(RemoteProtocolError) as caught:
        await node.flow_to(parse_uri("tel:+1"))
    assert caught.value.sip_status_hint == 416
    await node.aclose()
    await other.aclose()


async def test_keep_alives_and_messages_without_a_name_are_traced_as_they_are() -> None:
    arrived: asyncio.Queue[object] = asyncio.Queue()
    bus = TraceBus()
    node = SipNode("node", bus, on_request=arrived.put)
    async with SipEndpoint(on_request=arrived.put) as ue:
        flow = await ue.connect("tcp", *await node.listen("tcp", "127.0.0.1"))
        flow.send(b"\r\n\r\n")
        flow.send(
            b"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>\r\n\r\n"
        )
        event = await bus.wait_for(lambda event: event.destination == "node")
        assert event.source == f"127.0.0.1:{flow.local[1]}"
        assert event.summary == "200 OK"
        assert len(bus) >= 1
    await node.aclose()


async def test_a_ue_is_shown_by_its_name_though_an_element_connects_from_the_same_port() -> None:
    arrived: asyncio.Queue[object] = asyncio.Queue()
    closed: asyncio.Queue[Flow] = asyncio.Queue()
    bus = TraceBus()
    node = SipNode("node", bus, on_request=arrived.put, on_flow_closed=closed.put_nowait)
    address = await node.listen("tcp", "127.0.0.1")
    async with SipEndpoint(on_request=arrived.put) as ue:
        flow = await ue.connect("tcp", *address)
        bus.name_connection(flow.local, "IMS-AS", ("127.0.0.1", 1))
        flow.send(b"OPTIONS sip:x SIP/2.0\r\nFrom: <sip:alice@b>\r\nContent-Length: 0\r\n\r\n")
        event = await bus.wait_for(lambda event: event.destination == "node")
        assert event.source == "alice"
    await closed.get()
    assert not bus.has_name(flow.local, address), "the port may be another UE's next"
    await node.aclose()
