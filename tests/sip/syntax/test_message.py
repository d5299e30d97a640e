from __future__ import annotations

import pytest

from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.sip.syntax.headers import Headers
from dcsdk.sip.syntax.message import REASON_PHRASES, Request, Response, reason_phrase
from dcsdk.sip.syntax.uri import CSeq, SipUri


def invite() -> Request:
    return Request(
        "INVITE",
        SipUri(user="bob", host="ims.example"),
        Headers(
            [
                ("Via", "SIP/2.0/TCP p.example;branch=z9hG4bK2, SIP/2.0/UDP u.example"),
                ("Record-Route", "<sip:p.example;lr>"),
                ("From", "Alice <sip:alice@ims.example>;tag=a"),
                ("To", "<sip:bob@ims.example>"),
                ("Call-ID", "c1"),
                ("CSeq", "7 INVITE"),
                ("Timestamp", "54"),
                ("Contact", "<sip:alice@192.0.2.1>, <sip:alice@[2001:db8::1]>;expires=5"),
                ("Content-Type", "Application/SDP; charset=utf-8"),
            ]
        ),
        b"v=0\r\n",
    )


def test_the_values_of_a_request_are_read() -> None:
    request = invite()
    assert request.call_id == "c1"
    assert request.cseq == CSeq(number=7, method="INVITE")
    assert request.from_.tag == "a"
    assert request.to.tag is None
    assert request.top_via.branch == "z9hG4bK2"
    assert [via.transport for via in request.vias] == ["TCP", "UDP"]
    assert [c.param("expires") for c in request.contacts] == [None, "5"]
    assert [str(r.uri) for r in request.name_addrs("Record-Route")] == ["sip:p.example;lr"]
    assert request.content_type == "application/sdp"


def test_a_value_follows_its_header() -> None:
    request = invite()
    assert request.cseq is request.cseq
    assert request.vias is request.vias
    request.headers.set("CSeq", "8 INVITE")
    request.headers.pop_first("Via")
    assert request.cseq.number == 8
    assert [via.transport for via in request.vias] == ["UDP"]
    assert request.top_via.host == "u.example"


def test_a_missing_or_bad_value_raises_parse_error() -> None:
    request = Request("OPTIONS", SipUri(host="h"), Headers([("To", "<x"), ("Via", ",")]))
    for name in ("call_id", "cseq", "from_", "to", "top_via"):
        with pytest.raises(ParseError):
            getattr(request, name)
    request.headers.set("Call-ID", "a b")
    with pytest.raises(ParseError):
        _ = request.call_id
    assert (request.contacts, request.content_type) == ((), None)


@pytest.mark.clause("RFC 3261 10.2.2")
def test_a_star_contact_has_no_addresses() -> None:
    request = invite()
    assert not request.is_contact_star
    request.headers.set("m", "*")
    assert request.is_contact_star
    assert request.contacts == ()


def test_a_request_is_written_with_its_length() -> None:
    request = Request("OPTIONS", SipUri(host="::1", port=5060), Headers([("l", "99")]), b"abc")
    request.headers.add("Call-ID", "x")
    assert request.encode() == (
        b"OPTIONS sip:[::1]:5060 SIP/2.0\r\nCall-ID: x\r\nContent-Length: 3\r\n\r\nabc"
    )


def test_a_response_is_written_with_its_length() -> None:
    assert Response(200, "OK").encode() == b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.clause("RFC 3261 8.2.6.2")
def test_a_response_copies_what_ties_it_to_the_request() -> None:
    request = invite()
    response = request.response(180, to_tag="b", headers=[("Contact", "<sip:bob@h>")])
    assert list(response.headers) == [
        ("Via", "SIP/2.0/TCP p.example;branch=z9hG4bK2, SIP/2.0/UDP u.example"),
        ("From", "Alice <sip:alice@ims.example>;tag=a"),
        ("To", "<sip:bob@ims.example>;tag=b"),
        ("Call-ID", "c1"),
        ("CSeq", "7 INVITE"),
        ("Record-Route", "<sip:p.example;lr>"),
        ("Contact", "<sip:bob@h>"),
    ]
    assert (response.status, response.reason) == (180, "Ringing")
    assert not response.is_final


@pytest.mark.clause("RFC 3261 8.2.6.1")
def test_a_100_has_no_tag_and_copies_the_timestamp() -> None:
    response = invite().response(100, to_tag="b")
    assert response.to.tag is None
    assert response.headers.get("Timestamp") == "54"
    assert "Record-Route" not in response.headers


def test_a_tag_that_is_there_stays() -> None:
    request = invite()
    request.headers.set("To", "<sip:bob@h>;tag=old")
    assert request.response(200, to_tag="new").to.tag == "old"
    request.headers.set("To", "sip:bob@h")
    assert request.response(200, to_tag="new").to.tag == "new"
    request.headers.set("To", "<unreadable")
    assert request.response(400, to_tag="new").headers.get("To") == "<unreadable"


def test_a_refusal_with_a_body_needs_its_type() -> None:
    request = invite()
    response = request.response(488, "No", body=b"x", content_type="text/plain")
    assert response.headers.get("Content-Type") == "text/plain"
    assert "Record-Route" not in response.headers
    assert response.is_final
    assert not response.is_success
    with pytest.raises(LocalProtocolError):
        request.response(488, body=b"x")


def test_what_would_break_a_start_line_is_refused() -> None:
    evil = SipUri(user="a SIP/2.0\r\nX: y", host="h")
    for message in (
        Request("OPTIONS", evil),
        Request("BAD METHOD", SipUri(host="h")),
        Request("OPTIONS", SipUri(host="a b")),
        Request("OPTIONS", SipUri(host="a\nb")),
        Response(200, "OK\r\nX: y"),
        Response(200, "\ud800"),
    ):
        with pytest.raises(LocalProtocolError):
            message.encode()


@pytest.mark.parametrize("status", [0, 99, 700])
def test_a_status_outside_the_classes_is_refused(status: int) -> None:
    with pytest.raises(LocalProtocolError):
        Response(status)


def test_every_status_has_a_phrase() -> None:
    assert all(reason_phrase(status) for status in range(100, 700))
    assert reason_phrase(494) == REASON_PHRASES[494]
    assert reason_phrase(699) == "Global Failure"


def test_copies_change_independently() -> None:
    request = invite()
    other = request.copy()
    assert other == request
    other.headers.add("X", "1")
    assert other != request
    response = request.response(200)
    assert response.copy() == response
    assert response.copy().headers is not response.headers
    assert response.is_success
