"""One media description: its views and its changed copies."""

from __future__ import annotations

import pytest

from dcsdk.errors import ParseError
from dcsdk.sdp.attributes import Attribute, Setup
from dcsdk.sdp.dcmap import Dcmap, Dcsa
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.sdp.lines import Bandwidth, Connection, Line
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription
from tests.sdp.vectors import APPLICATION_LINE, FP_A, FP_B, FP_SHA1, HEAD, TS_26114_A17_1


def media(text: str) -> MediaDescription:
    return SessionDescription.parse(HEAD + text).media[0]


LINE = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"


@pytest.mark.clause("TS 26.114 A.17.1")
def test_the_official_example_is_read_with_its_quirks() -> None:
    session = SessionDescription.parse(TS_26114_A17_1)
    (line,) = session.media
    assert line.is_data_channel
    assert line.address(session) == ("192.0.2.156", 52718)
    assert line.bandwidths == (Bandwidth(type="AS", value=500),)
    assert line.setup is Setup.ACTPASS
    assert line.tls_id == "abc3de65cddef001be82"
    assert line.fingerprints(session) == (Fingerprint.parse(FP_SHA1),)
    assert line.sctp_port == 5000
    assert line.max_message_size == 1024
    assert line.dcmaps == (Dcmap(stream_id=0, subprotocol="http"),)
    assert line.dcsas == ()


@pytest.mark.clause("RFC 8864 5.2")
def test_an_application_line_is_read() -> None:
    line = media(APPLICATION_LINE)
    assert [entry.stream_id for entry in line.dcmaps] == [1000, 1001]
    assert line.dcsas == (Dcsa(stream_id=1000, attribute="3gpp-qos-hint:loss=0.01;latency=100"),)
    assert line.get("3gpp-req-app") == "app-1;adc-stream-id-endpoint=1000:UE"
    assert line.get("nothing") is None
    assert not line.has("nothing")
    assert line.get_all("dcmap")[0].startswith("1000 ")


@pytest.mark.clause("RFC 8841 6.1")
def test_what_is_absent_is_none_and_the_message_size_is_64_k() -> None:
    line = media(LINE)
    assert (line.setup, line.tls_id, line.sctp_port) == (None, None, None)
    assert line.max_message_size == 65536
    assert line.fingerprints() == ()
    assert line.indication("3ge2ae") is None


@pytest.mark.clause("RFC 8864 5.2")
def test_dcsa_without_any_dcmap_is_discarded() -> None:
    assert media(LINE + "a=dcsa:1 x\r\n").dcsas == ()


@pytest.mark.clause("RFC 8122 5")
def test_fingerprints_and_setup_of_the_session_hold_where_the_line_has_none() -> None:
    text = HEAD + f"a=setup:passive\r\na=fingerprint:{FP_A}\r\n" + LINE
    session = SessionDescription.parse(text)
    line = session.media[0]
    assert line.fingerprints(session) == (Fingerprint.parse(FP_A),)
    assert line.fingerprints() == ()
    assert line.effective_setup(session) is Setup.PASSIVE
    assert line.effective_setup(None) is None
    own = line.with_attribute("fingerprint", FP_B).with_attribute("setup", "active")
    assert own.fingerprints(session) == (Fingerprint.parse(FP_B),)
    assert own.effective_setup(session) is Setup.ACTIVE
    assert (
        SessionDescription.parse(HEAD + LINE).media[0].effective_setup(session.parse(HEAD)) is None
    )


def test_a_line_can_be_made_to_stand_alone() -> None:
    text = HEAD + f"a=setup:passive\r\na=fingerprint:{FP_A}\r\na=ice-lite\r\n" + LINE
    session = SessionDescription.parse(text)
    alone = session.media[0].with_session_defaults(session)
    assert alone.address() == ("192.0.2.10", 9)
    assert alone.setup is Setup.PASSIVE
    assert alone.fingerprints() == (Fingerprint.parse(FP_A),)
    assert not alone.has("ice-lite")
    assert alone.with_session_defaults(session) == alone


def test_there_is_no_address_without_a_connection_line() -> None:
    assert media(LINE).address() is None


@pytest.mark.parametrize(
    "line",
    ["a=setup:active\r\na=setup:passive\r\n", "a=setup\r\n", "a=setup:both\r\n"],
)
def test_conflicting_or_empty_values_are_a_parse_error(line: str) -> None:
    with pytest.raises(ParseError):
        _ = media(LINE + line).setup


def test_a_value_repeated_is_one_value() -> None:
    assert media(LINE + "a=setup:active\r\n" * 2).setup is Setup.ACTIVE


def test_too_many_fingerprints_are_a_parse_error() -> None:
    assert len(media(LINE + f"a=fingerprint:{FP_A}\r\n" * 16).fingerprints()) == 16
    with pytest.raises(ParseError):
        media(LINE + f"a=fingerprint:{FP_A}\r\n" * 17).fingerprints()
    with pytest.raises(ParseError):
        media(LINE + "a=fingerprint\r\n").fingerprints()


@pytest.mark.clause("E10")
def test_the_first_known_indication_counts() -> None:
    line = media(LINE + "a=3ge2dce:perhaps\r\na=3ge2dce:applied\r\na=3ge2ae:requested\r\n")
    assert line.indication("3ge2dce") == "applied"
    assert line.indication("3ge2ae") == "requested"


@pytest.mark.parametrize(
    ("line", "is_data_channel"),
    [
        ("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", True),
        ("m=application 9 TCP/DTLS/SCTP webrtc-datachannel\r\n", True),
        ("m=application 9 DTLS/SCTP 5000\r\n", False),
        ("m=application 9 UDP/DTLS/SCTP other\r\n", False),
        ("m=audio 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", False),
    ],
)
def test_data_channel_lines_are_told_from_others(line: str, is_data_channel: bool) -> None:
    assert media(line).is_data_channel is is_data_channel


def test_changed_copies_leave_the_rest_in_place() -> None:
    line = media(LINE + "i=title\r\nx=1\r\na=one:1\r\na=two\r\na=one:2\r\ny=2\r\n")
    assert str(line.without("one")) == LINE + "i=title\r\nx=1\r\na=two\r\ny=2\r\n"
    assert str(line.replacing("one", "3")) == (
        LINE + "i=title\r\nx=1\r\na=one:3\r\na=two\r\ny=2\r\n"
    )
    assert str(line.replacing("new", "3")).endswith("y=2\r\na=new:3\r\n")
    assert line.with_port(7).port == 7
    moved = line.with_connection(Connection.create("::1"))
    assert str(moved).startswith(LINE + "i=title\r\nc=IN IP6 ::1\r\nx=1\r\n")
    assert moved.with_connection(Connection.create("::2")).connection == Connection.create("::2")
    assert media(LINE).with_connection(Connection.create("::1")).lines == (Line("c", "IN IP6 ::1"),)


@pytest.mark.clause("RFC 3264 6")
def test_a_refused_line_has_port_0_and_nothing_under_it() -> None:
    refused = media(APPLICATION_LINE).rejected()
    assert refused.is_rejected
    assert str(refused) == "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"


def test_a_line_is_made_from_values() -> None:
    line = MediaDescription.create(
        media="application",
        port=9,
        proto="UDP/DTLS/SCTP",
        formats=["webrtc-datachannel"],
        connection=Connection.create("192.0.2.1"),
        bandwidths=[Bandwidth(type="AS", value=500)],
        attributes=[Attribute("setup", "actpass"), ("x", None)],
    )
    assert str(line) == LINE + "c=IN IP4 192.0.2.1\r\nb=AS:500\r\na=setup:actpass\r\na=x\r\n"


def test_a_media_description_begins_with_its_m_line() -> None:
    with pytest.raises(ParseError):
        MediaDescription.parse([Line("a", "audio 1 RTP/AVP 0")])
