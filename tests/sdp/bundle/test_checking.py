"""A peer's offers and answers, and what we make of an offer."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import DcsdkError, NegotiationError, ParseError, RemoteProtocolError
from dcsdk.sdp.bundle.checking import (
    BundleChange,
    bundle_changes,
    check_answer,
    check_offer,
    choose_layout,
)
from dcsdk.sdp.bundle.layout import (
    BundleLayout,
    NoTransport,
    OwnTransport,
    SharedTransport,
    effective,
    read_layout,
)
from dcsdk.sdp.session import SessionDescription
from tests.sdp.bundle import vectors
from tests.sdp.bundle.vectors import sections
from tests.sdp.vectors import FP_A, FP_B, FP_DCMF, HEAD

NONE, ENDED, LEFT, JOINED = BundleChange


def parse(text: str) -> SessionDescription:
    return SessionDescription.parse(text)


def rtp(groups: str, *lines: str) -> SessionDescription:
    """Make a description of RTP sections in BUNDLE groups; see ``vectors.sections``."""
    return sections("|".join(f"BUNDLE {group}" for group in groups.split("|") if group), *lines)


OFFER = parse(vectors.AUDIO_AND_DATA_OFFER)
ANSWER = parse(vectors.BOTH_TAKEN_ANSWER)
BOTH = BundleLayout(mids=("a", "d"), groups=((0, 1),))


# --- answers -------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 9143 7.4")
def test_an_answer_that_takes_the_group_makes_it() -> None:
    assert check_answer(OFFER, ANSWER) == BOTH
    assert check_answer(OFFER, ANSWER, BOTH) == BOTH


@pytest.mark.clause("RFC 9143 7.3.4", "RFC 9143 7.4.1", "RFC 9143 18.1", "RFC 9143 18.3")
@pytest.mark.parametrize(
    ("offer", "answer", "groups"),
    [
        (vectors.RFC_9143_OFFER, vectors.RFC_9143_ANSWER, ((0, 1),)),
        (vectors.RFC_9143_BUNDLE_ONLY_OFFER, vectors.RFC_9143_ANSWER, ((0, 1),)),
        (vectors.RFC_9143_OFFER, vectors.RFC_8843_ANSWER, ((0, 1),)),
        (vectors.RFC_9143_OFFER, vectors.RFC_9143_ANSWER_WITHOUT_GROUP, ()),
        (vectors.RFC_9143_ADDING_OFFER, vectors.RFC_9143_ADDING_ANSWER, ((2, 0, 1),)),
        (vectors.RFC_9143_LEAVING_OFFER, vectors.RFC_9143_LEAVING_ANSWER, ((0, 1),)),
        (vectors.RFC_9143_DISABLING_OFFER, vectors.RFC_9143_DISABLING_ANSWER, ((0, 1),)),
        (vectors.AIORTC_OFFER, vectors.AIORTC_ANSWER, ((0, 1),)),
    ],
)
def test_the_answers_of_the_standard_and_of_aiortc_are_taken(
    offer: str, answer: str, groups: tuple[tuple[int, ...], ...]
) -> None:
    assert check_answer(parse(offer), parse(answer)).groups == groups


@pytest.mark.clause("RFC 9143 7.3.1", "RFC 9143 7.3.3")
def test_when_the_first_section_is_refused_the_second_is_tagged() -> None:
    layout = check_answer(OFFER, parse(vectors.AUDIO_REFUSED_ANSWER))
    assert layout.placements == (NoTransport(), SharedTransport(group=0, tagged=1))
    ours = effective(OFFER, 1, layout)
    assert ours.port == 40002, "the second section's port and keys in the offer are the group's"
    assert str(ours.fingerprints()[0]) == FP_DCMF


@pytest.mark.clause("RFC 9143 7.3.2")
def test_a_section_may_be_moved_out_by_the_first_answer() -> None:
    answer = rtp("a", "a 1 rtcp-mux", "b 2")
    layout = check_answer(rtp("a b", "a 1 rtcp-mux", "b 2 rtcp-mux"), answer)
    assert layout.placements == (SharedTransport(group=0, tagged=0), OwnTransport())


@pytest.mark.clause("RFC 9143 7.3.2")
def test_a_section_may_not_be_moved_out_of_a_group_in_force_by_an_answer() -> None:
    offer = rtp("a b", "a 1 rtcp-mux", "b 1")
    in_force = read_layout(offer)
    for answer in (rtp("a", "a 1 rtcp-mux", "b 2"), rtp("", "a 1", "b 2")):
        with pytest.raises(RemoteProtocolError) as caught:
            check_answer(offer, answer, in_force)
        assert caught.value.source == "RFC 9143 7.3.2"


@pytest.mark.clause("RFC 9143 7.3.2", "RFC 9143 7.5.1")
def test_a_section_that_joins_a_group_in_force_may_not_be_moved_out_by_the_answer() -> None:
    offer = rtp("a b", "a 1 rtcp-mux", "b 1")
    with pytest.raises(RemoteProtocolError):
        check_answer(offer, rtp("a", "a 1 rtcp-mux", "b 2"), read_layout(rtp("a", "a 1")))


@pytest.mark.clause("RFC 9143 7.3.2")
def test_a_bundle_only_section_may_not_be_moved_out() -> None:
    offer = rtp("a b", "a 1 rtcp-mux", "b 0 bundle-only")
    with pytest.raises(RemoteProtocolError) as caught:
        check_answer(offer, rtp("a", "a 1 rtcp-mux", "b 2"))
    assert caught.value.source == "RFC 9143 7.3.2"
    refused = check_answer(offer, rtp("", "a 1", " 0"))
    assert refused.placements == (OwnTransport(), NoTransport())


@pytest.mark.parametrize(
    ("offer", "answer", "source"),
    [
        # not offered as one group, or not at all
        (rtp("", "a 1", "b 2"), rtp("a b", "a 1 rtcp-mux", "b 1"), "RFC 9143 7.4"),
        (rtp("a", "a 1 rtcp-mux", "b 2"), rtp("a b", "a 1 rtcp-mux", "b 1"), "RFC 9143 7.4"),
        (
            rtp("a|b", "a 1 rtcp-mux", "b 2 rtcp-mux"),
            rtp("a b", "a 1 rtcp-mux", "b 1"),
            "RFC 9143 7.4",
        ),
        (
            rtp("a b", "a 1 rtcp-mux", "b 2 rtcp-mux"),
            rtp("a|b", "a 1 rtcp-mux", "b 2 rtcp-mux"),
            "RFC 9143 7.4",
        ),
        # tags
        (rtp("", "a 1"), rtp("", "b 1"), "RFC 5888 9.1"),
        (rtp("", " 1"), rtp("", "b 1"), "RFC 5888 9.1"),
        (rtp("a b", "a 1", "b 2"), rtp("a x", "a 1", "x 1"), "RFC 5888 9.1"),
        # the tagged section
        (
            rtp("a b", "a 1 rtcp-mux", "b 2 rtcp-mux"),
            rtp("b a", "a 1", "b 1 rtcp-mux"),
            "RFC 9143 7.3.1",
        ),
        (
            rtp("a b", "a 0 bundle-only", "b 2 rtcp-mux"),
            rtp("a b", "a 1 rtcp-mux", "b 1"),
            "RFC 9143 7.3.1",
        ),
        (
            rtp("a b", "a 1 rtcp-mux", "b 2 rtcp-mux"),
            rtp("a b", "a 0 bundle-only", "b 1 rtcp-mux"),
            "RFC 9143 7.3",
        ),
        # RTP and RTCP share the port of a group
        (rtp("a b", "a 1 rtcp-mux", "b 2 rtcp-mux"), rtp("a b", "a 1", "b 1"), "RFC 9143 9.3.1.3"),
        # a section that ended, and the shape of the offer
        (rtp("", "a 1", "b 0"), rtp("", "a 1", "b 2"), "RFC 3264 6"),
        (rtp("", "a 1", "b 2"), rtp("", "a 1"), "RFC 3264 6"),
    ],
)
@pytest.mark.clause("RFC 9143 7.4", "RFC 9143 7.3.1", "RFC 9143 9.3.1.3", "RFC 5888 9.1")
def test_an_answer_that_does_not_fit_is_an_error(
    offer: SessionDescription, answer: SessionDescription, source: str
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        check_answer(offer, answer)
    assert caught.value.source == source


@pytest.mark.clause("RFC 9143 7.3.3", "RFC 9143 7.5")
def test_the_tagged_section_of_a_group_in_force_is_not_refused_alone() -> None:
    offer = rtp("a b", "a 1 rtcp-mux", "b 1")
    with pytest.raises(RemoteProtocolError) as caught:
        check_answer(offer, rtp("b", "a 0", "b 1 rtcp-mux"), read_layout(offer))
    assert caught.value.source == "RFC 9143 7.3.1"
    all_refused = check_answer(offer, rtp("", "a 0", "b 0"), read_layout(offer))
    assert all_refused.groups == ()


@pytest.mark.clause("RFC 3264 6")
def test_a_bundled_section_keeps_its_protocol_even_with_port_zero() -> None:
    answer = parse(vectors.RFC_8843_ANSWER.replace("m=video 0 RTP/AVP", "m=video 0 RTP/SAVP"))
    with pytest.raises(RemoteProtocolError) as caught:
        check_answer(parse(vectors.RFC_9143_OFFER), answer)
    assert caught.value.source == "RFC 3264 6"


@pytest.mark.clause("RFC 9143 7.1.3")
def test_a_repeated_fingerprint_is_taken_and_another_one_is_an_error() -> None:
    for fingerprint, is_taken in ((FP_B, True), (FP_A, False)):
        data = ANSWER.media[1].with_attribute("fingerprint", fingerprint)
        answer = ANSWER.replace_media(1, data)
        if is_taken:
            assert check_answer(OFFER, answer) == BOTH
            continue
        with pytest.raises(RemoteProtocolError) as caught:
            check_answer(OFFER, answer)
        assert caught.value.source == "RFC 9143 7.1.3"


# --- offers --------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 9143 7.5", "RFC 9143 7.1.3")
def test_a_later_offer_has_keys_in_the_tagged_section_only() -> None:
    offer = parse(vectors.LATER_OFFER)
    layout = check_offer(offer, BOTH)
    assert layout == BOTH
    assert [str(entry) for entry in effective(offer, 1, layout).fingerprints()] == [FP_B]


@pytest.mark.clause("RFC 9143 7.3.5")
def test_a_later_offer_in_the_shape_of_rfc_8843_is_bundled() -> None:
    offer = parse(vectors.RFC_9143_BUNDLE_ONLY_OFFER)
    in_force = read_layout(parse(vectors.RFC_9143_OFFER))
    layout = check_offer(offer, in_force)
    assert bundle_changes(in_force, layout) == (NONE, NONE)
    chosen = choose_layout(offer, in_force, accepted=(0, 1))
    assert chosen == in_force
    assert effective(offer, 1, chosen).port == 10000


@pytest.mark.clause("RFC 9143 7.5.3", "RFC 9143 18.5")
def test_a_section_ended_by_a_later_offer_leaves_the_group_alive() -> None:
    offer = parse(vectors.RFC_9143_DISABLING_OFFER)
    in_force = read_layout(parse(vectors.RFC_9143_ADDING_OFFER))
    assert bundle_changes(in_force, check_offer(offer, in_force)) == (NONE, NONE, ENDED)
    chosen = choose_layout(offer, in_force, accepted=(0, 1, 2))
    assert chosen.placements[2] == NoTransport()
    assert chosen.groups == ((0, 1),)


@pytest.mark.clause("RFC 9143 7.5.1", "RFC 9143 7.5.2", "RFC 9143 18.3", "RFC 9143 18.4")
def test_sections_join_and_leave_by_a_later_offer() -> None:
    two = read_layout(parse(vectors.RFC_9143_OFFER))
    joining = check_offer(parse(vectors.RFC_9143_ADDING_OFFER), two)
    assert bundle_changes(two, joining) == (NONE, NONE, JOINED)
    leaving = parse(vectors.RFC_9143_LEAVING_OFFER)
    assert bundle_changes(joining, check_offer(leaving, joining)) == (NONE, NONE, LEFT)
    chosen = choose_layout(leaving, joining, accepted=(0, 1, 2))
    assert chosen.placements[2] == OwnTransport()


def test_a_new_section_alone_or_never_used_is_no_change() -> None:
    before = BundleLayout(mids=("a", None), ended=frozenset({1}))
    after = BundleLayout(mids=("a", None, "c", None), ended=frozenset({1, 3}))
    assert bundle_changes(before, after) == (NONE, NONE, NONE, NONE)


@pytest.mark.clause("RFC 9143 7.2")
def test_sections_of_a_new_group_may_have_fingerprints_of_their_own() -> None:
    assert check_offer(OFFER) == BOTH
    with pytest.raises(RemoteProtocolError) as caught:
        check_offer(OFFER, BOTH)
    assert caught.value.source == "RFC 9143 7.1.3"


@pytest.mark.parametrize(
    ("in_force", "offer", "source"),
    [
        (rtp("a|b", "a 1", "b 2"), rtp("a b", "a 1", "b 1"), "RFC 9143 7.5.2"),
        (rtp("a b", "a 1", "b 2"), rtp("a|b", "a 1", "b 2"), "RFC 9143 7.5.2"),
        (
            rtp("a b|c", "a 1", "b 2", "c 3"),
            rtp("a|b c", "a 1", "b 2", "c 2"),
            "RFC 9143 7.5.2",
        ),
        (rtp("a b", "a 1", "b 2"), rtp("a x", "a 1", "x 1"), "RFC 9143 7.5"),
        (rtp("a b", "a 1", "b 2"), rtp("b a", "a 1", "b 0 bundle-only"), "RFC 9143 7.5"),
    ],
)
@pytest.mark.clause("RFC 9143 7.5", "RFC 9143 7.5.2")
def test_a_later_offer_that_does_not_fit_is_refused(
    in_force: SessionDescription, offer: SessionDescription, source: str
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        check_offer(offer, read_layout(in_force))
    assert caught.value.source == source
    assert caught.value.sip_status_hint == 488


def test_a_slot_that_is_used_again_has_a_tag_of_its_own() -> None:
    in_force = read_layout(rtp("a", "a 1", "b 0"))
    offer = rtp("a c", "a 1", "c 1")
    assert bundle_changes(in_force, check_offer(offer, in_force)) == (NONE, JOINED)


# --- our choice ----------------------------------------------------------------------------------
@pytest.mark.clause("RFC 9143 7.3")
def test_we_keep_all_members_that_we_accept() -> None:
    assert choose_layout(OFFER, accepted=(0, 1)) == BOTH
    assert choose_layout(OFFER, accepted=(1,)) == BundleLayout(
        mids=("a", "d"), groups=((1,),), ended=frozenset({0})
    )
    assert choose_layout(OFFER, accepted=()).placements == (NoTransport(), NoTransport())


@pytest.mark.clause("RFC 9143 7.3.1")
def test_a_bundle_only_section_is_not_tagged_though_it_comes_first() -> None:
    offer = rtp("b a c", "a 1 rtcp-mux", "b 0 bundle-only", "c 3 rtcp-mux")
    assert choose_layout(offer, accepted=(0, 1, 2)).groups == ((0, 1, 2),)


@pytest.mark.clause("RFC 9143 7.3.1", "RFC 9143 7.3.2")
def test_without_a_section_to_tag_there_is_no_group() -> None:
    offer = rtp("a b", "a 1 rtcp-mux", "b 0 bundle-only")
    chosen = choose_layout(offer, accepted=(0, 1), apart=(0,))
    assert chosen.placements == (OwnTransport(), NoTransport())


@pytest.mark.clause("RFC 9143 7.3.2")
def test_what_cannot_be_shared_is_moved_out_or_refused() -> None:
    offer = rtp("a b c", "a 1 rtcp-mux", "b 2 rtcp-mux", "c 0 bundle-only")
    chosen = choose_layout(offer, accepted=(0, 1, 2), apart=(1, 2))
    assert chosen.placements == (
        SharedTransport(group=0, tagged=0),
        OwnTransport(),
        NoTransport(),
    )
    offer = rtp("a b", "a 1 rtcp-mux", "b 1")
    chosen = choose_layout(offer, read_layout(offer), accepted=(0, 1), apart=(1,))
    assert chosen.placements == (SharedTransport(group=0, tagged=0), NoTransport())


@pytest.mark.clause("RFC 9143 7.3.3")
def test_the_tagged_section_of_a_group_in_force_is_kept_or_the_offer_refused() -> None:
    offer = rtp("a b", "a 1 rtcp-mux", "b 1")
    for accepted, apart in (((1,), ()), ((0, 1), (0,))):
        with pytest.raises(NegotiationError) as caught:
            choose_layout(offer, read_layout(offer), accepted=accepted, apart=apart)
        assert caught.value.source == "RFC 9143 7.3.3"
    assert choose_layout(offer, read_layout(offer), accepted=()).groups == ()


@pytest.mark.clause("RFC 9143 9.3", "RFC 9143 9.3.1.2")
def test_rtp_without_mux_is_not_shared() -> None:
    offer = rtp("a b", "a 1", "b 2 rtcp-mux")
    assert choose_layout(offer, accepted=(0, 1)).placements == (
        OwnTransport(),
        SharedTransport(group=0, tagged=1),
    )
    assert choose_layout(rtp("a b", "a 1", "b 2"), accepted=(0, 1)).groups == ()


@pytest.mark.clause("RFC 9143 9.1")
def test_rtp_of_another_profile_is_not_shared() -> None:
    offer = rtp("a b", "a 1 rtcp-mux", "b 2 rtcp-mux")
    offer = offer.replace_media(1, replace(offer.media[1], proto="RTP/SAVP"))
    assert choose_layout(offer, accepted=(0, 1)).groups == ((0,),)
    assert choose_layout(offer, accepted=(1,)).groups == ((1,),)


@pytest.mark.clause("RFC 8841 7")
def test_a_second_data_channel_section_is_not_shared_and_an_old_one_stays() -> None:
    lines = "".join(
        f"m=application {port} UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:{mid}\r\n"
        for mid, port in (("a", 1), ("b", 2))
    )
    offer = parse(f"{HEAD}a=group:BUNDLE b a\r\n{lines}")
    assert choose_layout(offer, accepted=(0, 1)).groups == ((1,),)
    in_force = BundleLayout(mids=("a", None), groups=((0,),), ended=frozenset({1}))
    offer = parse(f"{HEAD}a=group:BUNDLE a b\r\n{lines}")
    chosen = choose_layout(offer, in_force, accepted=(0, 1))
    assert chosen.placements == (SharedTransport(group=0, tagged=0), NoTransport())


@pytest.mark.clause("RFC 8859 5")
def test_msrp_and_bfcp_are_never_shared() -> None:
    offer = parse(
        f"{HEAD}a=group:BUNDLE a m b\r\nm=audio 1 RTP/AVP 0\r\na=mid:a\r\na=rtcp-mux\r\n"
        "m=message 2 TCP/TLS/MSRP *\r\na=mid:m\r\na=path:msrps://h:2/s;tcp\r\n"
        "m=application 3 UDP/TLS/BFCP *\r\na=mid:b\r\na=floorctrl:c-s\r\n"
    )
    assert choose_layout(offer, accepted=(0, 1, 2)).groups == ((0,),)


def test_browsers_and_aiortc_get_one_transport() -> None:
    for text in (vectors.CHROMIUM_OFFER, vectors.FIREFOX_OFFER, vectors.AIORTC_OFFER):
        offer = parse(text)
        everything = range(len(offer.media))
        assert choose_layout(offer, accepted=everything).groups == (tuple(everything),)


@pytest.mark.clause("RFC 9143 7.3.1")
def test_a_browser_whose_tagged_section_is_refused_loses_what_is_bundle_only() -> None:
    chosen = choose_layout(parse(vectors.FIREFOX_OFFER), accepted=(1, 2))
    assert chosen.placements == (NoTransport(),) * 3


# --- any two descriptions ------------------------------------------------------------------------
LINES = st.tuples(
    st.sampled_from(("a", "b", "c", "")),
    st.sampled_from(("0", "1", "2", "9")),
    st.sampled_from(("x", "bundle-only", "rtcp-mux", "rtcp-mux bundle-only")),
).map(" ".join)
GROUPS = st.sampled_from(("", "a b", "b a", "a b c", "a|b c", "a|b", "c"))
DESCRIPTIONS = st.tuples(GROUPS, st.lists(LINES, min_size=1, max_size=3)).map(
    lambda parts: rtp(parts[0], *parts[1])
)


@given(
    offer=DESCRIPTIONS,
    answer=DESCRIPTIONS,
    before=DESCRIPTIONS,
    accepted=st.frozensets(st.integers(min_value=0, max_value=4)),
)
def test_any_exchange_gives_a_sound_layout_or_an_error_of_ours(
    offer: SessionDescription,
    answer: SessionDescription,
    before: SessionDescription,
    accepted: frozenset[int],
) -> None:
    in_force = BundleLayout()
    with contextlib.suppress(DcsdkError):
        in_force = read_layout(before)
    results = []
    with contextlib.suppress(ParseError, RemoteProtocolError):
        results.append(check_answer(offer, answer, in_force))
    with contextlib.suppress(ParseError, RemoteProtocolError, NegotiationError):
        results.append(choose_layout(offer, in_force, accepted=accepted))
    for layout in results:
        members = [index for group in layout.groups for index in group]
        assert len(members) == len(set(members))
        assert not layout.ended & set(members)
        assert not layout.bundle_only
        assert not in_force.has_moved(layout.groups)
        for index in members:
            assert not effective(offer, index, layout).is_rejected
