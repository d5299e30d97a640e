"""Data channel lines of SDP as the IMS AS reads and writes them.

Source: RFC 8841, RFC 8864; TS 24.186 9.3.3.2.1 lists what the IMS AS may replace in a line.
"""

from __future__ import annotations

from dataclasses import replace

from dcsdk.emulator.sbi.dc_control import LineEnd
from dcsdk.errors import ParseError, RemoteProtocolError, SecurityError
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.data_channel import DataChannelLine, LinePolicy, LineRefused, check_offer
from dcsdk.sdp.ims_attributes import REQ_APP_ATTRIBUTE
from dcsdk.sdp.media import DATA_CHANNEL_FORMAT, DATA_CHANNEL_PROTOS, MediaDescription
from dcsdk.sdp.offer_answer import create_data_channel_media, dtls_sctp_attributes
from dcsdk.sdp.session import SessionDescription

BANDWIDTH_KBIT_S = 500
"""``b=AS`` of lines we offer; the figure of TS 26.114 A.17."""

AS_POLICY = LinePolicy(
    allow_sha1=True,
    accept_missing_tls_id=True,
    is_dcmtsi=False,
    max_channels=65_535,
)
"""The IMS AS carries lines between others: what is secure enough is for the two ends to say."""


def read_media(
    media: MediaDescription, session: SessionDescription, policy: LinePolicy = AS_POLICY
) -> LineEnd:
    """Read an offered or answered data channel line.

    Raises:
        RemoteProtocolError: the line breaks a rule, or is closed.
        SecurityError: it has no fingerprint that can be used.
    """
    line = check_offer(media, session, policy)
    if isinstance(line, LineRefused):
        raise line.error
    if not isinstance(line, DataChannelLine):
        raise RemoteProtocolError("the data channel line is closed", source="RFC 8841 9.3")
    return LineEnd(
        address=line.address,
        sctp_port=line.sctp_port,
        fingerprint=line.fingerprints[0],
        tls_id=line.tls_id,
        setup=line.setup,
        max_message_size=line.max_message_size,
        streams=line.channels,
        app_binding=media.get(REQ_APP_ATTRIBUTE),
    )


def try_read_media(
    media: MediaDescription, session: SessionDescription, policy: LinePolicy = AS_POLICY
) -> LineEnd | None:
    """Read a line, ``None`` when it cannot be used."""
    try:
        return read_media(media, session, policy)
    except (RemoteProtocolError, SecurityError, ParseError):
        return None


def write_media(media: LineEnd, setup: Setup) -> MediaDescription:
    """Write a line that an MF ends.

    Args:
        media: the MF's side.
        setup: instead of ``media.setup``: a re-offer leaves the role open again.
    """
    line = create_data_channel_media(
        address=media.address,
        attributes=dtls_sctp_attributes(
            setup=setup,
            fingerprints=(media.fingerprint,),
            tls_id=media.tls_id,
            sctp_port=media.sctp_port,
            max_message_size=media.max_message_size,
        ),
        dcmaps=media.streams,
        bandwidth_kbps=BANDWIDTH_KBIT_S,
    )
    if media.app_binding is None:
        return line
    return line.with_attribute(REQ_APP_ATTRIBUTE, media.app_binding)


def refused_media() -> MediaDescription:
    """Return a data channel line with port 0, for a place that nobody uses any more."""
    return MediaDescription(
        media="application", port=0, proto=DATA_CHANNEL_PROTOS[0], formats=(DATA_CHANNEL_FORMAT,)
    )


def is_same_side(old: LineEnd, new: LineEnd) -> bool:
    """Tell whether a line says the same as before, but for the role a re-offer may leave open."""
    return replace(old, setup=Setup.ACTPASS) == replace(new, setup=Setup.ACTPASS)
