"""Reads one data channel line of a peer; ``data_channel`` decides what an error means."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from dcsdk.errors import ParseError, RemoteProtocolError, SecurityError
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.data_channel_line import ChannelRefused, DataChannelLine, LinePolicy
from dcsdk.sdp.dcmap import Dcmap, Dcsa, parse_stream_id
from dcsdk.sdp.fingerprint import Fingerprint, preferred
from dcsdk.sdp.ims_attributes import REQ_APP_ATTRIBUTE
from dcsdk.sdp.media import MediaDescription

if TYPE_CHECKING:
    from dcsdk.sdp.session import SessionDescription

_CARRIED_PROTO = "UDP/DTLS/SCTP"
"""``TCP/DTLS/SCTP`` is read as a data channel line and refused: nothing carries it."""


def remote_error(exc: ParseError) -> RemoteProtocolError:
    """Turn what a codec says into what the peer did; answered 488 when everything is refused."""
    message = str(exc).removesuffix(f" [{exc.source}]")
    error = RemoteProtocolError(message, source=exc.source, sip_status_hint=488)
    error.__cause__ = exc
    return error


def _broken(message: str, source: str) -> RemoteProtocolError:
    return RemoteProtocolError(message, source=source, sip_status_hint=488)


def read_line(
    media: MediaDescription,
    session: SessionDescription | None,
    policy: LinePolicy,
    *,
    offer: MediaDescription | None = None,
) -> DataChannelLine:
    """Read an offer (``offer`` is ``None``) or the answer to ``offer``.

    Raises:
        ParseError, RemoteProtocolError, SecurityError: the line cannot be used.
    """
    if (
        not media.is_data_channel
        or len(media.formats) != 1
        or media.proto.upper() != _CARRIED_PROTO
    ):
        raise _broken(
            f"expected {_CARRIED_PROTO} webrtc-datachannel, got "
            f"{media.proto[:32]} {' '.join(media.formats)[:64]}",
            "RFC 8841 4",
        )
    sctp_port = media.sctp_port
    if sctp_port is None:
        raise _broken("the line has no a=sctp-port", "RFC 8841 5.1")
    tls_id = media.tls_id
    if tls_id is None and not policy.accept_missing_tls_id:
        raise _broken("the line has no a=tls-id", "RFC 8841 10.1")
    all_fingerprints = media.fingerprints(session)
    channels, refused = (
        _offered_channels(media, policy)
        if offer is None
        else (_answered_channels(offer, media), ())
    )
    return DataChannelLine(
        proto=_CARRIED_PROTO,
        address=_read_address(media, session),
        setup=_read_setup(media, session, is_answer=offer is not None),
        tls_id=tls_id,
        fingerprints=_choose_fingerprints(all_fingerprints, policy),
        all_fingerprints=frozenset(all_fingerprints),
        sctp_port=sctp_port,
        max_message_size=media.max_message_size,
        channels=channels,
        dcsas=_read_dcsas(media, channels),
        refused=refused,
    )


def _read_setup(
    media: MediaDescription, session: SessionDescription | None, *, is_answer: bool
) -> Setup:
    setup = media.effective_setup(session)
    if setup is None:
        raise _broken("the line has no a=setup", "RFC 8842 5.1")
    if setup is Setup.HOLDCONN:
        raise _broken("a=setup:holdconn is forbidden with DTLS", "RFC 8842 5.1")
    if is_answer and setup is Setup.ACTPASS:
        raise _broken("an answer says a=setup:actpass", "RFC 8842 5.3")
    return setup


def _choose_fingerprints(
    fingerprints: tuple[Fingerprint, ...], policy: LinePolicy
) -> tuple[Fingerprint, ...]:
    if not fingerprints:
        raise SecurityError("the line has no a=fingerprint", source="RFC 8841 10.1")
    chosen = preferred(fingerprints, policy.allow_sha1, policy.hash_preference)
    if not chosen:
        names = ", ".join(sorted({entry.hash_function for entry in fingerprints}))
        raise SecurityError(
            f"no fingerprint has a hash function we trust, only {names}", source="RFC 8122 5"
        )
    return chosen


def _read_address(media: MediaDescription, session: SessionDescription | None) -> tuple[str, int]:
    address = media.address(session)
    if address is None:
        raise _broken("there is no c= line for the data channel line", "RFC 8866 5.7")
    try:
        parsed = ipaddress.ip_address(address[0])
    except ValueError as exc:
        raise _broken(f"{address[0][:64]!r} is no IP address", "RFC 8866 5.7") from exc
    if parsed.is_multicast or "%" in address[0]:
        raise _broken(f"{address[0]} cannot be sent to", "RFC 8866 5.7")
    if parsed.is_unspecified and not media.has("ice-ufrag"):
        raise _broken("the address is unspecified and there is no ICE", "RFC 8866 5.7")
    return address


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
                raise _broken(f"stream id {stream_id} comes twice in a line", "RFC 8864 5.1.1")
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
