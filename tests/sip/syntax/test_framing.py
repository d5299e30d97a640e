from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsdk.sip.syntax.framing import (
    MAX_SKIPPED_BODY_BYTES,
    MAX_SKIPPED_HEADER_BYTES,
    FramingError,
    KeepAlive,
    Malformed,
    StreamEvent,
    StreamFramer,
)
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.parser import ParserLimits
from tests.sip.strategies import messages

HEAD = (
    b"OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n"
    b"From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n"
)
GOOD = HEAD + b"Content-Length: 3\r\n\r\nabc"


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@settings(max_examples=30)
@given(st.lists(messages(), min_size=1, max_size=3), st.lists(st.integers(0, 5000), max_size=12))
def test_messages_come_out_however_the_stream_is_cut(
    sent: list[Request | Response], cuts: list[int]
) -> None:
    framer = StreamFramer()
    got: list[StreamEvent] = []
    for piece in pieces(b"".join(m.encode() for m in sent), cuts):
        got += framer.receive(piece)
    assert got == sent
    assert framer.is_idle


@given(st.lists(st.binary(max_size=40) | st.sampled_from([GOOD, HEAD, b"\r\n", b"l: 1\r\n\r\n"])))
def test_any_bytes_give_events_or_a_framing_error(chunks: list[bytes]) -> None:
    framer = StreamFramer(ParserLimits(max_header_bytes=2000))
    try:
        for chunk in chunks:
            framer.receive(chunk)
    except FramingError:
        with pytest.raises(FramingError):
            framer.receive(GOOD)


@pytest.mark.clause("RFC 5626 4.4.1")
def test_a_ping_between_messages_is_reported() -> None:
    framer = StreamFramer()
    events = framer.receive(GOOD + b"\r\n\r\n" + GOOD)
    assert [type(e) for e in events] == [Request, KeepAlive, Request]
    assert events[1] is KeepAlive.PING


def test_a_ping_in_single_bytes_is_one_ping() -> None:
    framer = StreamFramer()
    assert [framer.receive(b) for b in (b"\r", b"\n", b"\r", b"\n")] == [
        [],
        [],
        [],
        [KeepAlive.PING],
    ]
    assert framer.is_idle


@given(st.text("\r\n", max_size=40).map(str.encode))
def test_keep_alives_are_the_same_however_they_are_cut(data: bytes) -> None:
    def events(chunks: list[bytes]) -> list[StreamEvent]:
        framer, found = StreamFramer(), list[StreamEvent]()
        try:
            for chunk in chunks:
                found += framer.receive(chunk)
        except FramingError as exc:
            found += exc.completed
        return found

    assert events([data]) == events([data[i : i + 1] for i in range(len(data))])


@pytest.mark.clause("RFC 3261 7.5")
def test_a_single_crlf_before_a_message_is_skipped() -> None:
    framer = StreamFramer()
    assert framer.receive(b"\r\n") == []
    assert [type(e) for e in framer.receive(GOOD)] == [Request]


def test_a_malformed_message_with_a_length_does_not_end_the_stream() -> None:
    framer = StreamFramer()
    bad = HEAD + b"Broken\r\nl\t:  10 \r\n\r\n0123456789"
    events: list[StreamEvent] = []
    for piece in pieces(bad + GOOD, [len(bad) - 4, len(bad) - 1]):
        events += framer.receive(piece)
    assert [type(e) for e in events] == [Malformed, Request]
    assert isinstance(events[0], Malformed)
    answer = events[0].error.response()
    assert answer is not None
    assert answer.status == 400


def test_a_folded_length_of_a_malformed_message_counts() -> None:
    events = StreamFramer().receive(HEAD + b"Broken\r\nContent-Length:\r\n 2\r\n\r\nxx" + GOOD)
    assert [type(e) for e in events] == [Malformed, Request]


def test_a_body_over_the_limit_is_read_past_without_being_kept() -> None:
    framer = StreamFramer(ParserLimits(max_body_bytes=10))
    events = framer.receive(HEAD + b"l: 1000\r\n\r\n")
    assert isinstance(events[0], Malformed)
    assert events[0].error.status == 513
    for _ in range(10):
        assert framer.receive(b"x" * 100) == []
    assert [type(e) for e in framer.receive(GOOD)] == [Request]


@pytest.mark.clause("RFC 3261 21.5.14")
@pytest.mark.parametrize(
    "long",
    [
        HEAD + b"Subject: " + b"s" * 70_000 + b"\r\nl: 3\r\n\r\nabc",
        HEAD + b"X: y\r\n" * 20_000 + b"l: 3\r\n\r\nabc",
        HEAD.replace(b"sip:h", b"sip:" + b"h" * 70_000, 1) + b"l: 3\r\n\r\nabc",
    ],
    ids=["a long header", "many headers", "a long target"],
)
@pytest.mark.parametrize("step", [1000, 1_000_000])
def test_a_request_with_too_large_headers_is_refused_and_read_past(long: bytes, step: int) -> None:
    framer = StreamFramer()
    events: list[StreamEvent] = []
    for start in range(0, len(long + GOOD), step):
        events += framer.receive((long + GOOD)[start : start + step])
    assert [type(e) for e in events] == [Malformed, Request]
    assert isinstance(events[0], Malformed)
    answer = events[0].error.response()
    assert answer is not None
    assert (answer.status, answer.call_id) == (513, "c")


def test_a_request_whose_headers_never_end_ends_the_stream() -> None:
    framer = StreamFramer()
    assert framer.receive(HEAD + b"X: y\r\n" * 20_000) == []
    with pytest.raises(FramingError, match="without an end"):
        framer.receive(b"x" * MAX_SKIPPED_HEADER_BYTES)


@pytest.mark.clause("RFC 3261 18.3")
@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"\r\n",
        HEAD + b"l: 1\r\nl: 2\r\n\r\n",
        HEAD + b"l: x\r\n\r\n",
        HEAD + b"l: -1\r\n\r\n",
        HEAD + b"l: 1, 1\r\n\r\n",
        HEAD + b"Broken\r\n\r\n",
        HEAD + b"Broken\r\nl: 1\r\nContent-Length: z\r\n\r\n",
        HEAD + f"l: {MAX_SKIPPED_BODY_BYTES + 1}\r\n\r\n".encode(),
        b"\x16\x03\x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\rx",
    ],
)
def test_what_cannot_be_framed_ends_the_stream_after_what_came_before(data: bytes) -> None:
    framer = StreamFramer()
    with pytest.raises(FramingError) as caught:
        framer.receive(GOOD + data + GOOD)
    assert [type(e) for e in caught.value.completed] == [Request]
    with pytest.raises(FramingError):
        framer.receive(b"")


def test_a_request_without_length_can_still_be_answered() -> None:
    with pytest.raises(FramingError) as caught:
        StreamFramer().receive(HEAD + b"\r\n")
    assert caught.value.error is not None
    assert caught.value.error.response() is not None


def test_headers_without_end_are_bounded() -> None:
    framer = StreamFramer(ParserLimits(max_header_bytes=1000))
    for _ in range(9):
        assert framer.receive(b"x" * 100) == []
    with pytest.raises(FramingError):
        framer.receive(b"x" * 100)


def test_the_tap_sees_every_message_exactly() -> None:
    seen: list[bytes] = []
    framer = StreamFramer(tap=seen.append)
    bad = HEAD + b"Broken\r\nl: 0\r\n\r\n"
    for byte in b"\r\n\r\n" + GOOD + bad + GOOD:
        framer.receive(bytes([byte]))
    assert seen == [GOOD, bad, GOOD]
