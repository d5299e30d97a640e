"""Messages in the spirit of RFC 4475: odd but valid ones are taken, broken ones refused."""

from __future__ import annotations

import pytest

from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.parser import MessageError, parse_message
from dcsdk.sip.syntax.uri import OpaqueUri, SipUri


def wire(text: str) -> bytes:
    return text.lstrip("\n").replace("\n", "\r\n").encode()


@pytest.mark.clause("RFC 4475 3.1.1.1")
def test_a_short_tortuous_invite() -> None:
    message = parse_message(
        wire(
            """
INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : 150
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33

"""
        )
        + b"x" * 150
    )
    assert isinstance(message, Request)
    assert message.uri == SipUri(
        user="vivekg", host="chair-dnrc.example.com", parameters=(("unknownparam", None),)
    )
    assert message.to.tag == "1918181833n"
    assert message.from_.display_name == 'J Rosenberg \\"'
    assert (message.cseq.number, message.cseq.method) == (9, "INVITE")
    assert [via.transport for via in message.vias] == ["UDP", "TCP", "UDP"]
    assert message.vias[2].branch == "z9hG4bK30239"
    assert message.headers.get("Subject") == ""
    assert message.contacts[0].display_name == 'Quoted string ""'
    assert message.contacts[0].param("q") == "0.33"
    route = message.name_addrs("Route")[0].uri
    assert isinstance(route, SipUri)
    assert route.param("lr") == ""
    assert len(message.body) == 150


@pytest.mark.clause("RFC 4475 3.1.1.2")
def test_the_wide_range_of_valid_characters() -> None:
    message = parse_message(
        wire(
            """
!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&it$/c?,/;;*@h SIP/2.0
Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~
To: "BEL:\\\\ NUL:0 DEL:x" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>
From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%="x";tag=_x~1'*-
Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/"][?}{
CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~
Max-Forwards: 255
extensionHeader-!.%*+_`'~: \ufeff\u5927\u505c\u96fb

"""
        )
    )
    assert isinstance(message, Request)
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert isinstance(message.uri, SipUri)
    assert message.uri.user == "1_unusual.URI~(to-be!sure)&it$/c?,/;;*"
    assert message.from_.display_name == "token1~` token2'+_ token3*%!.-"
    assert message.from_.tag == "_x~1'*-"
    assert message.headers.get("extensionheader-!.%*+_`'~") == "\ufeff\u5927\u505c\u96fb"
    assert parse_message(message.encode()) == message


def sample(
    line: str = "OPTIONS sip:user@example.com SIP/2.0", *, drop: str = "-", add: str = ""
) -> bytes:
    headers = [
        "Via: SIP/2.0/UDP host1.example.com;branch=z9hG4bKkdjuw",
        "From: sip:caller@example.net;tag=134161461246",
        "To: sip:user@example.com",
        "Call-ID: torture.0ha0isndaksdj",
        "CSeq: 8 OPTIONS",
        "Max-Forwards: 70",
    ]
    kept = [header for header in headers if not header.startswith(drop)]
    return wire("\n".join([line, *kept]) + "\n" + add + "\n")


@pytest.mark.clause("RFC 4475 3.1.1.3")
def test_an_escaped_method_name_is_not_unescaped() -> None:
    data = sample("RE%47IST%45R sip:h SIP/2.0", drop="CSeq", add="CSeq: 1 RE%47IST%45R\n")
    message = parse_message(data)
    assert isinstance(message, Request)
    assert message.method == "RE%47IST%45R"


@pytest.mark.clause("RFC 4475 3.1.1.4")
def test_an_escaped_nul_in_a_uri_is_carried() -> None:
    message = parse_message(sample("OPTIONS sip:null-%00-null@example.com SIP/2.0"))
    assert str(message.uri) == "sip:null-%00-null@example.com"


@pytest.mark.clause("RFC 4475 3.1.1.6")
def test_a_display_name_may_stand_right_before_the_bracket() -> None:
    message = parse_message(sample(drop="From", add="From: caller<sip:c@h>;tag=323\n"))
    assert message.from_.display_name == "caller"


@pytest.mark.clause("RFC 4475 3.1.1.9")
def test_a_semicolon_in_the_user_part_is_no_parameter() -> None:
    message = parse_message(sample("OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0"))
    assert message.uri == SipUri(user="user;par=u%40example.net", host="example.com")


@pytest.mark.clause("RFC 4475 3.1.1.10")
def test_unknown_transports_in_a_via_are_taken() -> None:
    add = "Via: SIP/2.0/UNKNOWN t2;branch=1, SIP/2.0/TLS t3;branch=2\n"
    message = parse_message(sample(add=add))
    assert [via.transport for via in message.vias] == ["UDP", "UNKNOWN", "TLS"]


@pytest.mark.clause("RFC 4475 3.1.1.12")
def test_an_empty_reason_phrase_is_taken() -> None:
    response = parse_message(sample("SIP/2.0 100 "))
    assert isinstance(response, Response)
    assert response.reason == ""


@pytest.mark.clause("RFC 4475 3.3.4")
@pytest.mark.parametrize(
    "uri", ["nobodyKnowsThisScheme:totallyopaquecontent", "soap.beep://192.0.2.103:3002"]
)
def test_an_unknown_scheme_is_carried_for_a_416(uri: str) -> None:
    message = parse_message(sample(f"OPTIONS {uri} SIP/2.0"))
    assert isinstance(message.uri, OpaqueUri)


BROKEN = {
    "extraneous separators in Via": sample(add="Via: SIP/2.0/UDP h;;,;,,\n", drop="Via"),
    "length larger than the message": sample(add="Content-Length: 9999\n"),
    "negative length": sample(add="Content-Length: -999\n"),
    "CSeq over 2^31": sample(drop="CSeq", add="CSeq: 36893488147419103232 OPTIONS\n"),
    "unterminated quoted string": sample(drop="To", add='To: "Mr. J. User <sip:j@example.com>\n'),
    "brackets around the Request-URI": sample("OPTIONS <sip:user@example.com> SIP/2.0"),
    "white space in the Request-URI": sample("OPTIONS sip:user@example.com; lr SIP/2.0"),
    "spaces within the request line": sample("OPTIONS  sip:user@example.com  SIP/2.0"),
    "space at the end of the request line": sample("OPTIONS sip:user@example.com SIP/2.0  "),
    "method mismatch": sample(drop="CSeq", add="CSeq: 8 INVITE\n"),
    "response with a huge status": sample("SIP/2.0 4294967301 better not break"),
    "two Call-IDs": sample(add="Call-ID: another\n"),
    "two To": sample(add="To: <sip:other@example.com>\n"),
    "addr-spec with a question mark": sample(drop="From", add="From: sip:c@h?Route=x;tag=1\n"),
    "unquoted comma in a display name": sample(drop="To", add="To: Bell, Alexander <sip:b@h>\n"),
    "missing everything": wire("INVITE sip:user@example.com SIP/2.0\nCSeq: 1 INVITE\n\n"),
    "unknown version": sample("OPTIONS sip:t1@example.com SIP/7.0"),
}


@pytest.mark.clause("RFC 4475 3.1.2", "RFC 4475 3.3")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_message_is_refused(name: str) -> None:
    with pytest.raises(MessageError):
        parse_message(BROKEN[name])


@pytest.mark.clause("RFC 4475 3.1.2.1")
def test_extra_bytes_after_a_datagram_are_dropped() -> None:
    data = sample(add="Content-Length: 2\n") + b"okINVITE sip:smuggled SIP/2.0\r\n\r\n"
    assert parse_message(data).body == b"ok"
