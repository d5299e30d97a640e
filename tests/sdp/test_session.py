"""Whole session descriptions: read, changed, written back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.sdp.attributes import Attribute
from dcsdk.sdp.lines import Connection, Origin, SdpLimits
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription
from tests.sdp.vectors import BOOTSTRAP_OFFER, HEAD, TS_26114_A17_1

UNKNOWN = (
    "v=0\r\no=- 1 1 IN IP4 h\r\ns= \r\nx=who knows\r\nt=0 0\r\nr=7d 1h\r\nz=0 0\r\nk=clear:x\r\n"
    "a=one\r\nQ=\r\na=\r\n"
    "m=audio 1/2 RTP/AVP 0 8 96\r\nb=XX:1\r\nc=IN IP4 a\r\nc=IN IP4 b\r\ni=late\r\ny=?\r\na=x:\r\n"
    "m=image 0 udptl t38\r\n"
)


@pytest.mark.parametrize("text", [HEAD, TS_26114_A17_1, BOOTSTRAP_OFFER, UNKNOWN])
def test_a_description_is_written_back_octet_for_octet(text: str) -> None:
    session = SessionDescription.parse(text.encode())
    assert session.encode() == text.encode()
    assert str(session) == text
    assert SessionDescription.parse(str(session)) == session


def test_octets_of_another_character_set_are_written_back() -> None:
    data = HEAD.encode().replace(b"s=-", b"s=caf\xe9")
    assert SessionDescription.parse(data).encode() == data


def test_line_ends_become_crlf() -> None:
    assert SessionDescription.parse(HEAD.replace("\r\n", "\n")).encode() == HEAD.encode()


def test_what_stands_at_session_level_is_found() -> None:
    session = SessionDescription.parse(TS_26114_A17_1)
    assert session.origin.address == "192.0.2.156"
    assert session.name == "-"
    assert session.times == ("0 0",)
    assert session.connection is None
    assert session.has("ice-lite")
    assert session.get("ice-options") == "ice2"
    assert session.get("ice-lite") is None
    assert len(session.media) == 1
    assert SessionDescription.parse(HEAD).connection == Connection.create("192.0.2.10")


def test_a_description_is_made_from_values() -> None:
    session = SessionDescription.create(
        origin=Origin.create(session_id=3001, version=1, address="192.0.2.10"),
        connection=Connection.create("192.0.2.10"),
        attributes=(Attribute("ice-lite"), ("x", "1")),
        media=(MediaDescription.create(media="audio", port=9, proto="RTP/AVP", formats=("0",)),),
    )
    assert str(session) == HEAD + "a=ice-lite\r\na=x:1\r\nm=audio 9 RTP/AVP 0\r\n"
    bare = SessionDescription.create(origin=session.origin)
    assert str(bare) == "v=0\r\no=- 3001 1 IN IP4 192.0.2.10\r\ns=-\r\nt=0 0\r\n"


@pytest.mark.clause("RFC 3264 8")
def test_media_lines_are_replaced_and_added_and_never_vanish() -> None:
    session = SessionDescription.parse(BOOTSTRAP_OFFER)
    refused = session.replace_media(2, session.media[2].rejected())
    assert [line.port for line in refused.media] == [49180, 51404, 0]
    assert refused.media[:2] == session.media[:2]
    assert len(session.with_media(session.media[1]).media) == 4
    for index in (3, -1):
        with pytest.raises(LocalProtocolError):
            session.replace_media(index, session.media[0])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v=1\r\n",
        HEAD.replace("v=0\r\n", ""),
        HEAD + "v=0\r\n",
        HEAD.replace("o=- 3001 1 IN IP4 192.0.2.10\r\n", ""),
        HEAD.replace("s=-\r\n", ""),
        HEAD.replace("t=0 0\r\n", ""),
        HEAD.replace("3001", "x"),
        HEAD.replace("c=IN IP4 192.0.2.10", "c=IN"),
        HEAD + "m=audio\r\n",
        HEAD + "m=audio 70000 RTP/AVP 0\r\n",
        HEAD + "m=audio 1 RTP/AVP\r\n",
        HEAD + "m=audio x RTP/AVP 0\r\n",
        HEAD + "m=audio 1 RTP/AVP 0\r\nc=IN IP4\r\n",
        HEAD + "\ud800",
    ],
)
def test_a_broken_description_is_a_parse_error(text: str) -> None:
    with pytest.raises(ParseError):
        SessionDescription.parse(text)


def test_more_media_lines_than_allowed_are_a_parse_error() -> None:
    text = HEAD + "m=audio 1 RTP/AVP 0\r\n" * 3
    assert len(SessionDescription.parse(text).media) == 3
    with pytest.raises(ParseError):
        SessionDescription.parse(text, SdpLimits(max_media=2))


@pytest.mark.parametrize("name", ["a\r\nm=audio 1 RTP/AVP 0", "a\nb", "a\rb", "a\0"])
def test_a_line_break_put_in_locally_is_not_written(name: str) -> None:
    origin = Origin.create(session_id=1, version=1, address="192.0.2.10")
    with pytest.raises(LocalProtocolError):
        SessionDescription.create(origin=origin, name=name).encode()


LINES = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=("Cs",)), max_size=30)
UNKNOWN_LINES = st.lists(
    st.tuples(st.sampled_from("ibkazxQ"), LINES).map(lambda pair: f"{pair[0]}={pair[1]}\r\n"),
    max_size=6,
).map("".join)
MEDIA = st.tuples(
    st.sampled_from(
        ["m=audio 49170 RTP/AVP 0", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"]
    ),
    UNKNOWN_LINES,
).map(lambda pair: f"{pair[0]}\r\n{pair[1]}")


@given(head=UNKNOWN_LINES, media=st.lists(MEDIA, max_size=4).map("".join))
def test_lines_nobody_understands_keep_their_place(head: str, media: str) -> None:
    data = (HEAD + head + media).encode()
    assert SessionDescription.parse(data).encode() == data


def read_everything(session: SessionDescription) -> None:
    for line in session.media:
        views = (
            lambda line=line: line.effective_setup(session),
            lambda line=line: line.fingerprints(session),
            lambda line=line: (line.tls_id, line.sctp_port, line.max_message_size),
            lambda line=line: (line.dcmaps, line.dcsas, line.bandwidths),
            lambda line=line: (line.address(session), line.indication("3ge2ae")),
        )
        for view in views:
            try:
                view()
            except ParseError:
                continue


@given(data=st.binary(max_size=300))
def test_any_octets_are_a_description_or_a_parse_error(data: bytes) -> None:
    try:
        session = SessionDescription.parse(data)
    except ParseError:
        return
    read_everything(session)


@given(data=st.data())
def test_any_damage_gives_a_description_or_a_parse_error(data: st.DataObject) -> None:
    octets = bytearray(BOOTSTRAP_OFFER.encode())
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, len(octets) - 1))
        end = data.draw(st.integers(start, min(start + 40, len(octets))))
        octets[start:end] = data.draw(st.binary(max_size=12))
    try:
        session = SessionDescription.parse(bytes(octets))
    except ParseError:
        return
    read_everything(session)
    assert SessionDescription.parse(session.encode()) == session
