"""Where RTCP goes, and whether it shares the port of RTP."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import NegotiationError, ParseError, RemoteProtocolError
from dcsdk.sdp.lines import Connection
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.rtcp import (
    RtcpAddress,
    RtcpMux,
    agree_rtcp_mux,
    is_rtp,
    read_rtcp_mux,
    remote_rtcp_address,
    rtcp_answer,
    rtcp_offer,
)
from dcsdk.sdp.session import SessionDescription
from tests.sdp.vectors import HEAD

SEPARATE, WILLING, REQUIRED = RtcpMux.SEPARATE, RtcpMux.WILLING, RtcpMux.REQUIRED
AUDIO = "m=audio 49170 RTP/AVP 0\r\n"
ELSEWHERE = RtcpAddress(port=53020, connection=Connection.create("2001:db8::7"))


def line(*attributes: str, audio: str = AUDIO) -> MediaDescription:
    return session(*attributes, audio=audio).media[0]


def session(*attributes: str, audio: str = AUDIO) -> SessionDescription:
    return SessionDescription.parse(HEAD + audio + "".join(f"a={text}\r\n" for text in attributes))


@pytest.mark.clause("RFC 3605 2.1")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("53020", RtcpAddress(port=53020)),
        (
            "53020 IN IP4 126.16.64.4",
            RtcpAddress(port=53020, connection=Connection.create("126.16.64.4")),
        ),
        ("53020 IN IP6 2001:db8::7", ELSEWHERE),
    ],
)
def test_the_rtcp_attribute_is_read_and_written(value: str, expected: RtcpAddress) -> None:
    assert RtcpAddress.parse(value) == expected
    assert str(expected) == value


@pytest.mark.clause("RFC 3605 2.1")
@pytest.mark.parametrize(
    "value", ["", "0", "65536", "x", "-1", "9 IN IP4", "9 192.0.2.1", "9 a b c d"]
)
def test_a_malformed_rtcp_attribute_is_a_parse_error(value: str) -> None:
    with pytest.raises(ParseError):
        RtcpAddress.parse(value)


@given(value=st.text(max_size=60) | st.from_regex(r"[0-9]{1,6}( IN IP[46] \S*)?"))
def test_any_rtcp_attribute_gives_a_value_or_a_parse_error(value: str) -> None:
    with contextlib.suppress(ParseError):
        address = RtcpAddress.parse(value)
        assert RtcpAddress.parse(str(address)) == address


@pytest.mark.clause("RFC 5761 5.1.1", "RFC 8858 4.2")
@pytest.mark.parametrize("mux", list(RtcpMux))
def test_an_offer_says_what_is_read_again(mux: RtcpMux) -> None:
    assert read_rtcp_mux(line().with_attributes(rtcp_offer(mux))) is mux


@pytest.mark.clause("RFC 3605 2.1", "RFC 8858 4.2")
def test_an_offer_names_the_separate_port_unless_there_is_none() -> None:
    written = [[str(entry) for entry in rtcp_offer(mux, ELSEWHERE)] for mux in RtcpMux]
    assert written == [
        ["rtcp:53020 IN IP6 2001:db8::7"],
        ["rtcp-mux", "rtcp:53020 IN IP6 2001:db8::7"],
        ["rtcp-mux", "rtcp-mux-only"],
    ]


@pytest.mark.clause("RFC 8858 4.2")
def test_mux_only_without_mux_refuses_the_line() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_rtcp_mux(line("rtcp-mux-only"))
    assert caught.value.sip_status_hint == 488


@pytest.mark.clause("RFC 5761 5.1.1")
def test_an_answer_never_says_mux_unless_it_was_offered() -> None:
    assert rtcp_answer(SEPARATE) == ()
    assert [str(entry) for entry in rtcp_answer(SEPARATE, separate=RtcpAddress(port=7))] == [
        "rtcp:7"
    ]
    assert [str(entry) for entry in rtcp_answer(WILLING, separate=ELSEWHERE)] == ["rtcp-mux"]
    assert rtcp_answer(WILLING, is_willing=False) == ()


@pytest.mark.clause("RFC 8858 4.3")
def test_an_answer_to_mux_only_says_mux_or_refuses_the_line() -> None:
    assert [str(entry) for entry in rtcp_answer(REQUIRED)] == ["rtcp-mux"]
    with pytest.raises(NegotiationError):
        rtcp_answer(REQUIRED, is_willing=False)


@pytest.mark.clause("RFC 5761 5.1.1", "RFC 8858 4.4")
@pytest.mark.parametrize(
    ("offered", "answered", "expected"),
    [
        (SEPARATE, SEPARATE, False),
        (WILLING, SEPARATE, False),
        (WILLING, WILLING, True),
        (REQUIRED, WILLING, True),
        (REQUIRED, REQUIRED, True),
        (WILLING, REQUIRED, True),
    ],
)
def test_both_sides_agree_on_one_port_or_two(
    offered: RtcpMux, answered: RtcpMux, expected: bool
) -> None:
    assert agree_rtcp_mux(offered, answered) is expected


@pytest.mark.clause("RFC 5761 5.1.1", "RFC 8858 4.4")
@pytest.mark.parametrize(
    ("offered", "answered"), [(SEPARATE, WILLING), (SEPARATE, REQUIRED), (REQUIRED, SEPARATE)]
)
def test_an_answer_that_does_not_fit_is_an_error(offered: RtcpMux, answered: RtcpMux) -> None:
    with pytest.raises(RemoteProtocolError):
        agree_rtcp_mux(offered, answered)


@pytest.mark.clause("RFC 5761 5.1.1", "RFC 3605 2.1", "RFC 3550 11")
@pytest.mark.parametrize(
    ("attributes", "is_multiplexed", "expected"),
    [
        ((), False, ("192.0.2.10", 49171)),
        (("rtcp-mux",), False, ("192.0.2.10", 49171)),  # offered, and not agreed to
        (("rtcp-mux",), True, ("192.0.2.10", 49170)),
        (("rtcp-mux", "rtcp:9 IN IP4 0.0.0.0"), True, ("192.0.2.10", 49170)),
        (("rtcp:53020",), False, ("192.0.2.10", 53020)),
        (("rtcp:53020 IN IP6 2001:db8::7",), False, ("2001:db8::7", 53020)),
    ],
)
def test_rtcp_goes_where_offer_and_answer_say(
    attributes: tuple[str, ...], is_multiplexed: bool, expected: tuple[str, int]
) -> None:
    description = session(*attributes)
    found = remote_rtcp_address(description.media[0], description, is_multiplexed=is_multiplexed)
    assert found == expected


@pytest.mark.clause("RFC 3264 8.4")
@pytest.mark.parametrize("is_multiplexed", [False, True])
@pytest.mark.parametrize("connection", ["IN IP4 0.0.0.0", "IN IP6 ::"])
def test_the_unspecified_address_gets_no_rtcp(connection: str, is_multiplexed: bool) -> None:
    description = session("rtcp:53020 IN IP4 192.0.2.10", audio=f"{AUDIO}c={connection}\r\n")
    (media,) = description.media
    assert remote_rtcp_address(media, description, is_multiplexed=is_multiplexed) is None


def test_a_line_without_port_or_address_gets_no_rtcp() -> None:
    description = session(audio="m=audio 0 RTP/AVP 0\r\n")
    assert remote_rtcp_address(description.media[0], description, is_multiplexed=True) is None
    assert remote_rtcp_address(line(), None, is_multiplexed=False) is None


@pytest.mark.clause("RFC 3550 11")
def test_there_is_no_port_above_the_last_one() -> None:
    description = session(audio="m=audio 65535 RTP/AVP 0\r\n")
    with pytest.raises(ParseError):
        remote_rtcp_address(description.media[0], description, is_multiplexed=False)


def test_rtp_is_told_from_other_media() -> None:
    protos = (
        "RTP/AVP",
        "UDP/TLS/RTP/SAVPF",
        "TCP/RTP/AVP",
        "UDP/DTLS/SCTP",
        "TCP/TLS/MSRP",
        "udptl",
    )
    found = [is_rtp(line(audio=f"m=audio 9 {proto} 0\r\n")) for proto in protos]
    assert found == [True, True, True, False, False, False]
