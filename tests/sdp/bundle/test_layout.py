"""What a description says about sharing, and what counts for each section."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import DcsdkError, ParseError, RemoteProtocolError
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.bundle.layout import (
    BundleLayout,
    NoTransport,
    OwnTransport,
    SharedTransport,
    effective,
    effective_session,
    is_shareable,
    read_layout,
    tagged,
)
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.sdp.session import SessionDescription
from tests.sdp.bundle import vectors
from tests.sdp.bundle.vectors import sections
from tests.sdp.vectors import BOOTSTRAP_OFFER, FP_A, FP_B, FP_DCMF, HEAD, TLS_ID_A, TLS_ID_B


def parse(text: str) -> SessionDescription:
    return SessionDescription.parse(text)


@pytest.mark.clause("RFC 9143 5")
def test_a_description_without_groups_bundles_nothing() -> None:
    assert read_layout(parse(BOOTSTRAP_OFFER)) == BundleLayout(mids=(None, None, None))


@pytest.mark.clause("RFC 9143 7.2.2", "RFC 9143 5")
def test_groups_are_read_in_the_order_of_their_tags() -> None:
    layout = read_layout(sections("BUNDLE c a|LS b d|BUNDLE d", "a 1", "b 2", "c 3", "d 4", " 5"))
    assert layout.mids == ("a", "b", "c", "d", None)
    assert layout.groups == ((2, 0), (3,))
    assert layout.placements == (
        SharedTransport(group=0, tagged=2),
        OwnTransport(),
        SharedTransport(group=0, tagged=2),
        SharedTransport(group=1, tagged=3),
        OwnTransport(),
    )


@pytest.mark.clause("RFC 9143 7.2.2")
def test_the_examples_of_the_standard_are_read() -> None:
    assert read_layout(parse(vectors.RFC_9143_OFFER)) == BundleLayout(
        mids=("foo", "bar"), groups=((0, 1),)
    )
    assert read_layout(parse(vectors.RFC_9143_BUNDLE_ONLY_OFFER)) == BundleLayout(
        mids=("foo", "bar"), groups=((0, 1),), bundle_only=frozenset({1})
    )
    assert read_layout(parse(vectors.RFC_9143_DISABLING_OFFER)) == BundleLayout(
        mids=("foo", "bar", "zen"), groups=((0, 1),), ended=frozenset({2})
    )


@pytest.mark.clause("RFC 9143 6", "RFC 9143 7.2")
def test_port_zero_is_a_wish_only_in_a_group_and_with_bundle_only() -> None:
    layout = read_layout(
        sections(
            "BUNDLE a b c d", "a 1 bundle-only", "b 0 bundle-only", "c 0", "d 4", "e 0 bundle-only"
        )
    )
    assert layout.groups == ((0, 1, 3),)
    assert layout.bundle_only == {1}
    assert layout.ended == {2, 4}
    assert layout.placement(2) == NoTransport()


def test_an_empty_group_and_one_of_dead_sections_are_no_groups() -> None:
    assert read_layout(sections("BUNDLE|BUNDLE a", "a 0")).groups == ()


@pytest.mark.clause("RFC 5888 4", "RFC 5888 5", "RFC 9143 5")
@pytest.mark.parametrize(
    ("groups", "lines", "source"),
    [
        ("", ("a 1", "a 2"), "RFC 5888 4"),
        ("BUNDLE a x", ("a 1",), "RFC 5888 5"),
        ("BUNDLE a a", ("a 1",), "RFC 9143 5"),
        ("BUNDLE a b|BUNDLE b", ("a 1", "b 2"), "RFC 9143 5"),
    ],
)
def test_tags_that_name_nothing_or_come_twice_are_an_error(
    groups: str, lines: tuple[str, ...], source: str
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_layout(sections(groups, *lines))
    assert caught.value.source == source
    assert caught.value.sip_status_hint == 488


@pytest.mark.clause("RFC 5888 5")
@pytest.mark.parametrize("line", ["a=group", "a=group:", "a=group: "])
def test_a_group_without_semantics_is_a_parse_error(line: str) -> None:
    with pytest.raises(ParseError):
        read_layout(parse(f"{HEAD}{line}\r\n"))


@pytest.mark.clause("RFC 5888 5")
def test_an_unknown_group_names_what_it_likes() -> None:
    assert read_layout(sections("FID x x|bundle a y", "a 1")).groups == ()


@pytest.mark.clause("RFC 9143 7.3.1")
def test_the_first_section_that_stays_and_has_a_port_is_tagged() -> None:
    session = sections("BUNDLE a b c", "a 0 bundle-only", "b 2", "c 3")
    assert tagged(session, (0, 1, 2)) == 1
    assert tagged(session, (0, 1, 2), {0, 2}) == 2
    assert tagged(session, (0, 1, 2), {0}) is None


@pytest.mark.clause("RFC 9143 7.1.3")
def test_a_bundled_section_has_what_the_tagged_one_has() -> None:
    session = parse(vectors.BOTH_TAKEN_ANSWER)
    data = effective(session, 1)
    assert data.address() == ("198.51.100.30", 50000)
    assert data.setup is Setup.ACTIVE
    assert data.fingerprints() == (Fingerprint.parse(FP_B),)
    assert data.tls_id == TLS_ID_B
    assert data.get("ice-ufrag") == "ubbb"
    assert data.has("rtcp-mux")
    assert data.sctp_port == 5000, "SCTP stays each section's own"
    assert not data.has("rtpmap")
    assert data.get("mid") == "d"


@pytest.mark.clause("RFC 9143 7.1.3", "RFC 9143 10")
def test_own_values_of_a_bundled_section_do_not_count() -> None:
    session = parse(vectors.AUDIO_AND_DATA_OFFER)
    data = effective(session, 1)
    assert data.port == 40000
    assert data.fingerprints() == (Fingerprint.parse(FP_A),)
    assert data.tls_id == TLS_ID_A
    assert data.get_all("ice-ufrag") == ("uaaa",)


@pytest.mark.clause("RFC 9143 7.3.1")
def test_in_a_new_group_the_answerers_choice_decides_what_counts() -> None:
    session = parse(vectors.AUDIO_AND_DATA_OFFER)
    chosen = BundleLayout(mids=("a", "d"), groups=((1,),), ended=frozenset({0}))
    data = effective(session, 1, chosen)
    assert data.port == 40002
    assert data.fingerprints() == (Fingerprint.parse(FP_DCMF),)
    assert data.tls_id == TLS_ID_B


@pytest.mark.clause("RFC 9143 7.3.5", "RFC 9143 7.4.1")
@pytest.mark.parametrize(
    "text", [vectors.RFC_9143_BUNDLE_ONLY_OFFER, vectors.RFC_8843_ANSWER], ids=["offer", "answer"]
)
def test_a_section_with_port_zero_and_bundle_only_has_the_tagged_address(text: str) -> None:
    session = parse(text)
    video = effective(session, 1)
    assert video.address() == session.media[0].address(session)
    assert not video.has("bundle-only")
    assert video.has("rtcp-mux")
    assert [str(entry) for entry in video.bandwidths] == ["AS:1000"]


@pytest.mark.clause("RFC 8122 5", "RFC 4145 4")
def test_a_tagged_section_that_inherits_passes_it_on() -> None:
    head = HEAD + f"a=group:BUNDLE a b\r\na=fingerprint:{FP_A}\r\na=setup:passive\r\n"
    session = parse(
        f"{head}m=audio 1 RTP/AVP 0\r\na=mid:a\r\n"
        f"m=audio 2 RTP/AVP 0\r\na=mid:b\r\na=fingerprint:{FP_B}\r\na=setup:active\r\n"
    )
    for index in (0, 1):
        media = effective(session, index)
        assert media.fingerprints() == (Fingerprint.parse(FP_A),)
        assert media.setup is Setup.PASSIVE
        assert media.address() == ("192.0.2.10", 1)


def test_a_section_alone_keeps_its_own_and_loses_a_stray_bundle_only() -> None:
    session = sections("BUNDLE a", "a 1", "b 2 setup:active bundle-only rtcp:7")
    alone = effective(session, 1)
    assert alone.port == 2
    assert alone.setup is Setup.ACTIVE
    assert alone.get("rtcp") == "7"
    assert not alone.has("bundle-only")


def test_a_group_of_nothing_but_wishes_has_no_address() -> None:
    session = sections("BUNDLE a b", "a 0 bundle-only", "b 0 bundle-only")
    assert [media.port for media in effective_session(session).media] == [0, 0]


@pytest.mark.clause("RFC 8859 5")
def test_one_port_or_two_is_a_matter_of_the_tagged_section() -> None:
    session = sections("BUNDLE a b", "a 1", "b 2 rtcp-mux rtcp:7")
    assert not effective(session, 1).has("rtcp-mux")
    assert not effective(session, 1).has("rtcp")


def test_chromium_is_read() -> None:
    session = parse(vectors.CHROMIUM_OFFER)
    assert read_layout(session) == BundleLayout(
        mids=("0", "1"), groups=((0, 1),), bundle_only=frozenset({1})
    )
    audio = effective(session, 1)
    assert audio.port == 9
    assert audio.has("rtcp-mux"), "the tagged section is no RTP and does not say it"
    assert audio.has("rtcp-rsize")
    assert not audio.has("rtcp")
    assert audio.get_all("ice-ufrag") == ("4ZcD",)
    assert audio.get("ice-options") == "trickle"


def test_firefox_is_read() -> None:
    session = parse(vectors.FIREFOX_OFFER)
    layout = read_layout(session)
    assert layout.groups == ((0, 1, 2),)
    assert layout.bundle_only == {1, 2}
    for media in effective_session(session).media:
        assert media.address() == ("192.0.2.10", 56341)
        assert media.fingerprints() == (Fingerprint.parse(FP_B),)
        assert media.get("candidate") == "0 1 UDP 2122252543 192.0.2.10 56341 typ host"
        assert media.has("rtcp-mux")


@pytest.mark.parametrize(
    ("text", "ports"), [(vectors.AIORTC_OFFER, 59608), (vectors.AIORTC_ANSWER, 48508)]
)
def test_aiortc_is_read(text: str, ports: int) -> None:
    session = parse(text)
    assert read_layout(session) == BundleLayout(mids=("0", "1"), groups=((0, 1),))
    for media in effective_session(session).media:
        assert media.address() == ("192.0.2.2", ports)
        assert len(media.get_all("candidate")) == 1
        assert len(media.fingerprints()) == 1


@pytest.mark.clause("RFC 8859 5", "RFC 9143 8")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("m=audio 9 RTP/AVP 0", True),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 0", True),
        ("m=application 9 UDP/DTLS/SCTP webrtc-datachannel", True),
        ("m=application 9 TCP/DTLS/SCTP webrtc-datachannel", False),
        ("m=audio 9 TCP/RTP/AVP 0", False),
        ("m=message 9 TCP/TLS/MSRP *\r\na=path:msrps://h:1/s;tcp", False),
        ("m=application 9 UDP/TLS/BFCP *\r\na=floorctrl:c-only", False),
        ("m=image 9 UDP/TLS/UDPTL t38", False),
        ("m=audio 9 RTP/AVP 0\r\na=floorctrl:c-only", False),
    ],
)
def test_msrp_bfcp_and_t38_cannot_be_bundled(line: str, expected: bool) -> None:
    assert is_shareable(parse(f"{HEAD}{line}\r\n").media[0]) is expected


def test_sections_that_end_leave_their_group() -> None:
    layout = BundleLayout(mids=("a", "b", "c"), groups=((0, 1), (2,)), bundle_only=frozenset({1}))
    assert layout.without({1, 2}) == BundleLayout(
        mids=("a", "b", "c"), groups=((0,),), ended=frozenset({1, 2})
    )


LINES = st.sampled_from(
    [
        *("m=audio 0 RTP/AVP 0", "m=audio 7 RTP/AVP 0", "m=application 8 UDP/DTLS/SCTP x"),
        *("a=mid:a", "a=mid:b", "a=mid:c", "a=mid:", "a=bundle-only", "a=setup:active", "a=x"),
        *("a=group:BUNDLE a b", "a=group:BUNDLE c a", "a=group:BUNDLE b", "a=group:LS a z"),
        *("a=group:BUNDLE", "a=rtcp-mux", "a=rtcp:9", "c=IN IP4 192.0.2.1", "a=ice-ufrag:abcd"),
    ]
)


@given(lines=st.lists(LINES, max_size=14))
def test_any_description_is_read_or_is_an_error_of_ours(lines: list[str]) -> None:
    session = parse(HEAD + "".join(f"{line}\r\n" for line in lines))
    with contextlib.suppress(DcsdkError):
        layout = read_layout(session)
        members = [index for group in layout.groups for index in group]
        assert len(members) == len(set(members))
        assert not layout.ended & set(members)
        assert layout.bundle_only <= set(members)
        assert len(effective_session(session, layout).media) == len(session.media)
