"""Where a peer receives the media of one line: ``c=`` and the port of ``m=`` (RFC 8866 5.7)."""

from __future__ import annotations

import ipaddress

from dcsdk.sdp.broken import broken
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription


def read_address(
    media: MediaDescription, session: SessionDescription | None = None
) -> tuple[str, int]:
    """Return the transport address, an IP literal that can be sent to.

    Args:
        media: the line.
        session: the description around, for its ``c=`` line.

    Raises:
        RemoteProtocolError: there is none, or nothing can be sent there.
    """
    address = media.address(session)
    if address is None:
        raise broken("there is no c= line for the line", "RFC 8866 5.7")
    try:
        parsed = ipaddress.ip_address(address[0])
    except ValueError as exc:
        raise broken(f"{address[0][:64]!r} is no IP address", "RFC 8866 5.7") from exc
    if parsed.is_multicast or "%" in address[0]:
        raise broken(f"{address[0]} cannot be sent to", "RFC 8866 5.7")
    if parsed.is_unspecified and not media.has("ice-ufrag"):
        raise broken("the address is unspecified and there is no ICE", "RFC 8866 5.7")
    return address
