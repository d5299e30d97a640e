from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import ConfigError, ParseError
from dcsdk.sip.digest_values import Challenge
from dcsdk.sip.syntax.grammar import split_list
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.parser import MessageError, ParserLimits, parse_message
from dcsdk.sip.syntax.uri import CSeq, NameAddr, Via, parse_uri
from tests.sip.strategies import messages

HEAD = (
    b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n"
    b"From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n"
)


def options(extra: bytes = b"", body: bytes = b"", line: bytes = b"OPTIONS sip:h SIP/2.0") -> bytes:
    return line + b"\r\n" + HEAD + extra + b"\r\n" + body


def refused(data: bytes, limits: ParserLimits | None = None) -> MessageError:
    with pytest.raises(MessageError) as caught:
        parse_message(data, limits or ParserLimits())
    return caught.value


@given(messages())
def test_a_message_round_trips(message: Request | Response) -> None:
    assert parse_message(message.encode()) == message


FRAGMENTS = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\r\n\r\n",
            b" ",
            b"\t",
            b"\xff",
            b"\0",
            b":",
            b"<",
            b'"',
            b",",
            b"100",
            b";x=",
        ),
        *(b"SIP/2.0", b"OPTIONS sip:h SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n", HEAD),
        *(b"Via: ", b"l: 5\r\n"),
    ]
)


@given(st.binary() | st.lists(FRAGMENTS | st.binary(max_size=3)).map(b"".join))
def test_any_bytes_give_a_message_or_a_parse_error(data: bytes) -> None:
    try:
        message = parse_message(data)
    except MessageError as exc:
        answer = exc.response(to_tag="t")
        if answer is not None:
            parse_head_of_answer(answer)
        return
    assert parse_message(message.encode()) == message


def parse_head_of_answer(answer: Response) -> None:
    """An answer to a broken message must itself be writable."""
    with contextlib.suppress(MessageError):  # it repeats what was broken
        parse_message(answer.encode())


@given(messages(), st.integers(0, 2000), st.binary(min_size=1, max_size=3))
def test_a_damaged_message_gives_a_message_or_a_parse_error(
    message: Request | Response, at: int, junk: bytes
) -> None:
    data = bytearray(message.encode())
    at %= len(data)
    data[at : at + len(junk)] = junk
    with contextlib.suppress(MessageError):
        parse_message(bytes(data))


@pytest.mark.clause("RFC 3261 18.3")
def test_a_datagram_ends_where_its_length_says() -> None:
    message = parse_message(options(b"Content-Length: 3\r\n", b"abcdef"))
    assert message.body == b"abc"
    assert "Content-Length" not in message.headers
    assert parse_message(options(body=b"abc")).body == b"abc"
    assert refused(options(b"Content-Length: 9\r\n", b"abc")).status == 400


@pytest.mark.clause("RFC 3261 7.5")
def test_empty_lines_before_the_start_line_are_skipped() -> None:
    assert isinstance(parse_message(b"\r\n\r\n" + options()), Request)


@pytest.mark.clause("RFC 3261 7.3.1")
def test_folded_lines_are_one_line() -> None:
    message = parse_message(options(b"Subject : I know\r\n   you're\r\n\tthere\r\n"))
    assert message.headers.get("subject") == "I know you're there"


def test_a_response_is_read() -> None:
    response = parse_message(options(line=b"sip/2.0 404 Not F\xc3\xb6und "))
    assert isinstance(response, Response)
    assert (response.status, response.reason) == (404, "Not Föund ")
    assert parse_message(options(line=b"SIP/2.0 200 ")) == Response(200, "", response.headers)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"OPTIONS",
        b"OPTIONS sip:h",
        b"OPTIONS  sip:h SIP/2.0",
        b"OPTIONS sip:h  SIP/2.0",
        b"OPTIONS sip:h SIP/2.0 ",
        b"OPTIONS <sip:h> SIP/2.0",
        b"OPT<>IONS sip:h SIP/2.0",
        b"OPTIONS sip:h;a b SIP/2.0",
        b"OPTIONS sip:h HTTP/1.1",
        b"OPTIONS sip:\xff SIP/2.0",
        b"OPTIONS sip:h\rx SIP/2.0",
        b"SIP/2.0 099 x",
        b"SIP/2.0 700 x",
        b"SIP/2.0 2000 x",
        b"SIP/2.0 200",
        b"SIP/3.0 200 OK",
    ],
)
def test_a_bad_start_line_is_refused(line: bytes) -> None:
    assert refused(options(line=line)).status == 400


@pytest.mark.clause("RFC 3261 21.5.6")
def test_another_version_is_answered_with_505() -> None:
    error = refused(options(line=b"OPTIONS sip:h SIP/7.0"))
    answer = error.response(to_tag="t")
    assert answer is not None
    assert (answer.status, answer.to.tag, answer.call_id) == (505, "t", "c")


@pytest.mark.clause("RFC 3261 8.1.1")
@pytest.mark.parametrize("name", [b"Via", b"From", b"To", b"Call-ID", b"CSeq"])
def test_a_message_without_a_mandatory_header_is_refused(name: bytes) -> None:
    lines = [line for line in options().split(b"\r\n") if not line.startswith(name + b":")]
    error = refused(b"\r\n".join(lines))
    assert error.request is not None
    assert error.response() is None


@pytest.mark.parametrize(
    "extra",
    [
        b"From: <sip:z@h>\r\n",
        b"t: <sip:z@h>\r\n",
        b"i: other\r\n",
        b"CSeq: 2 OPTIONS\r\n",
        b"Max-Forwards: 5\r\nMax-Forwards: 6\r\n",
        b"Max-Forwards: 256\r\n",
        b"Max-Forwards: x\r\n",
        b"Content-Length: 0\r\nl: 1\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 1,1\r\n",
        b"Content-Length: 9999999999\r\n",
        b"Content-Length:\r\n",
        b"no colon\r\n",
        b": no name\r\n",
        b"Bad Name: x\r\n",
        b"X: a\nY: b\r\n",
        b"X: a\rY: b\r\n",
        b"X: \0\r\n",
        b"X: \xff\r\n",
    ],
)
def test_an_ambiguous_or_broken_header_is_answered_with_400(extra: bytes) -> None:
    answer = refused(options(extra)).response()
    assert answer is not None
    assert answer.status == 400


def test_a_method_that_cseq_does_not_name_is_refused() -> None:
    assert refused(options(line=b"BYE sip:h SIP/2.0")).status == 400


def test_the_same_length_twice_is_no_conflict() -> None:
    assert parse_message(options(b"Content-Length: 1\r\nl: 01\r\n", b"x")).body == b"x"


def test_a_broken_response_or_ack_is_not_answered() -> None:
    assert refused(options(b"X\r\n", line=b"SIP/2.0 200 OK")).response() is None
    ack = options(line=b"ACK sip:h SIP/2.0")
    assert refused(ack).response() is None
    assert refused(b"\0\r\n\r\n").response() is None


def test_a_request_whose_via_cannot_be_read_is_not_answered() -> None:
    assert refused(options().replace(b"SIP/2.0/UDP", b"SIP/9/UDP")).response() is None


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (options(b"X: " + b"x" * 100 + b"\r\n"), ParserLimits(max_line_bytes=100)),
        (options(b"X: x\r\n x\r\n" * 60), ParserLimits(max_headers=60)),
        (options(body=b"12345"), ParserLimits(max_body_bytes=4)),
        (options(b"X: y\r\n" * 100), ParserLimits(max_header_bytes=500)),
        (
            options(line=b"OPTIONS sip:h;" + b"x" * 99 + b" SIP/2.0"),
            ParserLimits(max_line_bytes=99),
        ),
    ],
)
def test_every_size_is_bounded(data: bytes, limits: ParserLimits) -> None:
    assert isinstance(parse_message(data), Request)
    assert refused(data, limits).status == 513


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ConfigError):
        ParserLimits(max_headers=0)


def test_a_header_nobody_needs_is_only_read_when_asked_for() -> None:
    message = parse_message(options(b"Contact: <<>>\r\nRoute: <sip:\r\n"))
    for read in (lambda: message.contacts, lambda: message.name_addrs("Route")):
        with pytest.raises(ParseError):
            read()


def test_bytes_without_an_empty_line_are_no_message() -> None:
    assert refused(options()[:-2]).request is None


@pytest.mark.parametrize(
    "value",
    [
        b" " * 16_000 + b"x",
        b'"' + b"\\" * 16_000,
        b"<" * 16_000,
        b"SIP/2.0/UDP h" + b" " * 16_000 + b"x",
        b"<sip:h>" + b";a" * 8_000,
        b"<sip:h>;a" + b" " * 16_000 + b"x",
        b"sip:" + b"a" * 16_000,
        b"sip:" + b"a;" * 8_000 + b" ",
        b"Digest a" + b" " * 16_000 + b"x",
        b"Digest" + b" " * 16_000 + b";",
        b'Digest a="' + b"a" * 16_000,
        b"," * 16_000,
    ],
)
def test_no_value_takes_more_than_linear_time(value: bytes) -> None:
    """With quadratic time, 16 kB would take seconds here and the test would time out."""
    text = value.decode()
    for parse in (NameAddr.parse, Via.parse, CSeq.parse, parse_uri, Challenge.parse, split_list):
        for _ in range(20):
            with contextlib.suppress(ParseError):
                parse(text)
