"""Checks of one ``m=`` line of data channels: RFC 8841, 8842, 8864 and the rules of IMS.

What can be wrong has three sizes, and each has its own result:

- one channel: a :class:`ChannelRefused` in ``DataChannelLine.refused``; its dcmap stays out of
  the answer;
- the line: :func:`check_offer` returns :class:`LineRefused`; it is answered with port 0;
- an answer: :func:`check_answer` raises, and the exchange has failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dcsdk.errors import ParseError, RemoteProtocolError, SecurityError, UnsupportedByPeer
from dcsdk.sdp.address import read_address
from dcsdk.sdp.association import DtlsRole, DtlsSide, dtls_role
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.broken import broken, remote_error
from dcsdk.sdp.dcmap import Dcmap, Dcsa, parse_stream_id
from dcsdk.sdp.dtls import FingerprintPolicy, read_dtls
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.sdp.ims_attributes import REQ_APP_ATTRIBUTE
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription

BOOTSTRAP_STREAM_IDS = (0, 10, 100, 110)
"""TS 26.114 Table 6.2.10.1-2."""

FIRST_APPLICATION_STREAM_ID = 1000
"""TS 24.186 9.3.2.2.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePolicy(FingerprintPolicy):
    """What we take from a peer where the standards leave room, keys included.

    Attributes:
        is_dcmtsi: the stream ids of TS 26.114 hold (rows D2, D4); a WIC numbers freely.
        require_req_app: refuse application channels on a line without ``a=3gpp-req-app`` (D1).
        max_channels: channels taken on one line (D15).
        bootstrap_stream_ids: as in TS 26.114 Table 6.2.10.1-2.
        first_application_stream_id: as in TS 24.186 9.3.2.2.2.
    """

    is_dcmtsi: bool = True
    require_req_app: bool = False
    max_channels: int = 64
    bootstrap_stream_ids: Sequence[int] = BOOTSTRAP_STREAM_IDS
    first_application_stream_id: int = FIRST_APPLICATION_STREAM_ID


DEFAULT_POLICY = LinePolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRefused:
    """An offered channel we must not or will not open.

    Attributes:
        stream_id: or ``None`` when the line does not even tell that.
        reason: in words.
        source: the clause.
    """

    stream_id: int | None
    reason: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRefused:
    """An offered line that is answered with port 0.

    Attributes:
        error: what is wrong, with its clause in ``error.source``.
    """

    error: RemoteProtocolError | SecurityError


@dataclass(frozen=True, slots=True, kw_only=True)
class LineClosed:
    """An offered line that ends what it had, which is no error: answer with the same zero.

    Attributes:
        is_port_zero: the port of ``m=`` is 0 (D14); otherwise ``a=sctp-port`` is 0 (E14).
    """

    is_port_zero: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelsDescription:
    """What a line says of its SCTP association and its channels.

    Attributes:
        sctp_port: 0..65535; 0 ends the association.
        max_message_size: octets the peer takes in one message, 0 for any size.
        channels: those that may be opened, in order.
        dcsas: of those channels.
        refused: the other channels, with the reason.
    """

    sctp_port: int
    max_message_size: int
    channels: tuple[Dcmap, ...] = ()
    dcsas: tuple[Dcsa, ...] = ()
    refused: tuple[ChannelRefused, ...] = ()

    def attributes_of(self, stream_id: int) -> tuple[tuple[str, str | None], ...]:
        """Return the attributes scoped to one channel, as (name, value)."""
        found = []
        for entry in self.dcsas:
            if entry.stream_id == stream_id:
                name, colon, value = entry.attribute.partition(":")
                found.append((name, value if colon else None))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChannelLine:
    """A line that holds everything RFC 8841 wants.

    Attributes:
        proto: ``"UDP/DTLS/SCTP"``.
        address: where the peer receives; the IP address is a literal.
        setup: as the line says.
        tls_id: or ``None`` where the policy allows that.
        fingerprints: at least one; the peer's certificate must match one of them.
        all_fingerprints: every line's value, for ``new_association_reason``.
        sctp_port: 1..65535.
        max_message_size: octets the peer takes in one message, 0 for any size.
        channels: those that may be opened, in order.
        dcsas: of those channels.
        refused: the other channels, with the reason.
    """

    proto: str
    address: tuple[str, int]
    setup: Setup
    tls_id: str | None
    fingerprints: tuple[Fingerprint, ...]
    all_fingerprints: frozenset[Fingerprint]
    sctp_port: int
    max_message_size: int
    channels: tuple[Dcmap, ...] = ()
    dcsas: tuple[Dcsa, ...] = ()
    refused: tuple[ChannelRefused, ...] = ()

    @property
    def side(self) -> DtlsSide:
        """What this line says about its sender's end of the DTLS association."""
        return DtlsSide(
            tls_id=self.tls_id, fingerprints=self.all_fingerprints, address=self.address
        )

    def channel(self, stream_id: int) -> Dcmap | None:
        """Return the channel of that id, if it may be opened."""
        return next((entry for entry in self.channels if entry.stream_id == stream_id), None)

    def dcsas_of(self, stream_id: int) -> tuple[str, ...]:
        """Return the attributes scoped to one channel, as after ``a=``."""
        return tuple(entry.attribute for entry in self.dcsas if entry.stream_id == stream_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedLine:
    """An answer that fits its offer.

    Attributes:
        line: what the peer answered.
        dtls_role: ours.
        accepted: the channels both have now, as the offer described them.
        refused_ids: offered, and left out by the answer: ``unsupported_by_peer``.
    """

    line: DataChannelLine
    dtls_role: DtlsRole
    accepted: tuple[Dcmap, ...]
    refused_ids: tuple[int, ...]


OfferCheck = DataChannelLine | LineRefused | LineClosed


def check_offer(
    media: MediaDescription,
    session: SessionDescription | None = None,
    policy: LinePolicy = DEFAULT_POLICY,
) -> OfferCheck:
    """Check an offered line.

    Args:
        media: the ``m=`` line.
        session: the description around, for its ``c=``, ``a=setup`` and ``a=fingerprint``.
        policy: what we take.

    Returns:
        The line, with good and refused channels apart; or why the whole line is refused; or that
        the offer ends the line.

    Source: RFC 8841 10, RFC 8842 5.3, RFC 8864 6.3; rows E7, E12, E14, D1 to D5, D15.
    """
    if media.is_rejected:
        return LineClosed(is_port_zero=True)
    try:
        if media.is_data_channel and media.sctp_port == 0:
            return LineClosed(is_port_zero=False)
        return read_line(media, session, policy)
    except ParseError as exc:
        return LineRefused(error=remote_error(exc))
    except (RemoteProtocolError, SecurityError) as exc:
        return LineRefused(error=exc)


def check_answer(
    offer: MediaDescription,
    answer: MediaDescription,
    *,
    offer_session: SessionDescription | None = None,
    session: SessionDescription | None = None,
    policy: LinePolicy = DEFAULT_POLICY,
) -> AgreedLine:
    """Check the answer to a line we offered.

    Args:
        offer: our ``m=`` line.
        answer: the peer's.
        offer_session: the description around our offer.
        session: the description around the answer.
        policy: what we take.

    Raises:
        UnsupportedByPeer: the peer refused the line: port 0, or sctp-port 0 (D11).
        RemoteProtocolError: the answer breaks a rule: E7, E12, D3, D6, ...
        SecurityError: it has no fingerprint that can be used (E7).

    Source: RFC 8841 10.4, RFC 8842 5.4, RFC 8864 6.4.
    """
    if answer.is_rejected:
        raise UnsupportedByPeer("the peer refused the data channel line", source="RFC 3264 6")
    if answer.proto.upper() != offer.proto.upper() or answer.media != offer.media:
        raise RemoteProtocolError(
            f"the answer changes {offer.media} {offer.proto} to {answer.media} {answer.proto}",
            source="RFC 3264 6",
        )
    try:
        if answer.sctp_port == 0:
            raise UnsupportedByPeer("the peer refused the SCTP association", source="RFC 8841 9.3")
        line = read_line(answer, session, policy, offer=offer)
        offered_setup = offer.effective_setup(offer_session) or Setup.ACTIVE
    except ParseError as exc:
        raise remote_error(exc) from exc
    accepted_ids = {channel.stream_id for channel in line.channels}
    return AgreedLine(
        line=line,
        dtls_role=dtls_role(offered_setup, line.setup, is_offerer=True),
        accepted=tuple(entry for entry in offer.dcmaps if entry.stream_id in accepted_ids),
        refused_ids=tuple(
            entry.stream_id for entry in offer.dcmaps if entry.stream_id not in accepted_ids
        ),
    )


# --- reading ---
_CARRIED_PROTO = "UDP/DTLS/SCTP"
"""``TCP/DTLS/SCTP`` is read as a data channel line and refused: nothing carries it."""


def read_line(
    media: MediaDescription,
    session: SessionDescription | None,
    policy: LinePolicy,
    *,
    offer: MediaDescription | None = None,
) -> DataChannelLine:
    """Read an offer (``offer`` is ``None``) or the answer to ``offer``: keys and channels at once.

    Raises:
        ParseError, RemoteProtocolError, SecurityError: the line cannot be used.
    """
    channels = read_channels(media, policy, offer=offer)
    dtls = read_dtls(media, session, policy, offer=offer)
    return DataChannelLine(
        proto=_CARRIED_PROTO,
        address=read_address(media, session),
        setup=dtls.setup,
        tls_id=dtls.tls_id,
        fingerprints=dtls.fingerprints,
        all_fingerprints=dtls.all_fingerprints,
        sctp_port=channels.sctp_port,
        max_message_size=channels.max_message_size,
        channels=channels.channels,
        dcsas=channels.dcsas,
        refused=channels.refused,
    )


def read_channels(
    media: MediaDescription, policy: LinePolicy, *, offer: MediaDescription | None = None
) -> ChannelsDescription:
    """Read the channels of an offer (``offer`` is ``None``) or of the answer to ``offer``.

    Raises:
        ParseError, RemoteProtocolError: the line cannot be used.
    """
    if (
        not media.is_data_channel
        or len(media.formats) != 1
        or media.proto.upper() != _CARRIED_PROTO
    ):
        raise broken(
            f"expected {_CARRIED_PROTO} webrtc-datachannel, got "
            f"{media.proto[:32]} {' '.join(media.formats)[:64]}",
            "RFC 8841 4",
        )
    sctp_port = media.sctp_port
    if sctp_port is None:
        raise broken("the line has no a=sctp-port", "RFC 8841 5.1")
    channels, refused = (
        _offered_channels(media, policy)
        if offer is None
        else (_answered_channels(offer, media), ())
    )
    return ChannelsDescription(
        sctp_port=sctp_port,
        max_message_size=media.max_message_size,
        channels=channels,
        dcsas=_read_dcsas(media, channels),
        refused=refused,
    )


def _offered_channels(
    media: MediaDescription, policy: LinePolicy
) -> tuple[tuple[Dcmap, ...], tuple[ChannelRefused, ...]]:
    channels: list[Dcmap] = []
    refused: list[ChannelRefused] = []
    seen: set[int] = set()
    for value in media.get_all("dcmap"):
        stream_id: int | None = None
        try:
            stream_id = parse_stream_id(value.strip(" ").partition(" ")[0], source="RFC 8864 5.1")
            if stream_id in seen:
                raise broken(f"stream id {stream_id} comes twice in a line", "RFC 8864 5.1.1")
            seen.add(stream_id)
            dcmap = Dcmap.parse(value)
        except ParseError as exc:
            reason = str(exc).removesuffix(f" [{exc.source}]")
            refused.append(
                ChannelRefused(
                    stream_id=stream_id, reason=reason, source=exc.source or "RFC 8864 5.1"
                )
            )
            continue
        refusal = _refusal(dcmap, media, policy)
        if refusal is None and len(channels) >= policy.max_channels:
            refusal = (f"more than {policy.max_channels} channels on one line", "RFC 8864 6.3")
        if refusal is None:
            channels.append(dcmap)
        else:
            refused.append(
                ChannelRefused(stream_id=dcmap.stream_id, reason=refusal[0], source=refusal[1])
            )
    return tuple(channels), tuple(refused)


def _refusal(dcmap: Dcmap, media: MediaDescription, policy: LinePolicy) -> tuple[str, str] | None:
    """Say why this channel cannot be opened, and the clause; ``None`` when it can."""
    if dcmap.has_conflict:
        return "max-retr and max-time exclude each other", "RFC 8864 6.2"
    if not policy.is_dcmtsi:
        return None
    if dcmap.stream_id in policy.bootstrap_stream_ids:
        if dcmap.subprotocol != "http":
            return "a bootstrap channel carries http only", "TS 26.114 6.2.10.1"
        if not dcmap.is_ordered or dcmap.max_retr is not None or dcmap.max_time_ms is not None:
            return "a bootstrap channel is ordered and reliable", "TS 26.114 6.2.10.1"
    elif dcmap.stream_id < policy.first_application_stream_id:
        return f"stream id {dcmap.stream_id} is reserved", "TS 24.186 9.3.2.2.2"
    elif policy.require_req_app and not media.has(REQ_APP_ATTRIBUTE):
        return "an application channel without a=3gpp-req-app", "TS 24.186 9.3.2.2.2"
    return None


def _answered_channels(offer: MediaDescription, answer: MediaDescription) -> tuple[Dcmap, ...]:
    offered = {entry.stream_id: entry for entry in offer.dcmaps}
    answered: dict[int, Dcmap] = {}
    for dcmap in answer.dcmaps:
        if dcmap.stream_id in answered:
            raise RemoteProtocolError(
                f"stream id {dcmap.stream_id} comes twice in the answer", source="RFC 8864 5.1.1"
            )
        answered[dcmap.stream_id] = dcmap
        ours = offered.get(dcmap.stream_id)
        if ours is None:
            raise RemoteProtocolError(
                f"the answer has stream id {dcmap.stream_id}, which was not offered",
                source="RFC 8864 6.4",
            )
        option = changed_option(ours, dcmap)
        if option is not None:
            raise RemoteProtocolError(
                f"the answer changes {option} of stream id {dcmap.stream_id}",
                source="RFC 8864 6.3",
            )
    return tuple(answered.values())


def changed_option(offered: Dcmap, answered: Dcmap) -> str | None:
    """Name the option in which two descriptions of one channel differ.

    An answer may leave subprotocol and label out, and priority is local scheduling
    (RFC 8831 6.4): these are not differences.
    """
    if offered.is_ordered != answered.is_ordered:
        return "ordered"
    if offered.max_retr != answered.max_retr:
        return "max-retr"
    if offered.max_time_ms != answered.max_time_ms:
        return "max-time"
    if answered.subprotocol and offered.subprotocol != answered.subprotocol:
        return "subprotocol"
    if answered.label and offered.label != answered.label:
        return "label"
    return None


def _read_dcsas(media: MediaDescription, channels: tuple[Dcmap, ...]) -> tuple[Dcsa, ...]:
    """Read the ``a=dcsa`` lines of these channels; any other one is ignored (RFC 8864 5.2)."""
    ids = {channel.stream_id for channel in channels}
    dcsas: list[Dcsa] = []
    for value in media.get_all("dcsa") if ids else ():
        try:
            dcsa = Dcsa.parse(value)
        except ParseError:
            continue  # RFC 8864 5.2.1: a line that is not understood is ignored
        if dcsa.stream_id in ids:
            dcsas.append(dcsa)
    return tuple(dcsas)
