"""Dialogs: creation, route sets, sequence numbers, target refresh, offers and glare."""

from __future__ import annotations

import pytest

from dcsdk.errors import LocalProtocolError, RemoteProtocolError
from dcsdk.sip.dialog import MAX_ROUTES, Dialog, DialogState, OfferExchange, glare_wait_s
from dcsdk.sip.syntax.message import Request
from dcsdk.sip.syntax.uri import MAX_CSEQ

from .messages import answer, counting_entropy, request

ROUTES = (("Record-Route", "<sip:p1.example;lr>"), ("Record-Route", "<sip:p2.example;lr>"))


def outgoing(status: int = 200, routes: tuple[tuple[str, str], ...] = ROUTES) -> Dialog:
    invite = request()
    return Dialog.from_response(invite, answer(invite, status, extra=routes))


def incoming(routes: tuple[tuple[str, str], ...] = ROUTES) -> Dialog:
    return Dialog.from_request(request(extra=routes), local_tag="bob")


@pytest.mark.clause("RFC 3261 12.1.2")
def test_the_callers_route_set_is_the_record_route_reversed() -> None:
    dialog = outgoing()
    assert dialog.state is DialogState.CONFIRMED
    assert dialog.key == ("call-1", "alice", "bob")
    bye = dialog.request("BYE")
    assert str(bye.uri) == "sip:bob@192.0.2.2:5060"
    assert bye.headers.get_all("Route") == ["<sip:p2.example;lr>", "<sip:p1.example;lr>"]
    assert str(bye.cseq) == "2 BYE"
    assert (bye.from_.tag, bye.to.tag, bye.call_id) == ("alice", "bob", "call-1")
    assert bye.headers.get("Max-Forwards") == "70"


@pytest.mark.clause("RFC 3261 12.1.1")
def test_the_callees_route_set_is_the_record_route_in_order() -> None:
    dialog = incoming()
    assert dialog.state is DialogState.EARLY and not dialog.is_call_id_owner
    bye = dialog.request("BYE")
    assert str(bye.uri) == "sip:alice@192.0.2.1:5060"
    assert bye.headers.get_all("Route") == ["<sip:p1.example;lr>", "<sip:p2.example;lr>"]
    assert (bye.from_.tag, bye.to.tag) == ("bob", "alice")
    assert str(bye.cseq) == "1 BYE"


@pytest.mark.clause("RFC 3261 12.2.1.1")
def test_a_strict_router_gets_the_request_uri() -> None:
    dialog = incoming((("Record-Route", "<sip:old.example>, <sip:p2.example;lr>"),))
    bye = dialog.request("BYE")
    assert str(bye.uri) == "sip:old.example"
    assert bye.headers.get_all("Route") == ["<sip:p2.example;lr>", "<sip:alice@192.0.2.1:5060>"]


@pytest.mark.clause("RFC 3261 12.1.2", "RFC 3261 13.2.2.4")
def test_an_early_dialog_is_confirmed_by_the_2xx_which_sets_the_routes_anew() -> None:
    invite = request()
    dialog = Dialog.from_response(invite, answer(invite, 180, extra=ROUTES))
    assert dialog.state is DialogState.EARLY
    dialog.confirm(answer(invite, 200, extra=ROUTES[:1]))
    assert dialog.state is DialogState.CONFIRMED
    assert dialog.request("BYE").headers.get_all("Route") == ["<sip:p1.example;lr>"]


@pytest.mark.clause("RFC 3261 13.2.2.4")
def test_the_ack_takes_the_number_of_its_invite() -> None:
    dialog = outgoing()
    dialog.request("INVITE")
    ack = dialog.ack(1, body=b"v=0\r\n", content_type="application/sdp")
    assert str(ack.cseq) == "1 ACK" and ack.content_type == "application/sdp"
    assert dialog.local_cseq == 2


@pytest.mark.clause("RFC 3261 12.2.2")
def test_a_request_out_of_order_is_answered_500() -> None:
    dialog = incoming()
    dialog.receive_request(request("BYE", cseq=5))
    for number in (5, 4):
        with pytest.raises(RemoteProtocolError) as caught:
            dialog.receive_request(request("INFO", cseq=number))
        assert caught.value.sip_status_hint == 500
    dialog.receive_request(request("ACK", cseq=1))
    assert dialog.remote_cseq == 5


@pytest.mark.clause("RFC 3261 12.2.2")
def test_the_callers_first_request_of_the_peer_sets_the_number() -> None:
    dialog = outgoing()
    dialog.receive_request(request("BYE", cseq=4711))
    assert dialog.remote_cseq == 4711


@pytest.mark.clause("RFC 3261 12.2.1.2")
def test_a_contact_refreshes_the_target() -> None:
    dialog = outgoing()
    moved = request(cseq=7)
    moved.headers.set("Contact", "<sip:bob@192.0.2.77>")
    dialog.refresh_target(moved)
    assert str(dialog.request("BYE").uri) == "sip:bob@192.0.2.77"
    moved.headers.remove("Contact")
    dialog.refresh_target(moved)
    assert str(dialog.remote_target) == "sip:bob@192.0.2.77"
    moved.headers.set("Contact", "<")
    with pytest.raises(RemoteProtocolError):
        dialog.refresh_target(moved)


@pytest.mark.clause("RFC 3261 12.1.1")
def test_an_invite_without_contact_is_answered_400() -> None:
    invite = request()
    invite.headers.remove("Contact")
    with pytest.raises(RemoteProtocolError) as caught:
        Dialog.from_request(invite, local_tag="bob")
    assert caught.value.sip_status_hint == 400


def test_a_2xx_without_contact_can_still_be_acknowledged() -> None:
    invite = request()
    response = answer(invite, 200)
    response.headers.remove("Contact")
    assert str(Dialog.from_response(invite, response).ack(1).uri) == "sip:bob@ims.example"


def test_unreadable_and_endless_route_sets_are_refused() -> None:
    invite = request()
    bad = answer(invite, 200, extra=(("Record-Route", "<"),))
    with pytest.raises(RemoteProtocolError):
        Dialog.from_response(invite, bad)
    dialog = outgoing()
    with pytest.raises(RemoteProtocolError):
        dialog.confirm(bad)
    endless = tuple(("Record-Route", f"<sip:p{n}.example;lr>") for n in range(MAX_ROUTES + 1))
    with pytest.raises(RemoteProtocolError):
        incoming(endless)


def test_sequence_numbers_end() -> None:
    dialog = outgoing()
    dialog.local_cseq = MAX_CSEQ
    with pytest.raises(LocalProtocolError):
        dialog.request("BYE")


@pytest.mark.clause("D10", "RFC 3261 14.2")
def test_an_offer_while_ours_waits_is_answered_491() -> None:
    exchange = OfferExchange()
    exchange.begin_local()
    with pytest.raises(RemoteProtocolError) as caught:
        exchange.begin_remote()
    assert caught.value.sip_status_hint == 491
    exchange.end()
    exchange.begin_remote()
    assert exchange.is_pending


@pytest.mark.clause("RFC 3261 14.2")
def test_a_second_offer_of_the_peer_is_answered_500() -> None:
    exchange = OfferExchange()
    exchange.begin_remote()
    with pytest.raises(RemoteProtocolError) as caught:
        exchange.begin_remote()
    assert caught.value.sip_status_hint == 500


@pytest.mark.clause("RFC 3261 14.1")
def test_we_make_no_offer_while_one_waits() -> None:
    exchange = OfferExchange()
    exchange.begin_remote()
    with pytest.raises(LocalProtocolError):
        exchange.begin_local()


@pytest.mark.clause("RFC 3261 14.1")
def test_the_waits_after_glare_never_meet() -> None:
    entropy = counting_entropy()
    owner = [glare_wait_s(is_call_id_owner=True, entropy=entropy) for _ in range(200)]
    other = [glare_wait_s(is_call_id_owner=False, entropy=entropy) for _ in range(200)]
    assert min(owner) >= 2.1 and max(owner) <= 4.0
    assert min(other) >= 0.0 and max(other) <= 2.0
    assert all(round(wait * 100) == pytest.approx(wait * 100) for wait in owner + other)


def test_extra_headers_are_written() -> None:
    bye: Request = outgoing().request("BYE", headers=[("Reason", "SIP;cause=200")])
    assert bye.headers.get("Reason") == "SIP;cause=200"
