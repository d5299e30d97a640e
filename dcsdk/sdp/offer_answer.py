"""Writing data channel lines, and rules that hold between whole descriptions (RFC 3264)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dcsdk.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from dcsdk.sdp.attributes import DEFAULT_MAX_MESSAGE_SIZE, Attribute, Setup
from dcsdk.sdp.dcmap import Dcmap, Dcsa
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.sdp.lines import Bandwidth, Connection
from dcsdk.sdp.media import DATA_CHANNEL_FORMAT, MediaDescription
from dcsdk.sdp.session import SessionDescription

DEFAULT_SCTP_PORT = 5000
"""Customary (RFC 8841 5.2); it is no UDP port."""


def dtls_sctp_attributes(
    *,
    setup: Setup,
    fingerprints: Iterable[Fingerprint],
    tls_id: str | None,
    sctp_port: int = DEFAULT_SCTP_PORT,
    max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE,
) -> tuple[Attribute, ...]:
    """Return the attributes that carry the security and the SCTP association of a line.

    Args:
        setup: ``actpass`` in every offer; ``active`` or ``passive`` in an answer.
        fingerprints: ours.
        tls_id: ours, or ``None`` in the answer to an offer without one.
        sctp_port: 0..65535.
        max_message_size: octets we take in one message, 0 for any size.

    Source: RFC 8841 10.2, 10.3; RFC 8842 5.
    """
    attributes = [Attribute("setup", setup.value)]
    attributes += [Attribute("fingerprint", str(entry)) for entry in fingerprints]
    if tls_id is not None:
        attributes.append(Attribute("tls-id", tls_id))
    attributes.append(Attribute("sctp-port", str(sctp_port)))
    attributes.append(Attribute("max-message-size", str(max_message_size)))
    return tuple(attributes)


def channel_attributes(
    dcmaps: Iterable[Dcmap], dcsas: Iterable[Dcsa] = ()
) -> tuple[Attribute, ...]:
    """Return the ``a=dcmap`` and ``a=dcsa`` lines of a line's channels.

    Raises:
        LocalProtocolError: an id twice, ``max-retr`` with ``max-time``, or a dcsa of no channel.

    Source: RFC 8864 6.2.
    """
    channels = tuple(dcmaps)
    ids = {channel.stream_id for channel in channels}
    if len(ids) != len(channels):
        raise LocalProtocolError("a stream id comes twice in a line", source="RFC 8864 5.1.1")
    if any(channel.has_conflict for channel in channels):
        raise LocalProtocolError("max-retr and max-time exclude each other", source="RFC 8864 6.2")
    scoped = tuple(dcsas)
    if any(entry.stream_id not in ids for entry in scoped):
        raise LocalProtocolError("an a=dcsa line belongs to no channel", source="RFC 8864 5.2")
    return (
        *(Attribute("dcmap", str(channel)) for channel in channels),
        *(Attribute("dcsa", str(entry)) for entry in scoped),
    )


def create_data_channel_media(
    *,
    address: tuple[str, int],
    attributes: Iterable[Attribute | tuple[str, str | None]],
    dcmaps: Iterable[Dcmap] = (),
    dcsas: Iterable[Dcsa] = (),
    bandwidth_kbps: int | None = None,
    proto: str = "UDP/DTLS/SCTP",
) -> MediaDescription:
    """Write a data channel line, for an offer or an answer.

    Args:
        address: where we receive; goes into ``c=`` and ``m=``.
        attributes: of ``dtls_sctp_attributes``, and any others; written before the channels.
        dcmaps: the channels wanted, or accepted.
        dcsas: attributes of these channels.
        bandwidth_kbps: ``b=AS`` for all channels together, or ``None``.
        proto: ``UDP/DTLS/SCTP``.

    Raises:
        LocalProtocolError: see ``channel_attributes``.

    Source: RFC 8841 4, RFC 8864 6.2, TS 26.114 6.2.10.1.
    """
    return MediaDescription.create(
        media="application",
        port=address[1],
        proto=proto,
        formats=(DATA_CHANNEL_FORMAT,),
        connection=Connection.create(address[0]),
        bandwidths=() if bandwidth_kbps is None else (Bandwidth(type="AS", value=bandwidth_kbps),),
        attributes=(*attributes, *channel_attributes(dcmaps, dcsas)),
    )


def check_answer_shape(offer: SessionDescription, answer: SessionDescription) -> None:
    """Check that an answer has the media lines of its offer, one for one.

    Raises:
        RemoteProtocolError: another number of lines, or another media or transport in one that
            is not refused.

    Source: RFC 3264 6.
    """
    if len(answer.media) != len(offer.media):
        raise RemoteProtocolError(
            f"the answer has {len(answer.media)} m= lines, the offer {len(offer.media)}",
            source="RFC 3264 6",
        )
    for ours, theirs in zip(offer.media, answer.media, strict=True):
        if ours.media != theirs.media:
            raise RemoteProtocolError(
                f"the answer has m={theirs.media} where the offer has m={ours.media}",
                source="RFC 3264 6",
            )
        if not theirs.is_rejected and ours.proto.upper() != theirs.proto.upper():
            raise RemoteProtocolError(
                f"the answer changes {ours.proto} to {theirs.proto}", source="RFC 3264 6"
            )


def check_reoffer_shape(line_count: int, offer: SessionDescription) -> None:
    """Check that a later offer of a session keeps every media line in its place.

    Args:
        line_count: media lines the session has had so far.
        offer: the new one.

    Raises:
        RemoteProtocolError: lines are missing.

    Source: RFC 3264 8.
    """
    if len(offer.media) < line_count:
        raise RemoteProtocolError(
            f"the offer has {len(offer.media)} m= lines, fewer than the {line_count} there are",
            source="RFC 3264 8",
            sip_status_hint=488,
        )


def check_data_channel_order(
    media: Sequence[MediaDescription], *, allow_standalone_dc: bool
) -> None:
    """Check, before sending, that no data channel line precedes the first speech line (E16).

    A peer's offer is not checked: it is taken in any order.

    Args:
        media: of the offer to be sent.
        allow_standalone_dc: a session without speech is meant (Rel-19).

    Raises:
        ConfigError: the order is wrong, or there is no speech and that was not allowed.

    Source: TS 26.114 6.2.10.1.
    """
    kinds = ["dc" if line.is_data_channel else line.media for line in media]
    if "dc" not in kinds:
        return
    if "audio" not in kinds:
        if not allow_standalone_dc:
            raise ConfigError(
                "data channels need a speech line, unless allow_standalone_dc is set",
                source="TS 26.114 6.2.10.1",
            )
    elif kinds.index("dc") < kinds.index("audio"):
        raise ConfigError(
            "a data channel line precedes the first speech line", source="TS 26.114 6.2.10.1"
        )
