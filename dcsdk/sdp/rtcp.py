"""Where RTCP goes: ``a=rtcp-mux``, ``a=rtcp-mux-only`` and ``a=rtcp``.

Source: RFC 5761 5.1, RFC 8858 4, RFC 3605 2.1; in a BUNDLE group RFC 9143 9.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dcsdk.errors import NegotiationError, ParseError, RemoteProtocolError
from dcsdk.sdp.attributes import Attribute
from dcsdk.sdp.lines import Connection, parse_number
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription

RTCP = "rtcp"
RTCP_MUX = "rtcp-mux"
RTCP_MUX_ONLY = "rtcp-mux-only"
RTCP_RSIZE = "rtcp-rsize"

UNSPECIFIED_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104  (read from SDP, never bound)
"""In ``c=``: neither RTP nor RTCP is sent there (RFC 3264 8.4)."""

_MAX_PORT = 65_535


class RtcpMux(Enum):
    """What a media description says about RTP and RTCP on one port.

    In an offer it is what the offerer can do. In an answer ``SEPARATE`` declines and each of the
    others agrees.
    """

    SEPARATE = "separate"
    WILLING = "willing"
    """``a=rtcp-mux``: one port; in an offer, separate ones if the answer does not agree."""
    REQUIRED = "required"
    """``a=rtcp-mux-only`` with ``a=rtcp-mux``: separate ports are impossible (RFC 8858 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RtcpAddress:
    """The value of ``a=rtcp``: where its sender receives RTCP when it is not one port above RTP.

    Attributes:
        port: 1..65535.
        connection: the address, ``None`` when it is that of RTP.

    Source: RFC 3605 2.1.
    """

    port: int
    connection: Connection | None = None

    @classmethod
    def parse(cls, value: str) -> RtcpAddress:
        """Read the text after ``a=rtcp:``.

        Args:
            value: for example ``"53020"`` or ``"53020 IN IP4 192.0.2.10"``.

        Raises:
            ParseError: no port from 1 to 65535, or something else than an address behind it.
        """
        text, _, address = value.strip(" ").partition(" ")
        port = parse_number(text, _MAX_PORT, what="port of a=rtcp", source="RFC 3605 2.1")
        if port == 0:
            raise ParseError("a=rtcp names port 0", source="RFC 3605 2.1")
        return cls(port=port, connection=Connection.parse(address) if address else None)

    def __str__(self) -> str:
        return str(self.port) if self.connection is None else f"{self.port} {self.connection}"


def is_rtp(media: MediaDescription) -> bool:
    """Tell whether a media description is of RTP, plain or secured, whatever carries it."""
    return "RTP/" in media.proto.upper()


def read_rtcp_mux(media: MediaDescription) -> RtcpMux:
    """Read what a media description says; of a bundled one, give its effective description.

    Raises:
        RemoteProtocolError: ``a=rtcp-mux-only`` stands without ``a=rtcp-mux``; the line has to be
            refused, or, when it is an answer, ended by a new offer (RFC 8858 4.2).
    """
    is_willing = media.has(RTCP_MUX)
    if not media.has(RTCP_MUX_ONLY):
        return RtcpMux.WILLING if is_willing else RtcpMux.SEPARATE
    if not is_willing:
        raise RemoteProtocolError(
            "a=rtcp-mux-only stands without a=rtcp-mux", source="RFC 8858 4.2", sip_status_hint=488
        )
    return RtcpMux.REQUIRED


def rtcp_offer(mux: RtcpMux, separate: RtcpAddress | None = None) -> tuple[Attribute, ...]:
    """Return the attributes of an RTP line in an offer.

    Args:
        mux: what we can do.
        separate: where we receive RTCP that does not share the port of RTP; ``None`` when that is
            the port above RTP. Not written with ``REQUIRED``, which knows no such port.

    Source: RFC 5761 5.1.1, RFC 8858 4.2, RFC 3605 2.1.
    """
    attributes = () if mux is RtcpMux.SEPARATE else (Attribute(RTCP_MUX),)
    if mux is RtcpMux.REQUIRED:
        return (*attributes, Attribute(RTCP_MUX_ONLY))
    return attributes if separate is None else (*attributes, Attribute(RTCP, str(separate)))


def rtcp_answer(
    offered: RtcpMux, *, is_willing: bool = True, separate: RtcpAddress | None = None
) -> tuple[Attribute, ...]:
    """Return the attributes of an RTP line in an answer, for a line on a transport of its own.

    ``a=rtcp-mux`` is never answered unless offered, and ``a=rtcp-mux-only`` never (RFC 8858 4.3);
    for a bundled line ``bundle.write_answer`` writes them.

    Args:
        offered: what the offer says.
        is_willing: we can receive RTP and RTCP on one port.
        separate: where we receive RTCP on separate ports; ``None`` for the port above RTP.

    Raises:
        NegotiationError: the offer knows no separate ports and we know nothing else: refuse the
            line.

    Source: RFC 5761 5.1.1, RFC 8858 4.3.
    """
    if offered is not RtcpMux.SEPARATE and is_willing:
        return (Attribute(RTCP_MUX),)
    if offered is RtcpMux.REQUIRED:
        raise NegotiationError(
            "the offer wants RTP and RTCP on one port only", source="RFC 8858 4.3"
        )
    return () if separate is None else (Attribute(RTCP, str(separate)),)


def agree_rtcp_mux(offered: RtcpMux, answered: RtcpMux) -> bool:
    """Tell, once offer and answer are there, whether RTP and RTCP share one port.

    Args:
        offered: what the offer says.
        answered: what the answer says. ``REQUIRED`` is taken as agreement: RFC 9143 9.3.1.2 wants
            it there, RFC 8858 4.3 does not.

    Raises:
        RemoteProtocolError: the answer says what was not offered; or it does not agree although
            there is nothing else: end the line by a new offer.

    Source: RFC 5761 5.1.1, RFC 8858 4.4.
    """
    is_agreed = answered is not RtcpMux.SEPARATE
    if is_agreed and offered is RtcpMux.SEPARATE:
        raise RemoteProtocolError(
            "the answer says a=rtcp-mux, the offer did not", source="RFC 5761 5.1.1"
        )
    if offered is RtcpMux.REQUIRED and not is_agreed:
        raise RemoteProtocolError(
            "the answer has no a=rtcp-mux, the offer knows no separate ports",
            source="RFC 8858 4.4",
        )
    return is_agreed


def remote_rtcp_address(
    media: MediaDescription, session: SessionDescription | None = None, *, is_multiplexed: bool
) -> tuple[str, int] | None:
    """Return where RTCP for the sender of a description goes, unless ICE says otherwise.

    Args:
        media: the peer's media description; of a bundled one, its effective description.
        session: the description around, for its ``c=`` line.
        is_multiplexed: RTP and RTCP share one port, as :func:`agree_rtcp_mux` tells; ``a=rtcp`` is
            not looked at then.

    Returns:
        Address and port; ``None`` when the line has no address or port, or the unspecified
        address, which holds RTP and RTCP alike (RFC 3264 8.4).

    Raises:
        ParseError: ``a=rtcp`` is malformed, or there is no port above that of RTP.

    Source: RFC 5761 5.1.1, RFC 3605 2.1, RFC 3550 11.
    """
    rtp = media.address(session)
    if rtp is None or rtp[1] == 0 or rtp[0] in UNSPECIFIED_ADDRESSES:
        return None
    if is_multiplexed:
        return rtp
    if not media.has(RTCP):
        if rtp[1] == _MAX_PORT:
            raise ParseError("there is no port above that of RTP for RTCP", source="RFC 3550 11")
        return rtp[0], rtp[1] + 1
    rtcp = RtcpAddress.parse(media.get(RTCP) or "")
    return (rtp[0] if rtcp.connection is None else rtcp.connection.address), rtcp.port
