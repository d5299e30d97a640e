"""Checks of one ``m=`` line of data channels: RFC 8841, 8842, 8864 and the rules of IMS.

What can be wrong has three sizes, and each has its own result:

- one channel: a :class:`ChannelRefused` in ``DataChannelLine.refused``; its dcmap stays out of
  the answer;
- the line: :func:`check_offer` returns :class:`LineRefused`; it is answered with port 0;
- an answer: :func:`check_answer` raises, and the exchange has failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcsdk.errors import ParseError, RemoteProtocolError, SecurityError, UnsupportedByPeer
from dcsdk.sdp.association import dtls_role
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.data_channel_line import (
    BOOTSTRAP_STREAM_IDS,
    DEFAULT_POLICY,
    FIRST_APPLICATION_STREAM_ID,
    AgreedLine,
    ChannelRefused,
    DataChannelLine,
    LineClosed,
    LinePolicy,
    LineRefused,
    OfferCheck,
)
from dcsdk.sdp.data_channel_reader import read_line, remote_error
from dcsdk.sdp.media import MediaDescription

if TYPE_CHECKING:
    from dcsdk.sdp.session import SessionDescription

__all__ = [
    "BOOTSTRAP_STREAM_IDS",
    "DEFAULT_POLICY",
    "FIRST_APPLICATION_STREAM_ID",
    "AgreedLine",
    "ChannelRefused",
    "DataChannelLine",
    "LineClosed",
    "LinePolicy",
    "LineRefused",
    "OfferCheck",
    "check_answer",
    "check_offer",
]


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
        if offer.tls_id is None and line.tls_id is not None:
            raise RemoteProtocolError(
                "the answer has a tls-id and the offer had none", source="RFC 8842 5.3"
            )
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
