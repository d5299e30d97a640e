"""Offers and answers with BUNDLE groups, written from complete media descriptions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from dcsdk.errors import LocalProtocolError
from dcsdk.sdp.attributes import Attribute
from dcsdk.sdp.bundle.layout import (
    BUNDLE_ONLY,
    BUNDLE_SEMANTICS,
    NOTHING_BUNDLED,
    TAGGED_ATTRIBUTES,
    BundleLayout,
    at_address_of,
    is_sctp,
    is_shareable,
)
from dcsdk.sdp.bundle.mids import is_mid
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.rewrite import rewrite_session
from dcsdk.sdp.rtcp import RTCP, RTCP_MUX, RTCP_MUX_ONLY, is_rtp
from dcsdk.sdp.session import SessionDescription

_DISCARD_PORT = 9


def write_offer(
    session: SessionDescription, layout: BundleLayout, in_force: BundleLayout = NOTHING_BUNDLED
) -> SessionDescription:
    """Write an offer: tags and groups, and of each section what has to stand there.

    In a new group every section keeps its own address and attributes, but those of
    ``layout.bundle_only`` get port 0, ``a=bundle-only`` and no attributes of the tagged kind. In a
    group in force all sections get the address of the tagged one, which alone keeps those
    attributes. ``a=rtcp-mux`` is written wherever they stand (RFC 9143 9.3.1.1, 9.3.1.4).

    Args:
        session: the offer as if nothing were bundled, each section complete.
        layout: what is wanted. Sections with port 0 that are not in ``layout.bundle_only`` leave
            their group (RFC 9143 7.5.3).
        in_force: before this offer.

    Raises:
        LocalProtocolError: no layout that can be offered: a member without a tag, one that is not
            shareable, a second data channel section, RTP sections of several protos; in a new
            group an address twice or of another family, or a bundle-only section as the tagged
            one; a tagged section without a port; or a section moved between groups.

    Source: RFC 9143 7.2, 7.5.
    """
    layout = _without_ended(session, layout)
    if in_force.has_moved(layout.groups):
        raise LocalProtocolError(
            "a section moves from one BUNDLE group into another", source="RFC 9143 7.5.2"
        )
    media = list(_with_mids(session, layout))
    for group in layout.groups:
        _check_members(media, group)
        if in_force.continued_by(group) is None:
            _write_new_group(session, media, group, layout.bundle_only)
        else:
            _write_shared(media, group)
            media[group[0]] = _ensure(media[group[0]].without(RTCP), RTCP_MUX)
    return _with_groups(session, media, layout)


def write_answer(
    session: SessionDescription, layout: BundleLayout, offer: SessionDescription
) -> SessionDescription:
    """Write an answer: tags and groups, one address in all sections of a group, and the attributes
    of the tagged kind in the tagged section only.

    Args:
        session: the answer as if nothing were bundled, each section complete.
        layout: what ``choose_layout`` made of the offer. A section with port 0 leaves its group,
            but the tagged one cannot: the layout has to be chosen again.
        offer: what is answered; decides on ``a=rtcp-mux`` and ``a=rtcp-mux-only``.

    Raises:
        LocalProtocolError: no layout that can be answered; see ``write_offer``.

    Source: RFC 9143 7.3, 9.3.1.2.
    """
    chosen = layout
    layout = _without_ended(session, chosen)
    if {group[0] for group in layout.groups} - {group[0] for group in chosen.groups}:
        raise LocalProtocolError(
            "the tagged section of a BUNDLE group is refused", source="RFC 9143 7.3.1"
        )
    media = list(_with_mids(session, layout))
    for group in layout.groups:
        _check_members(media, group)
        _write_shared(media, group)
        first = media[group[0]].without(RTCP, RTCP_MUX_ONLY)
        if any(offer.media[index].has(RTCP_MUX) for index in group):
            first = _ensure(first, RTCP_MUX)
        else:
            first = first.without(RTCP_MUX)
        if offer.media[group[0]].has(RTCP_MUX_ONLY):
            first = first.with_attribute(RTCP_MUX_ONLY)
        media[group[0]] = first
    return _with_groups(session, media, layout)


def _without_ended(session: SessionDescription, layout: BundleLayout) -> BundleLayout:
    if len(session.media) != len(layout.mids):
        raise LocalProtocolError(
            f"{len(session.media)} m= sections, but a layout of {len(layout.mids)}",
            source="RFC 3264 6",
        )
    return layout.without(
        {
            index
            for index, media in enumerate(session.media)
            if media.is_rejected and index not in layout.bundle_only
        }
    )


def _with_mids(session: SessionDescription, layout: BundleLayout) -> Iterable[MediaDescription]:
    given = [mid for mid in layout.mids if mid is not None]
    if len(given) != len(set(given)) or not all(map(is_mid, given)):
        raise LocalProtocolError("a mid comes twice, or is no token", source="RFC 5888 4")
    if any(layout.mids[index] is None for group in layout.groups for index in group):
        raise LocalProtocolError("a bundled section has no mid", source="RFC 9143 5")
    for media, mid in zip(session.media, layout.mids, strict=True):
        plain = media.without(BUNDLE_ONLY)
        yield plain.without("mid") if mid is None else plain.replacing("mid", mid)


def _check_members(media: Sequence[MediaDescription], group: Sequence[int]) -> None:
    if not all(is_shareable(media[index]) for index in group):
        raise LocalProtocolError("a section that cannot be bundled", source="RFC 8859 5")
    if sum(is_sctp(media[index]) for index in group) > 1:
        raise LocalProtocolError(
            "two data channel sections in a group: one DTLS association carries one of SCTP",
            source="RFC 8841 7",
        )
    if len({media[index].proto.upper() for index in group if is_rtp(media[index])}) > 1:
        raise LocalProtocolError(
            "the RTP sections of a group differ in their proto", source="RFC 9143 9.1"
        )


def _write_new_group(
    session: SessionDescription,
    media: list[MediaDescription],
    group: Sequence[int],
    bundle_only: Collection[int],
) -> None:
    if group[0] in bundle_only:
        raise LocalProtocolError("a bundle-only section cannot be tagged", source="RFC 9143 7.2.1")
    addresses: set[tuple[str, int]] = set()
    families: set[str] = set()
    for index in group:
        if index in bundle_only:
            plain = media[index].without(*TAGGED_ATTRIBUTES).with_attribute(BUNDLE_ONLY)
            media[index] = replace(plain, port=0, port_count=None)
            continue
        media[index] = _ensure(media[index], RTCP_MUX)
        connection = media[index].connection or session.connection
        if connection is None:
            raise LocalProtocolError("a bundled section has no address", source="RFC 9143 7.1.1")
        families.add(connection.address_type)
        address = connection.address, media[index].port
        # With trickle ICE several sections may say 0.0.0.0:9 (RFC 9143 10).
        if address in addresses and address[1] != _DISCARD_PORT:
            raise LocalProtocolError("two sections have one address", source="RFC 9143 7.2")
        addresses.add(address)
    if len(families) > 1:
        raise LocalProtocolError("a group has two address families", source="RFC 9143 7.1.1")


def _write_shared(media: list[MediaDescription], group: Sequence[int]) -> None:
    if media[group[0]].is_rejected:
        raise LocalProtocolError("the tagged section has no port", source="RFC 9143 7.5")
    for index in group[1:]:
        plain = media[index].without(*TAGGED_ATTRIBUTES)
        media[index] = at_address_of(plain, media[group[0]])


def _ensure(media: MediaDescription, name: str) -> MediaDescription:
    return media if media.has(name) else media.with_attribute(name)


def _with_groups(
    session: SessionDescription, media: Iterable[MediaDescription], layout: BundleLayout
) -> SessionDescription:
    kept = [
        entry
        for entry in session.attributes
        if entry.name == "group" and (entry.value or "").split()[:1] != [BUNDLE_SEMANTICS]
    ]
    groups = [
        Attribute(
            "group", " ".join((BUNDLE_SEMANTICS, *(layout.mids[index] or "" for index in group)))
        )
        for group in layout.groups
    ]
    written = rewrite_session(session, remove=("group",), add=(*kept, *groups))
    return replace(written, media=tuple(media))
