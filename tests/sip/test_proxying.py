"""What a proxy changes in messages."""

from __future__ import annotations

import pytest

from dcsdk.errors import RemoteProtocolError
from dcsdk.sip.proxying import (
    top_route,
    with_fewer_hops,
    with_record_route,
    without_own_route,
    without_top_via,
)
from dcsdk.sip.syntax.uri import SipUri

from .messages import answer, request


def is_own(uri: SipUri) -> bool:
    return uri.host == "own.example"


@pytest.mark.clause("RFC 3261 16.3", "RFC 3261 16.6")
def test_max_forwards_counts_down_to_483() -> None:
    message = request()
    fewer = with_fewer_hops(message)
    assert fewer.headers.get("Max-Forwards") == "69"
    assert message.headers.get("Max-Forwards") == "70"
    message.headers.remove("Max-Forwards")
    assert with_fewer_hops(message).headers.get("Max-Forwards") == "70"
    for value, status in (("0", 483), ("-1", 400), ("x", 400), ("9999", 400)):
        message.headers.set("Max-Forwards", value)
        with pytest.raises(RemoteProtocolError) as caught:
            with_fewer_hops(message)
        assert caught.value.sip_status_hint == status


@pytest.mark.clause("RFC 3261 16.4")
def test_our_own_routes_come_off_the_top_only() -> None:
    message = request(
        extra=(
            ("Route", "<sip:token@own.example;lr>, <sip:own.example;lr>"),
            ("Route", "<sip:next.example;lr>, <sip:own.example;lr>"),
        )
    )
    left, own = without_own_route(message, is_own)
    assert [str(route.uri) for route in own] == ["sip:token@own.example;lr", "sip:own.example;lr"]
    assert left.headers.get_list("Route") == ["<sip:next.example;lr>", "<sip:own.example;lr>"]
    route = top_route(left)
    assert route is not None and str(route.uri) == "sip:next.example;lr"
    assert top_route(request()) is None
    assert without_own_route(request(extra=(("Route", "<tel:+49>"),)), is_own)[1] == ()


def test_an_unreadable_route_is_answered_400() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        without_own_route(request(extra=(("Route", "<"),)), is_own)
    assert caught.value.sip_status_hint == 400


@pytest.mark.clause("RFC 3261 16.6")
def test_record_route_goes_on_top_and_is_loose() -> None:
    message = request(extra=(("Record-Route", "<sip:first.example;lr>"),))
    marked = with_record_route(message, SipUri(host="own.example"))
    assert marked.headers.get_list("Record-Route") == [
        "<sip:own.example;lr>",
        "<sip:first.example;lr>",
    ]
    again = with_record_route(request(), SipUri.parse("sip:own.example;lr"))
    assert again.headers.get("Record-Route") == "<sip:own.example;lr>"


@pytest.mark.clause("RFC 3261 16.7")
def test_our_via_comes_off_a_response_that_goes_on() -> None:
    message = request()
    message.headers.prepend("Via", "SIP/2.0/TCP own.example;branch=z9hG4bKown")
    response = answer(message, 200)
    assert [via.host for via in without_top_via(response).vias] == ["192.0.2.1"]
    assert len(response.vias) == 2
    with pytest.raises(RemoteProtocolError):
        without_top_via(answer(request(), 200))
