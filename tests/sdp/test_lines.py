"""Splitting SDP into lines, and ``o=``, ``c=``, ``b=``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import ParseError
from dcsdk.sdp.lines import Bandwidth, Connection, Line, Origin, SdpLimits, encode, split_lines


def test_lines_end_in_crlf_or_lf_and_empty_ones_are_dropped() -> None:
    assert split_lines(b"v=0\r\ns=-\n\r\n\nt=0 0") == [
        Line("v", "0"),
        Line("s", "-"),
        Line("t", "0 0"),
    ]


def test_octets_that_are_no_utf8_survive() -> None:
    (line,) = split_lines(b"s=caf\xe9\r\n")
    assert encode(str(line)) == b"s=caf\xe9"


def test_text_that_no_octets_stand_for_is_a_parse_error() -> None:
    with pytest.raises(ParseError):
        encode("\ud800")


@pytest.mark.parametrize("data", [b"hello", b"=x", b"1=x", b" v=0", b"v=0\rx", b"v=\0", b"v:0"])
def test_what_is_no_line_is_a_parse_error(data: bytes) -> None:
    with pytest.raises(ParseError):
        split_lines(data)


@pytest.mark.parametrize(
    "limits", [SdpLimits(max_octets=11), SdpLimits(max_line_octets=4), SdpLimits(max_lines=1)]
)
def test_what_is_over_a_limit_is_a_parse_error(limits: SdpLimits) -> None:
    assert len(split_lines(b"s=-\r\nt=0 0\r\n")) == 2
    with pytest.raises(ParseError):
        split_lines(b"s=-\r\nt=0 0\r\n", limits)


@pytest.mark.clause("RFC 8866 5.2")
def test_an_origin_round_trips_and_its_version_grows() -> None:
    origin = Origin.parse("alice 2890844526 2890842807 IN IP6 2001:db8::1")
    assert str(origin) == "alice 2890844526 2890842807 IN IP6 2001:db8::1"
    assert origin.bumped().version == 2890842808
    assert Origin.create(session_id=1, version=2, address="::1").address_type == "IP6"
    assert (
        str(Origin.create(session_id=1, version=2, address="10.0.0.1")) == "- 1 2 IN IP4 10.0.0.1"
    )


@pytest.mark.parametrize(
    "value", ["", "- 1 2 IN IP4", "- x 2 IN IP4 h", "- ² 2 IN IP4 h", f"- 1 {2**64} IN IP4 h"]
)
def test_a_malformed_origin_is_a_parse_error(value: str) -> None:
    with pytest.raises(ParseError):
        Origin.parse(value)


def test_connection_and_bandwidth_round_trip() -> None:
    assert str(Connection.parse("IN IP4 224.2.1.1/127")) == "IN IP4 224.2.1.1/127"
    assert str(Connection.create("2001:db8::1")) == "IN IP6 2001:db8::1"
    assert str(Bandwidth.parse("AS:500")) == "AS:500"


@pytest.mark.parametrize("value", ["", "IN IP4", "IN IP4 a b"])
def test_a_malformed_connection_is_a_parse_error(value: str) -> None:
    with pytest.raises(ParseError):
        Connection.parse(value)


@pytest.mark.parametrize("value", ["", ":1", "AS", "AS:x", "AS:-1", "AS:" + "9" * 30])
def test_a_malformed_bandwidth_is_a_parse_error(value: str) -> None:
    with pytest.raises(ParseError):
        Bandwidth.parse(value)


@given(value=st.text(max_size=80))
def test_any_text_is_a_value_or_a_parse_error(value: str) -> None:
    for kind in (Origin, Connection, Bandwidth):
        try:
            parsed = kind.parse(value)
        except ParseError:
            continue
        assert kind.parse(str(parsed)) == parsed
