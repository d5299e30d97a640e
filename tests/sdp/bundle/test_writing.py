"""Offers and answers written from sections that are complete."""

from __future__ import annotations

from dataclasses import dataclass, replace

import aiortc.sdp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import LocalProtocolError
from dcsdk.sdp.attributes import Attribute
from dcsdk.sdp.bundle.layout import TAGGED_ATTRIBUTES, BundleLayout, effective, read_layout
from dcsdk.sdp.bundle.writing import write_answer, write_offer
from dcsdk.sdp.lines import Connection, Origin
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription
from tests.sdp.bundle import vectors
from tests.sdp.vectors import HEAD


def section(port: int, *attributes: str, data: bool = False) -> MediaDescription:
    """Make a complete section with keys and ICE values of its own, told apart by its port."""
    own = (
        f"setup:actpass|fingerprint:sha-256 {port:064X}|tls-id:{port:032}|ice-ufrag:u{port}"
    ).split("|")
    kind = ("application", "UDP/DTLS/SCTP", "x") if data else ("audio", "UDP/TLS/RTP/SAVPF", "96")
    return MediaDescription.create(
        media=kind[0],
        port=port,
        proto=kind[1],
        formats=(kind[2],),
        connection=Connection.create("192.0.2.10"),
        attributes=(Attribute.parse(text) for text in (*attributes, *own)),
    )


def session(*media: MediaDescription, attributes: str = "") -> SessionDescription:
    return replace(SessionDescription.parse(HEAD + attributes), media=media)


def names(media: MediaDescription) -> set[str]:
    return {entry.name for entry in media.attributes}


BOTH = BundleLayout(mids=("a", "d"), groups=((0, 1),))


@pytest.mark.clause("RFC 9143 7.2", "RFC 9143 9.3.1.1")
def test_a_first_offer_has_an_address_and_all_attributes_in_every_section() -> None:
    media = (section(40000, "rtcp-mux", "rtcp:40001"), section(40002, data=True))
    offer = write_offer(session(*media), BOTH)
    assert offer.attributes == (Attribute("group", "BUNDLE a d"),)
    assert [line.port for line in offer.media] == [40000, 40002]
    assert [line.get("mid") for line in offer.media] == ["a", "d"]
    assert all(line.has("rtcp-mux") for line in offer.media), "in the section of no RTP too"
    assert offer.media[0].get("rtcp") == "40001", "in case the answerer moves it out"
    for written, given_ in zip(offer.media, media, strict=True):
        assert names(written) == names(given_) | {"mid", "rtcp-mux"}


@pytest.mark.clause("RFC 9143 7.2", "RFC 9143 7.1.3")
def test_a_section_wanted_only_inside_the_group_has_port_zero_and_no_keys() -> None:
    layout = replace(BOTH, bundle_only=frozenset({1}))
    offer = write_offer(
        session(section(40000), section(40002, "sctp-port:5000", data=True)), layout
    )
    data = offer.media[1]
    assert data.port == 0
    assert names(data) == {"sctp-port", "mid", "bundle-only"}
    assert read_layout(offer) == layout


@pytest.mark.clause("RFC 9143 7.5", "RFC 9143 7.1.3", "RFC 9143 9.3.1.4")
def test_a_later_offer_has_one_address_and_keys_in_the_tagged_section_only() -> None:
    layout = BundleLayout(mids=("a", "d", "new"), groups=((1, 0, 2),))
    media = (section(40000, "rtcp:1"), section(40002, "rtcp:2", data=True), section(40004))
    offer = write_offer(session(*media), layout, BOTH)
    assert [line.port for line in offer.media] == [40002, 40002, 40002]
    assert names(offer.media[0]) == names(offer.media[2]) == {"mid"}
    assert names(offer.media[1]) == names(media[1]) - {"rtcp"} | {"mid", "rtcp-mux"}
    assert offer.attributes == (Attribute("group", "BUNDLE d a new"),)


@pytest.mark.clause("RFC 9143 7.3.5")
def test_the_shape_of_rfc_8843_is_never_written() -> None:
    layout = replace(BOTH, bundle_only=frozenset({1}))
    offer = write_offer(session(section(40000), section(40002, data=True)), layout, BOTH)
    assert [line.port for line in offer.media] == [40000, 40000]
    assert not offer.media[1].has("bundle-only")


@pytest.mark.clause("RFC 9143 7.5.3")
def test_a_section_ended_by_an_offer_leaves_the_group() -> None:
    media = (section(40000).rejected(), section(40002, data=True))
    offer = write_offer(session(*media), BOTH, BOTH)
    assert offer.attributes == (Attribute("group", "BUNDLE d"),)
    assert [line.port for line in offer.media] == [0, 40002]
    assert names(offer.media[0]) == {"mid"}
    both_ended = write_offer(session(*(line.rejected() for line in media)), BOTH, BOTH)
    assert both_ended.attributes == ()


@pytest.mark.clause("RFC 9143 7.5.2")
def test_a_section_unbundled_by_an_offer_has_its_own_again() -> None:
    layout = BundleLayout(mids=("a", "d"), groups=((0,),))
    media = (section(40000), section(40002, data=True))
    offer = write_offer(session(*media), layout, BOTH)
    assert offer.media[1] == media[1].with_attribute("mid", "d")


@pytest.mark.clause("RFC 9143 7.3", "RFC 9143 7.1.3", "RFC 9143 9.3.1.2")
def test_an_answer_has_one_address_and_keys_in_the_tagged_section_only() -> None:
    offer = SessionDescription.parse(vectors.AUDIO_AND_DATA_OFFER)
    media = (section(50000, "rtcp:50001"), section(50002, data=True))
    answer = write_answer(session(*media), BOTH, offer)
    assert [line.port for line in answer.media] == [50000, 50000]
    assert names(answer.media[0]) == names(media[0]) - {"rtcp"} | {"mid", "rtcp-mux"}
    assert names(answer.media[1]) == {"mid"}


@pytest.mark.clause("RFC 9143 9.3.1.2")
def test_the_tagged_section_says_mux_when_the_group_was_offered_so() -> None:
    layout = BundleLayout(mids=("0", "1"), groups=((0, 1),))
    offer = SessionDescription.parse(vectors.CHROMIUM_OFFER)
    media = (section(50000, data=True), section(50002))
    assert write_answer(session(*media), layout, offer).media[0].has("rtcp-mux")
    silent = replace(offer, media=tuple(line.without("rtcp-mux") for line in offer.media))
    answer = write_answer(session(section(50000, "rtcp-mux", data=True), media[1]), layout, silent)
    assert not answer.media[0].has("rtcp-mux")


@pytest.mark.clause("RFC 9143 9.3.1.2", "RFC 8858 4.3")
def test_mux_only_is_answered_in_the_tagged_section_when_offered_there() -> None:
    offer = SessionDescription.parse(vectors.AUDIO_AND_DATA_OFFER)
    media = session(section(50000, "rtcp-mux"), section(50002, data=True))
    for index, expected in ((0, True), (1, False)):
        only = offer.replace_media(index, offer.media[index].with_attribute("rtcp-mux-only"))
        answer = write_answer(media, BOTH, only)
        assert answer.media[0].has("rtcp-mux-only") is expected
        assert not answer.media[1].has("rtcp-mux-only")


@pytest.mark.clause("RFC 9143 7.3.3")
def test_a_section_refused_in_an_answer_leaves_the_group_and_keeps_its_tag() -> None:
    offer = SessionDescription.parse(vectors.AUDIO_AND_DATA_OFFER)
    media = session(section(50000), section(50002, data=True).rejected())
    answer = write_answer(media, BOTH, offer)
    assert answer.attributes == (Attribute("group", "BUNDLE a"),)
    assert str(answer.media[1]) == "m=application 0 UDP/DTLS/SCTP x\r\na=mid:d\r\n"


@pytest.mark.clause("RFC 9143 7.3.1")
def test_the_tagged_section_of_an_answer_cannot_be_refused_afterwards() -> None:
    offer = SessionDescription.parse(vectors.AUDIO_AND_DATA_OFFER)
    with pytest.raises(LocalProtocolError):
        write_answer(session(section(9).rejected(), section(50002, data=True)), BOTH, offer)


@pytest.mark.clause("RFC 9143 10")
def test_sections_without_candidates_may_share_the_discard_port() -> None:
    media = [
        replace(section(9, data=data), port=9).with_connection(Connection.create("0.0.0.0"))  # noqa: S104
        for data in (False, True)
    ]
    assert read_layout(write_offer(session(*media), BOTH)) == BOTH


def test_groups_of_another_kind_and_lines_of_the_session_stay() -> None:
    given_ = session(
        section(1),
        section(2, data=True),
        attributes="a=group:LS a d\r\na=group:BUNDLE x\r\na=y\r\n",
    )
    offer = write_offer(given_, BOTH)
    assert [str(entry) for entry in offer.attributes] == ["y", "group:LS a d", "group:BUNDLE a d"]


AUDIO, DATA = section(40000), section(40002, data=True)
MSRP = MediaDescription.create(
    media="message",
    port=9,
    proto="TCP/TLS/MSRP",
    formats="*",
    connection=Connection.create("192.0.2.10"),
)
BFCP = replace(DATA, proto="UDP/TLS/BFCP")


@pytest.mark.parametrize(
    ("media", "layout", "in_force", "source"),
    [
        ((AUDIO, MSRP), BOTH, None, "RFC 8859 5"),
        ((AUDIO, BFCP), BOTH, None, "RFC 8859 5"),
        ((AUDIO, DATA), replace(BOTH, mids=("a", None)), None, "RFC 9143 5"),
        ((AUDIO, DATA), replace(BOTH, mids=("a", "a")), None, "RFC 5888 4"),
        ((AUDIO, DATA), replace(BOTH, mids=("a", "b c")), None, "RFC 5888 4"),
        ((AUDIO, DATA), replace(BOTH, mids=("a",)), None, "RFC 3264 6"),
        ((AUDIO, DATA), replace(BOTH, bundle_only=frozenset({0})), None, "RFC 9143 7.2.1"),
        ((AUDIO, AUDIO), BOTH, None, "RFC 9143 7.2"),
        ((DATA, section(40004, data=True)), BOTH, None, "RFC 8841 7"),
        ((AUDIO, replace(section(40004), proto="RTP/AVP")), BOTH, None, "RFC 9143 9.1"),
        (
            (AUDIO, DATA.with_connection(Connection.create("2001:db8::1"))),
            BOTH,
            None,
            "RFC 9143 7.1.1",
        ),
        ((AUDIO, DATA), BOTH, BundleLayout(mids=("a", "d"), groups=((0,), (1,))), "RFC 9143 7.5.2"),
        ((AUDIO, DATA), BundleLayout(mids=("a", "d"), groups=((0,), (1,))), BOTH, "RFC 9143 7.5.2"),
        (
            (AUDIO.with_port(0), DATA),
            replace(BOTH, bundle_only=frozenset({0})),
            BOTH,
            "RFC 9143 7.5",
        ),
    ],
)
@pytest.mark.clause("RFC 9143 7.2", "RFC 9143 7.5", "RFC 8859 5", "RFC 8841 7", "RFC 9143 9.1")
def test_what_cannot_be_offered_is_our_error(
    media: tuple[MediaDescription, ...],
    layout: BundleLayout,
    in_force: BundleLayout | None,
    source: str,
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        write_offer(session(*media), layout, in_force or BundleLayout())
    assert caught.value.source == source


@pytest.mark.clause("RFC 9143 7.1.1")
def test_a_bundled_section_needs_an_address() -> None:
    origin = Origin.create(session_id=1, version=1, address="192.0.2.10")
    bare = replace(AUDIO, lines=tuple(line for line in AUDIO.lines if line.type != "c"))
    with pytest.raises(LocalProtocolError) as caught:
        write_offer(SessionDescription.create(origin=origin, media=(bare, DATA)), BOTH)
    assert caught.value.source == "RFC 9143 7.1.1"
    inherited = SessionDescription.create(
        origin=origin, connection=Connection.create("192.0.2.10"), media=(bare, DATA)
    )
    assert read_layout(write_offer(inherited, BOTH)) == BOTH


def test_another_stack_reads_our_groups() -> None:
    offer = write_offer(session(section(40000), section(40002, data=True)), BOTH)
    read = aiortc.sdp.SessionDescription.parse(str(offer))
    assert [(group.semantic, group.items) for group in read.group] == [("BUNDLE", ["a", "d"])]
    assert [media.rtp.muxId for media in read.media] == ["a", "d"]
    assert all(media.rtcp_mux for media in read.media)


# --- what is written is what is read, and nothing is lost on the way -----------------------------
@dataclass(frozen=True)
class Case:
    """Complete sections, and who shares a transport with whom."""

    description: SessionDescription
    layout: BundleLayout


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(min_value=1, max_value=6))
    order = draw(st.permutations(range(count)))
    numbers = [draw(st.integers(min_value=0, max_value=2)) for _ in range(count)]
    split = (tuple(i for i in order if numbers[i] == number) for number in (1, 2))
    groups = tuple(group for group in split if group)
    with_data = {draw(st.sampled_from(group)) for group in groups}
    mids = tuple(
        str(index) if numbers[index] or draw(st.booleans()) else None for index in range(count)
    )
    media = tuple(
        section(40000 + 2 * index, "rtcp-mux", "ssrc:1", data=index in with_data)
        for index in range(count)
    )
    return Case(session(*media), BundleLayout(mids=mids, groups=groups))


def as_the_tagged(case: Case, index: int) -> MediaDescription:
    """Return the complete section with the values of the tagged one, the plain way."""
    media = case.description.media[index]
    number = case.layout.group_of(index)
    first = case.description.media[index if number is None else case.layout.groups[number][0]]
    shared = [entry for entry in first.attributes if entry.name in TAGGED_ATTRIBUTES]
    return media.with_port(first.port).without(*TAGGED_ATTRIBUTES).with_attributes(shared)


def sorted_lines(media: MediaDescription) -> tuple[int, list[str]]:
    return media.port, sorted(str(line) for line in media.without("mid").lines)


@given(case=cases())
def test_a_first_offer_is_read_as_it_was_meant(case: Case) -> None:
    offer = write_offer(case.description, case.layout)
    assert read_layout(offer) == case.layout
    for index in range(len(offer.media)):
        expected = sorted_lines(as_the_tagged(case, index))
        assert sorted_lines(effective(offer, index)) == expected


@given(case=cases())
def test_a_later_offer_and_an_answer_are_read_as_they_were_meant(case: Case) -> None:
    first = write_offer(case.description, case.layout)
    later = write_offer(case.description, case.layout, case.layout)
    answer = write_answer(case.description, case.layout, first)
    assert read_layout(later) == read_layout(answer) == case.layout
    for index in range(len(first.media)):
        expected = sorted_lines(as_the_tagged(case, index))
        assert sorted_lines(effective(later, index)) == expected
        assert sorted_lines(effective(answer, index)) == expected
        assert effective(later, index) == effective(answer, index)
