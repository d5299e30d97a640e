"""What the checks of a data channel line take and give back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dcsdk.errors import FingerprintMismatch, RemoteProtocolError, SecurityError
from dcsdk.sdp.association import DtlsRole, DtlsSide
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.dcmap import Dcmap, Dcsa
from dcsdk.sdp.fingerprint import HASH_PREFERENCE, Fingerprint

BOOTSTRAP_STREAM_IDS = (0, 10, 100, 110)
"""TS 26.114 Table 6.2.10.1-2."""

FIRST_APPLICATION_STREAM_ID = 1000
"""TS 24.186 9.3.2.2.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePolicy:
    """What we take from a peer where the standards leave room.

    Attributes:
        allow_sha1: take SHA-1 fingerprints when nothing better came.
        accept_missing_tls_id: take a line without ``a=tls-id``, as WebRTC peers write it.
        hash_preference: hash functions trusted, the strongest first.
        is_dcmtsi: the stream ids of TS 26.114 hold (rows D2, D4); a WIC numbers freely.
        require_req_app: refuse application channels on a line without ``a=3gpp-req-app`` (D1).
        max_channels: channels taken on one line (D15).
        bootstrap_stream_ids: as in TS 26.114 Table 6.2.10.1-2.
        first_application_stream_id: as in TS 24.186 9.3.2.2.2.
    """

    allow_sha1: bool = False
    accept_missing_tls_id: bool = False
    hash_preference: Sequence[str] = HASH_PREFERENCE
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

    def trusted(self, pinned: Fingerprint | None) -> tuple[Fingerprint, ...]:
        """Return the fingerprints of which the peer's certificate must have one.

        Args:
            pinned: known beforehand: then no other will do.

        Raises:
            FingerprintMismatch: the pinned one is not among those of the line.
        """
        if pinned is None:
            return self.fingerprints
        if pinned not in self.all_fingerprints:
            raise FingerprintMismatch("signalling brought another fingerprint than the pinned one")
        return (pinned,)

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
