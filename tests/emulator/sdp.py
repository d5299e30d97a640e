"""Session descriptions for the emulator's tests."""

from __future__ import annotations

from collections.abc import Iterable

from dcsdk.emulator.sbi.dc_control import LineEnd
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.sdp.lines import Connection, Origin
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription

USER_FINGERPRINT = Fingerprint(hash_function="sha-256", digest=bytes(range(32)))
MF_FINGERPRINT = Fingerprint(hash_function="sha-256", digest=bytes(range(32, 64)))


def line(
    *stream_ids: int,
    port: int = 40_000,
    setup: str = "actpass",
    tls_id: str = "0123456789abcdef0123456789abcdef",
    fingerprint: Fingerprint = USER_FINGERPRINT,
    extra: Iterable[tuple[str, str | None]] = (),
) -> MediaDescription:
    """Make a data channel line with one channel for each stream id."""
    return MediaDescription.create(
        media="application",
        port=port,
        proto="UDP/DTLS/SCTP",
        formats=("webrtc-datachannel",),
        attributes=(
            ("setup", setup),
            ("fingerprint", str(fingerprint)),
            ("tls-id", tls_id),
            ("sctp-port", "5000"),
            ("max-message-size", "65536"),
            *(("dcmap", str(Dcmap(stream_id=i, subprotocol="http"))) for i in stream_ids),
            *extra,
        ),
    )


def audio(port: int = 30_000) -> MediaDescription:
    """Make a line that is no data channel."""
    return MediaDescription.create(
        media="audio", port=port, proto="RTP/AVP", formats=("0",), attributes=(("sendrecv", None),)
    )


def description(*media: MediaDescription, version: int = 1) -> SessionDescription:
    """Make a description of a user at 192.0.2.10."""
    return SessionDescription.create(
        origin=Origin.create(session_id=3001, version=version, address="192.0.2.10"),
        connection=Connection.create("192.0.2.10"),
        media=media,
    )


def mf_media(*stream_ids: int, port: int = 41_000, setup: Setup = Setup.PASSIVE) -> LineEnd:
    """Make our MF's side of a line."""
    return LineEnd(
        address=("198.51.100.30", port),
        sctp_port=5000,
        fingerprint=MF_FINGERPRINT,
        tls_id="ffeeddccbbaa99887766554433221100",
        setup=setup,
        max_message_size=65_536,
        streams=tuple(Dcmap(stream_id=i, subprotocol="http") for i in stream_ids),
    )
