"""A peer's offers and answers with BUNDLE groups, and what we make of an offer as answerer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from enum import Enum

from dcsdk.errors import NegotiationError, RemoteProtocolError
from dcsdk.sdp.bundle.layout import (
    NOTHING_BUNDLED,
    BundleLayout,
    effective_from,
    effective_session,
    is_sctp,
    is_shareable,
    not_acceptable,
    read_layout,
    tagged,
)
from dcsdk.sdp.offer_answer import check_answer_shape
from dcsdk.sdp.rtcp import RTCP_MUX, is_rtp
from dcsdk.sdp.session import SessionDescription


class BundleChange(Enum):
    """What an offer makes of one section, as far as bundling goes."""

    NONE = "none"
    """As before; a new section on a transport of its own as well."""
    ENDED = "ended"
    """It was in use and has port 0 now (RFC 9143 7.5.3)."""
    LEFT = "left"
    """It was bundled and has a transport of its own now (RFC 9143 7.5.2)."""
    JOINED = "joined"
    """It is a member of a group now and was none before (RFC 9143 7.5.1)."""


def bundle_changes(before: BundleLayout, after: BundleLayout) -> tuple[BundleChange, ...]:
    """Say what changes with each section of ``after``, the layout of a later offer or answer."""
    changes: list[BundleChange] = []
    for index in range(len(after.mids)):
        is_live = index < len(before.mids) and index not in before.ended
        is_member = after.group_of(index) is not None
        was_member = before.group_of(index) is not None
        if index in after.ended:
            changes.append(BundleChange.ENDED if is_live else BundleChange.NONE)
        elif is_member == was_member:
            changes.append(BundleChange.NONE)
        else:
            changes.append(BundleChange.JOINED if is_member else BundleChange.LEFT)
    return tuple(changes)


def check_offer(
    offer: SessionDescription, in_force: BundleLayout = NOTHING_BUNDLED
) -> BundleLayout:
    """Check a peer's offer against what is in force, and say what it asks for.

    Args:
        offer: the peer's.
        in_force: before this offer.

    Raises:
        ParseError: see ``read_layout``.
        RemoteProtocolError: see ``read_layout``; or the offer moves a section between groups,
            changes the tag of a bundled section, tags a section without a port in a group in
            force, or gives a member of such a group a fingerprint other than the tagged one's.

    Source: RFC 9143 7.5, 7.1.3.
    """
    offered = read_layout(offer)
    if in_force.has_moved(offered.groups):
        raise not_acceptable("a section moves from one BUNDLE group into another", "RFC 9143 7.5.2")
    for group in offered.groups:
        number = in_force.continued_by(group)
        if number is None:
            continue
        for index in group:
            is_old = index in in_force.groups[number]
            if is_old and offered.mids[index] != in_force.mids[index]:
                raise not_acceptable(
                    "the offer changes the mid of a bundled section", "RFC 9143 7.5"
                )
        if offer.media[group[0]].is_rejected:
            raise not_acceptable("the tagged section has no port", "RFC 9143 7.5")
        _check_fingerprints(offer, group)
    return offered


def _check_fingerprints(session: SessionDescription, group: Sequence[int]) -> None:
    shared = frozenset(session.media[group[0]].fingerprints(session))
    for index in group[1:]:
        media = session.media[index]
        if media.has("fingerprint") and frozenset(media.fingerprints()) != shared:
            raise not_acceptable(
                "a bundled section has another fingerprint than the tagged one", "RFC 9143 7.1.3"
            )


def choose_layout(
    offer: SessionDescription,
    in_force: BundleLayout = NOTHING_BUNDLED,
    *,
    accepted: Collection[int],
    apart: Collection[int] = (),
) -> BundleLayout:
    """Choose, as answerer, who shares a transport: all members we accept and can share.

    A member that cannot be shared gets a transport of its own in the answer where that is allowed;
    it is refused where it is bundle-only or its group is in force (RFC 9143 7.3.2). Besides those
    of ``apart``, these are: sections that are not ``is_shareable``, data channel sections but one
    (RFC 8841 7), RTP sections of another proto than the first (RFC 9143 9.1), and RTP sections
    that would be without ``a=rtcp-mux`` (RFC 9143 9.3).

    Args:
        offer: the peer's.
        in_force: before this offer.
        accepted: indices of the sections we take; all others are refused.
        apart: of these, the ones that must not share a transport.

    Returns:
        The layout of the answer, and of the exchange once the answer is sent. Sections that were
        accepted and have to be refused are in its ``ended``.

    Raises:
        ParseError, RemoteProtocolError: see ``check_offer``.
        NegotiationError: the tagged section of a group in force would be refused but another
            member kept: refuse the whole offer (RFC 9143 7.3.3).

    Source: RFC 9143 7.3.
    """
    offered = check_offer(offer, in_force)
    taken = frozenset(accepted) - offered.ended
    ended = frozenset(range(len(offered.mids))) - taken
    groups: list[tuple[int, ...]] = []
    for group in offered.groups:
        wanted = [index for index in group if index in taken]
        is_known = in_force.continued_by(group) is not None
        kept = _sharing(offer, in_force, [index for index in wanted if index not in apart])
        if is_known and wanted and group[0] not in kept:
            raise NegotiationError(
                "the tagged section of a BUNDLE group cannot be refused alone",
                source="RFC 9143 7.3.3",
            )
        if kept:
            groups.append(kept)
        ended |= {
            index
            for index in wanted
            if index not in kept and (is_known or index in offered.bundle_only)
        }
    return BundleLayout(mids=offered.mids, groups=tuple(groups), ended=ended)


def _sharing(
    offer: SessionDescription, in_force: BundleLayout, candidates: Iterable[int]
) -> tuple[int, ...]:
    """Return those that can share a transport, the tagged one first; none without a tagged one."""
    staying = [index for index in candidates if is_shareable(offer.media[index])]
    # Those already in the group come first, then the order of the tags.
    by_age = sorted(staying, key=lambda index: in_force.group_of(index) is None)
    sctp = [index for index in by_age if is_sctp(offer.media[index])]
    protos = [offer.media[index].proto.upper() for index in by_age if is_rtp(offer.media[index])]
    staying = [
        index
        for index in staying
        if index in sctp[:1] or offer.media[index].proto.upper() in protos[:1]
    ]
    while (first := tagged(offer, staying)) is not None:
        without_mux = [index for index in staying if not _has_rtcp_mux(offer, index, first)]
        if not without_mux:
            return (first, *(index for index in staying if index != first))
        # What the tagged section says counts for all: without it another one may say more.
        leaving = [first] if first in without_mux else without_mux
        staying = [index for index in staying if index not in leaving]
    return ()


def _has_rtcp_mux(session: SessionDescription, index: int, source: int) -> bool:
    """Tell whether a member says what RTP in a group needs (RFC 9143 9.3)."""
    return not is_rtp(session.media[index]) or effective_from(session, index, source).has(RTCP_MUX)


def check_answer(
    offer: SessionDescription,
    answer: SessionDescription,
    in_force: BundleLayout = NOTHING_BUNDLED,
) -> BundleLayout:
    """Check a peer's answer to our offer, and say what results.

    Args:
        offer: ours, as it was sent.
        answer: the peer's.
        in_force: before the offer.

    Returns:
        The layout of the exchange: what each section runs on, and the tagged sections.

    Raises:
        ParseError: see ``read_layout``.
        RemoteProtocolError: the answer does not have the shape of the offer; changes a mid; uses
            a section that the offer ended; has a group that was not offered so; moves a section
            out that is bundle-only or whose group is in force; tags another section than RFC 9143
            7.3.1 says; gives a member another fingerprint than the tagged one has; or bundles RTP
            without ``a=rtcp-mux``.

    Source: RFC 9143 7.4, 7.3, 9.3.1.3; RFC 5888 9.1.
    """
    offered, answered = read_layout(offer), read_layout(answer)
    check_answer_shape(offer, effective_session(answer, answered))
    for ours, theirs in zip(offered.mids, answered.mids, strict=True):
        if theirs is not None and theirs != ours:
            raise RemoteProtocolError("the answer changes a mid", source="RFC 5888 9.1")
    if offered.ended - answered.ended:
        raise RemoteProtocolError("the answer uses a section that has ended", source="RFC 3264 6")
    used: set[int] = set()
    for group in answered.groups:
        numbers = {offered.group_of(index) for index in group}
        number = numbers.pop()
        if number is None or numbers or number in used:
            raise RemoteProtocolError(
                "the answer has a BUNDLE group that was not offered", source="RFC 9143 7.4"
            )
        used.add(number)
        asked = offered.groups[number]
        is_known = in_force.continued_by(asked) is not None
        _check_answered_group(offer, answer, asked, group, is_known=is_known)
    for group in offered.groups:
        is_known = in_force.continued_by(group) is not None
        for index in group:
            is_alone = index not in answered.ended and answered.group_of(index) is None
            if is_alone and (is_known or index in offered.bundle_only):
                raise RemoteProtocolError(
                    "the answer moves a section out of its BUNDLE group", source="RFC 9143 7.3.2"
                )
    return BundleLayout(mids=offered.mids, groups=answered.groups, ended=answered.ended)


def _check_answered_group(
    offer: SessionDescription,
    answer: SessionDescription,
    offered: Sequence[int],
    answered: Sequence[int],
    *,
    is_known: bool,
) -> None:
    first = answered[0]
    expected = offered[0] if is_known else tagged(offer, offered, answered)
    if first != expected:
        raise RemoteProtocolError(
            "the answer tags another section than the first of the offer that stays",
            source="RFC 9143 7.3.1",
        )
    if answer.media[first].is_rejected:
        raise RemoteProtocolError("the tagged section has no port", source="RFC 9143 7.3")
    _check_fingerprints(answer, answered)
    if not all(_has_rtcp_mux(answer, index, first) for index in answered):
        raise RemoteProtocolError(
            "the answer bundles RTP without a=rtcp-mux", source="RFC 9143 9.3.1.3"
        )
