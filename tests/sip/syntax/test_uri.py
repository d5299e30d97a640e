from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.sip.syntax.uri import CSeq, NameAddr, OpaqueUri, SipUri, Via, parse_uri
from tests.sip import strategies


@given(strategies.uris)
def test_a_uri_round_trips(uri: SipUri | OpaqueUri) -> None:
    assert parse_uri(str(uri)) == uri


@given(strategies.sip_uris)
def test_a_uri_is_equivalent_to_itself(uri: SipUri) -> None:
    assert uri.equivalent(SipUri.parse(str(uri)))


@given(strategies.name_addrs)
def test_a_name_addr_round_trips(value: NameAddr) -> None:
    assert NameAddr.parse(str(value)) == value


@given(strategies.vias)
def test_a_via_round_trips(value: Via) -> None:
    assert Via.parse(str(value)) == value


@given(st.integers(0, 2**31 - 1), strategies.tokens)
def test_a_cseq_round_trips(number: int, method: str) -> None:
    value = CSeq(number=number, method=method)
    assert CSeq.parse(str(value)) == value


@pytest.mark.parametrize(
    "parse", [SipUri.parse, OpaqueUri.parse, parse_uri, NameAddr.parse, Via.parse, CSeq.parse]
)
@given(
    text=st.text()
    | st.text(' \t"\\<>;=,:@[].sip/20UDP1%?&').map(lambda t: "sip:" + t)
    | st.text(' \t"\\<>;=,:@[].sip/20UDP1%?&').map(lambda t: "SIP/2.0/UDP " + t)
)
def test_any_text_gives_a_value_or_a_parse_error(parse: Callable[[str], object], text: str) -> None:
    with contextlib.suppress(ParseError):
        value = parse(text)
        assert parse(str(value)) == value


def test_the_parts_of_a_uri_are_read() -> None:
    uri = SipUri.parse("SIPS:alice:pw@[2001:db8::1]:5061;Transport=TCP;lr?Subject=x%20y&p=")
    assert uri == SipUri(
        scheme="sips",
        user="alice",
        password="pw",  # noqa: S106
        host="2001:db8::1",
        port=5061,
        parameters=(("Transport", "TCP"), ("lr", None)),
        headers=(("Subject", "x%20y"), ("p", "")),
    )
    assert (uri.param("transport"), uri.param("LR"), uri.param("ttl")) == ("TCP", "", None)
    assert str(uri) == "sips:alice:pw@[2001:db8::1]:5061;Transport=TCP;lr?Subject=x%20y&p="
    assert "pw" not in repr(uri)


def test_parameters_of_a_uri_are_set_and_removed() -> None:
    uri = SipUri.parse("sip:a@b;x=1").with_param("lr").with_param("x", "2")
    assert str(uri) == "sip:a@b;x=2;lr"
    assert str(uri.without_param("X")) == "sip:a@b;lr"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip:",
        "sip:@host",
        "sip:a b@host",
        "sip:a@",
        "sip:a@host:",
        "sip:a@host:99999",
        "sip:a@host;",
        "sip:a@host;;lr",
        "sip:a@host;x=1;X=2",
        "sip:a@host?",
        "sip:a@host?x",
        "sip:a@host?=x",
        "sip:a@host?x=1=2",
        "sip:a%2@host",
        "sip:a@[::1",
        "sip:a@[1.2.3.4]",
        "sip:ü@host",
        "sip:a@host\r\nX: y",
        "http//x",
        "tel:",
        "1tel:+49",
    ],
)
def test_a_bad_uri_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_uri(text)


@pytest.mark.clause("RFC 3261 19.1.4")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]"),
        ("tel:+49123", "TEL:+49123"),
    ],
)
def test_equivalent_uris(one: str, other: str) -> None:
    assert parse_uri(one).equivalent(parse_uri(other))
    assert parse_uri(other).equivalent(parse_uri(one))


@pytest.mark.clause("RFC 3261 19.1.4")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
        ("sip:a@b;newparam=5", "sip:a@b;newparam=6"),
        ("sip:a@b;maddr=192.0.2.1", "sip:a@b"),
        ("sip:a:p@b", "sip:a:q@b"),
        ("sip:+49123@b", "tel:+49123"),
        ("tel:+49123", "tel:+49124"),
    ],
)
def test_uris_that_differ(one: str, other: str) -> None:
    assert not parse_uri(one).equivalent(parse_uri(other))
    assert not parse_uri(other).equivalent(parse_uri(one))


@pytest.mark.clause("RFC 3261 20.10")
def test_without_brackets_parameters_belong_to_the_header() -> None:
    value = NameAddr.parse("sip:alice@h;tag=1")
    assert value.uri == SipUri(user="alice", host="h")
    assert value.tag == "1"
    bracketed = NameAddr.parse("<sip:alice@h;tag=1>")
    assert bracketed.tag is None
    assert bracketed.uri == SipUri(user="alice", host="h", parameters=(("tag", "1"),))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('"A. \\"G\\" Bell" <sip:a@h>', 'A. "G" Bell'),
        ("Anonymous  Caller <sip:a@h>", "Anonymous Caller"),
        ("<sip:a@h>", None),
        ('""<sip:a@h>', ""),
        ("Jürgen <sip:a@h>", "Jürgen"),
        ('"x" \t <sip:a@h> ;tag = 5', "x"),
    ],
)
def test_display_names_are_read(text: str, name: str | None) -> None:
    assert NameAddr.parse(text).display_name == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        '"a <sip:a@h>',
        "a,b <sip:a@h>",
        "<sip:a@h",
        "sip:a@h>",
        "<sip:a@h> x",
        "<sip:a@h>;tag=",
        "sip:a@h?x=1",
        "sip:a,b@h",
        '"x" sip:a@h',
        "<<sip:a@h>>",
        "<sip:a@h>;a=1;A=1",
    ],
)
def test_a_bad_name_addr_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        NameAddr.parse(text)


def test_quoted_parameters_are_kept_as_written_and_read_unquoted() -> None:
    text = '<sip:a@h>;+sip.app-subtype="webrtc-datachannel";+sip.instance="<urn:x:1>"'
    value = NameAddr.parse(text)
    assert str(value) == text
    assert value.param("+sip.app-subtype") == "webrtc-datachannel"
    assert value.param("+sip.instance") == "<urn:x:1>"
    assert value.param("expires") is None
    changed = value.with_param("+sip.instance", "<urn:x:2>").without_param("+sip.app-subtype")
    assert str(changed) == '<sip:a@h>;+sip.instance="<urn:x:2>"'
    assert str(changed.with_param("lr")).endswith(";lr")


def test_a_parameter_with_a_line_break_cannot_be_set() -> None:
    with pytest.raises(LocalProtocolError):
        NameAddr.parse("<sip:a@h>").with_param("x", "1\r\nEvil: 1")


@pytest.mark.clause("RFC 3581 4")
def test_the_parameters_of_a_via_are_read() -> None:
    via = Via.parse("SIP / 2.0 / udp first.example : 4000;received=[2001:db8::9];branch=z9;rport")
    assert (via.transport, via.host, via.port) == ("UDP", "first.example", 4000)
    assert (via.received, via.branch, via.rport, via.asks_rport) == (
        "2001:db8::9",
        "z9",
        None,
        True,
    )
    filled = via.with_param("rport", "5061").with_param("received", "192.0.2.9")
    assert (filled.rport, filled.received, filled.asks_rport) == (5061, "192.0.2.9", False)
    assert filled.param("received") == "192.0.2.9"
    assert filled.param("ttl") is None


@pytest.mark.parametrize("value", ["0", "65536", "x", "123456", "²"])
def test_an_rport_that_is_no_port_reads_as_none(value: str) -> None:
    assert Via.parse("SIP/2.0/UDP h").with_param("rport", value).rport is None


def test_a_via_without_parameters_has_none() -> None:
    via = Via.parse("SIP/2.0/TLS [::1]:5061")
    assert (via.branch, via.received, via.rport, via.asks_rport) == (None, None, None, False)


@pytest.mark.parametrize(
    "text", ["", "SIP/3.0/UDP h", "SIP/2.0/UDP", "SIP/2.0 h", "SIP/2.0/UDP h:x", "SIP/2.0/UDP h;"]
)
def test_a_bad_via_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        Via.parse(text)


@pytest.mark.clause("RFC 3261 8.1.1.5")
@pytest.mark.parametrize("text", ["", "1", "INVITE", "2147483648 INVITE", "-1 INVITE", "1 INV ITE"])
def test_a_bad_cseq_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        CSeq.parse(text)
