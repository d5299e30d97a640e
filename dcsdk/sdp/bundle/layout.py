"""Who shares a transport with whom, and what that means for each ``m=`` section."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

from dcsdk.errors import ParseError, RemoteProtocolError
from dcsdk.sdp.bundle.mids import read_mid
from dcsdk.sdp.media import DATA_CHANNEL_PROTOS, MediaDescription
from dcsdk.sdp.rewrite import with_session_defaults
from dcsdk.sdp.rtcp import RTCP_MUX, RTCP_MUX_ONLY, RTCP_RSIZE, is_rtp
from dcsdk.sdp.session import SessionDescription

BUNDLE_ONLY = "bundle-only"
BUNDLE_SEMANTICS = "BUNDLE"


class MuxCategory(Enum):
    """How an attribute behaves in a group (RFC 8859 4). Those not listed here are each section's
    own: NORMAL, IDENTICAL-PER-PT, SUM, SPECIAL and CAUTION."""

    IDENTICAL = "IDENTICAL"
    """Equal in all sections, and written in the tagged one only."""
    TRANSPORT = "TRANSPORT"
    """The tagged section's value counts for all."""
    TBD = "TBD"
    """Nobody defined what it means in a group: a section with it stays outside."""


def _table() -> Mapping[str, MuxCategory]:
    names = {
        # RFC 8859 5; rtcp-mux-only RFC 8858, tls-id RFC 8842, end-of-candidates RFC 8838.
        MuxCategory.IDENTICAL: (
            "rtcp-mux rtcp-mux-only rtcp-rsize key-mgmt source-filter tls-id end-of-candidates"
        ),
        # RFC 8859 5. ice-mismatch and ice-pacing are NORMAL there, but follow the tagged section
        # as all media-level attributes of ICE do (RFC 9143 10).
        MuxCategory.TRANSPORT: (
            "setup connection fingerprint crypto rtcp zrtp-hash ice-ufrag ice-pwd candidate "
            "remote-candidates ice-mismatch ice-pacing"
        ),
        # RFC 8859 5: MSRP and file transfer, BFCP, T.38.
        MuxCategory.TBD: (
            "path accept-types accept-wrapped-types max-size msrp-cema file-selector "
            "file-transfer-id file-disposition file-date file-icon file-range floorctrl "
            "T38FaxVersion T38MaxBitRate T38FaxFillBitRemoval T38FaxTranscodingMMR "
            "T38FaxTranscodingJBIG T38FaxRateManagement T38FaxMaxBuffer T38FaxMaxDatagram "
            "T38FaxMaxIFP T38FaxUdpEC T38FaxUdpECDepth T38FaxUdpFECMaxSpan T38VendorInfo "
            "T38ModemType"
        ),
    }
    return MappingProxyType(
        {name: category for category, text in names.items() for name in text.split()}
    )


MUX_CATEGORIES = _table()
"""Attribute name to category. Source: RFC 8859 5, and RFC 9143 10 for ICE."""

TAGGED_ATTRIBUTES = frozenset(
    name for name, category in MUX_CATEGORIES.items() if category is not MuxCategory.TBD
)
"""What only the tagged section has, once a group is agreed (RFC 9143 7.1.3)."""


@dataclass(frozen=True, slots=True)
class NoTransport:
    """The section is refused, has ended or was never used: port 0, and not to be bundled."""


@dataclass(frozen=True, slots=True)
class OwnTransport:
    """The section has an address and attributes of its own."""


@dataclass(frozen=True, slots=True)
class SharedTransport:
    """The section is a member of a group.

    Attributes:
        group: number of the group in ``BundleLayout.groups``.
        tagged: index of the section whose address and attributes count, maybe this one.
    """

    group: int
    tagged: int


Placement = NoTransport | OwnTransport | SharedTransport


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleLayout:
    """Who shares a transport with whom. Sections are named by their index among the ``m=`` lines.

    Attributes:
        mids: the tag of every section, ``None`` where it has none.
        groups: the members of every group, each at least one and in one group only. The first one
            is tagged; in an offer that first asks for the group, it is proposed as such.
        ended: sections with port 0 that are not in ``bundle_only``: refused, or no longer used.
        bundle_only: members with port 0 and ``a=bundle-only``: in an offer that first asks for
            the group, wanted only inside it. Empty in the layout of a completed exchange.
    """

    mids: tuple[str | None, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()
    ended: frozenset[int] = frozenset()
    bundle_only: frozenset[int] = frozenset()

    def group_of(self, index: int) -> int | None:
        """Return the number of the group a section is in, ``None`` when it is in none."""
        return next((number for number, group in enumerate(self.groups) if index in group), None)

    def placement(self, index: int) -> Placement:
        """Say what a section runs on."""
        if index in self.ended:
            return NoTransport()
        number = self.group_of(index)
        if number is None:
            return OwnTransport()
        return SharedTransport(group=number, tagged=self.groups[number][0])

    @property
    def placements(self) -> tuple[Placement, ...]:
        """What every section runs on."""
        return tuple(self.placement(index) for index in range(len(self.mids)))

    def continued_by(self, group: Iterable[int]) -> int | None:
        """Say which group of this layout, in force, a group of another description is.

        Args:
            group: its members, in that description.

        Returns:
            The number of the group here; ``None`` when that one is new.
        """
        numbers = (self.group_of(index) for index in group)
        return next((number for number in numbers if number is not None), None)

    def has_moved(self, groups: Iterable[Iterable[int]]) -> bool:
        """Tell whether a section of this layout, in force, moves from one group into another.

        One offer cannot do that (RFC 9143 7.5.2).

        Args:
            groups: of the offer.
        """
        pairs = {
            (number, self.group_of(index))
            for number, group in enumerate(groups)
            for index in group
            if self.group_of(index) is not None
        }
        # Every group of the offer continues at most one in force, and none is continued twice.
        continuing = {new for new, _ in pairs}
        continued = {old for _, old in pairs}
        return not len(continuing) == len(continued) == len(pairs)

    def without(self, indices: Collection[int]) -> BundleLayout:
        """Return a copy in which these sections are ended; they leave their groups."""
        left = (tuple(i for i in group if i not in indices) for group in self.groups)
        return replace(
            self,
            groups=tuple(group for group in left if group),
            ended=self.ended.union(indices),
            bundle_only=self.bundle_only.difference(indices),
        )


NOTHING_BUNDLED = BundleLayout()
"""In force before the first offer."""


def not_acceptable(message: str, source: str) -> RemoteProtocolError:
    """Make the error for an offer that breaks a rule: 488 answers it."""
    return RemoteProtocolError(message, source=source, sip_status_hint=488)


def read_layout(session: SessionDescription) -> BundleLayout:
    """Read what a description says about bundling. Groups that are not BUNDLE are ignored.

    ``a=bundle-only`` outside a group, or with a port, is ignored (RFC 9143 6). A tag of a section
    with port 0 and no ``a=bundle-only`` is taken as removed (RFC 9143 7.2).

    Raises:
        ParseError: a malformed ``a=mid`` or ``a=group``.
        RemoteProtocolError: a tag twice in the description or in its groups, or a group with a
            tag that no section has.

    Source: RFC 5888 4 and 5, RFC 9143 5.
    """
    mids = tuple(read_mid(media) for media in session.media)
    places: dict[str, int] = {}
    for index, mid in enumerate(mids):
        if mid in places:
            raise not_acceptable("two m= sections have the same a=mid", "RFC 5888 4")
        if mid is not None:
            places[mid] = index
    listed: list[list[int]] = []
    grouped: set[int] = set()
    for tags in _read_groups(session):
        members: list[int] = []
        for tag in tags:
            if tag not in places:
                raise not_acceptable("a BUNDLE group names a mid of no m= section", "RFC 5888 5")
            if places[tag] in grouped:
                raise not_acceptable("a mid comes twice in BUNDLE groups", "RFC 9143 5")
            grouped.add(places[tag])
            members.append(places[tag])
        listed.append(members)
    closed = frozenset(index for index, media in enumerate(session.media) if media.is_rejected)
    bundle_only = frozenset(
        index for index in closed & grouped if session.media[index].has(BUNDLE_ONLY)
    )
    ended = closed - bundle_only
    live = (tuple(index for index in members if index not in ended) for members in listed)
    return BundleLayout(
        mids=mids, groups=tuple(filter(None, live)), ended=ended, bundle_only=bundle_only
    )


def _read_groups(session: SessionDescription) -> Iterable[list[str]]:
    for entry in session.attributes:
        if entry.name == "group":
            semantics, *tags = (entry.value or "").split() or [""]
            if not semantics:
                raise ParseError("a=group names no semantics", source="RFC 5888 5")
            if semantics == BUNDLE_SEMANTICS:
                yield tags


def tagged(
    session: SessionDescription, group: Iterable[int], staying: Collection[int] | None = None
) -> int | None:
    """Return the tagged section of a group: the first that stays in it and has a port.

    Args:
        session: the description: for the choice of an answerer, the offer.
        group: its members in the order of their tags.
        staying: those neither refused nor moved out; ``None`` for all.

    Returns:
        Its index; ``None`` when there is none, and then the group is not made.

    Source: RFC 9143 7.3.1.
    """
    return next(
        (
            index
            for index in group
            if (staying is None or index in staying) and not session.media[index].is_rejected
        ),
        None,
    )


def effective(
    session: SessionDescription, index: int, layout: BundleLayout | None = None
) -> MediaDescription:
    """Return what counts for one section, so that its reader need not know of bundling.

    A bundled section gets the port, the ``c=`` line and the TRANSPORT and IDENTICAL attributes of
    the tagged one; any of its own go. Every section gets the defaults of the session, see
    ``rewrite.with_session_defaults``, and loses ``a=bundle-only``.

    ``a=rtcp-mux``, ``a=rtcp-mux-only`` and ``a=rtcp-rsize`` of an RTP section stay when the tagged
    section is not of RTP and has none: WebRTC peers write them in RTP sections only.

    Args:
        session: an offer or an answer.
        index: of the section, 0-based.
        layout: of the exchange the description belongs to, once that is known; ``None`` takes the
            description at its word. The answerer may have chosen another tagged section than a
            new group's offer proposes.

    Raises:
        ParseError, RemoteProtocolError: see ``read_layout``.

    Source: RFC 9143 7.1.3 and 10, RFC 8859.
    """
    known = read_layout(session) if layout is None else layout
    number = known.group_of(index)
    source = None if number is None else tagged(session, known.groups[number])
    return effective_from(session, index, source)


def effective_session(
    session: SessionDescription, layout: BundleLayout | None = None
) -> SessionDescription:
    """Return a copy whose media descriptions are all ``effective``."""
    known = read_layout(session) if layout is None else layout
    return replace(
        session,
        media=tuple(effective(session, index, known) for index in range(len(session.media))),
    )


def effective_from(session: SessionDescription, index: int, source: int | None) -> MediaDescription:
    """Return what ``effective`` does, with the tagged section given.

    Args:
        session: an offer or an answer.
        index: of the section, 0-based.
        source: of the tagged section; ``None`` for a section that is not bundled.
    """
    own = with_session_defaults(session.media[index], session).without(BUNDLE_ONLY)
    if source is None or source == index:
        return own
    shared = with_session_defaults(session.media[source], session)
    kept: frozenset[str] = frozenset()
    if not is_rtp(shared):
        kept = frozenset(
            name for name in (RTCP_MUX, RTCP_MUX_ONLY, RTCP_RSIZE) if not shared.has(name)
        )
    names = TAGGED_ATTRIBUTES - kept
    return (
        at_address_of(own, shared)
        .without(*names)
        .with_attributes(entry for entry in shared.attributes if entry.name in names)
    )


def at_address_of(media: MediaDescription, other: MediaDescription) -> MediaDescription:
    """Return a copy of ``media`` with the ``c=`` line and the port of another one."""
    moved = replace(
        media,
        port=other.port,
        port_count=other.port_count,
        lines=tuple(line for line in media.lines if line.type != "c"),
    )
    connection = other.connection
    return moved if connection is None else moved.with_connection(connection)


def is_sctp(media: MediaDescription) -> bool:
    """Tell whether a section is of SCTP over DTLS, whose one association a group can carry."""
    return media.proto.upper() in DATA_CHANNEL_PROTOS


def is_shareable(media: MediaDescription) -> bool:
    """Tell whether a section can be in a group at all: RTP or data channels, over UDP.

    What else runs over UDP cannot be told from them by its first octets, and for MSRP, BFCP and
    T.38 nobody defined what bundling means.

    Source: RFC 9143 8 and 9, RFC 8859 5, RFC 7983 7.
    """
    return (
        not media.proto.upper().startswith("TCP/")
        and (is_rtp(media) or is_sctp(media))
        and not any(MUX_CATEGORIES.get(entry.name) is MuxCategory.TBD for entry in media.attributes)
    )
