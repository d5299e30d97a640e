"""Every choice the standards leave open, in one place, with its reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dcsdk.errors import ConfigError, LocalProtocolError, ParseError
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.data_channel import (
    BOOTSTRAP_STREAM_IDS,
    FIRST_APPLICATION_STREAM_ID,
    LinePolicy,
)
from dcsdk.sdp.dcmap import MAX_STREAM_ID
from dcsdk.sdp.fingerprint import HASH_PREFERENCE
from dcsdk.sdp.ims_attributes import (
    BDC_USED_BY_ATTRIBUTE,
    E2DCE_ATTRIBUTE,
    REQ_APP_ATTRIBUTE,
    REQ_APP_ENDPOINT_TEMPLATE,
    REQ_APP_PATTERN,
    REQ_APP_TEMPLATE,
    AppEndpoint,
    BdcUser,
    Indication,
    ReqApp,
    format_bdc_used_by,
    format_req_app,
    parse_bdc_used_by,
    parse_req_app,
)
from dcsdk.sdp.media import MediaDescription

_TOKEN_PATTERN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImsProfile:
    """What a network or a peer may do differently without breaking a standard.

    Raises:
        ConfigError: a name that is no token, a template or pattern that cannot work, a limit
            that is not above 0, or a hash function that RFC 8122 5 forbids.
    """

    # --- e2DCe indications: TS 33.328 7.1.X, 7.2.X, 7.3.X ask for them, no stage 3 names them ---
    is_e2dce_indicated: bool = False
    """Register e2DCe in ``Security-Client``. Off, as the token below is ours; the client's
    ``e2dce_tokens`` switches it on."""

    e2dce_mechanism: str = "e2dce-dtls"
    """``mediasec`` mechanism for e2DCe. Any token is legal as a mechanism name, unknown entries
    are ignored, and the name is built like ``udptl-dtls`` (TS 24.229 7.2A.7)."""

    dc_e2ae_mechanism: str = "sctp-dtls"
    """``mediasec`` mechanism for e2ae of data channels; a WIC needs none (TS 33.328 N.3.2)."""

    e2dce_attribute: str = E2DCE_ATTRIBUTE
    """SDP attribute ``requested`` / ``applied`` for e2DCe. A new attribute and no new value of
    ``a=3ge2ae``: unknown values of that must be ignored (TS 24.229 7.5.2), and the two are
    independent. A core that does not know it falls through to e2e (TS 33.328 7.2.Y)."""

    # --- SDP of bootstrap and application channels ---
    bdc_used_by_template: str = "{user}"
    """Value of ``a=3gpp-bdc-used-by``: ``sender`` alone. The exact punctuation of TS 24.186 could
    not be verified; ``bdc-used-by=sender`` is read as well and can be written by this template."""

    req_app_template: str = REQ_APP_TEMPLATE
    """Value of ``a=3gpp-req-app``: the application id, then the end points. The ABNF could not be
    verified; the DCSF takes the text as opaque (TS 29.571 ``appBindingInfo``)."""

    req_app_endpoint_template: str = REQ_APP_ENDPOINT_TEMPLATE
    """One end point in ``a=3gpp-req-app``: whether a stream's far end is the UE or a server."""

    req_app_pattern: str = REQ_APP_PATTERN
    """Finds the application id in a received ``a=3gpp-req-app``: what stands before the first
    semicolon. Nothing else of the text is used."""

    bootstrap_local_ids: tuple[int, ...] = BOOTSTRAP_STREAM_IDS[:2]
    """Own network's and own user's content, ended in the own network's MF (TS 26.114 Table
    6.2.10.1-2)."""

    bootstrap_remote_ids: tuple[int, ...] = BOOTSTRAP_STREAM_IDS[2:]
    """The other network's and the other user's content, ended in the other network's MF (same
    table)."""

    first_application_stream_id: int = FIRST_APPLICATION_STREAM_ID
    """Application channels number from here; lower ids are reserved (TS 24.186 9.3.2.2.2)."""

    require_req_app: bool = False
    """Refuse application channels without ``a=3gpp-req-app``. Off: the IMS AS may refuse them
    (TS 24.186 9.3.2.2.2), and a UE that does loses calls and gains no security."""

    max_channels: int = 64
    """Channels on one association; no standard bounds them below 65535."""

    max_associations: int = 8
    """Data channel lines of one session: two bootstrap lines and room for applications."""

    sctp_port: int = 5000
    """Customary (RFC 8841 5.2); each association has its own UDP port, so one value serves."""

    max_message_size: int = 262_144
    """Octets of one message we take. Above the 65536 an absent attribute means, as WebRTC peers
    send larger ones, and small enough to be buffered per channel."""

    # --- DTLS by SDP ---
    answer_setup: Setup = Setup.ACTIVE
    """Our role when the offer leaves the choice. Active: the answerer starts at once and opens the
    way through gateways. RFC 8864 6.1 ties even ids to the DTLS client, so some advise ``passive``
    for an offer of even ids; ids of IMS channels are fixed whatever the role, so parity is not
    enforced on ids negotiated in SDP, and nothing is won by ``passive``."""

    hash_preference: tuple[str, ...] = HASH_PREFERENCE
    """Fingerprint hash functions trusted, the strongest first (RFC 8122 5 leaves it to us)."""

    allow_sha1: bool = False
    """Take SHA-1 fingerprints when nothing better came. Off: collisions are practical; the
    example of TS 26.114 A.17.1 has one, so old peers may need it."""

    # --- registration ---
    digest_algorithms: tuple[str, ...] = ("SHA-256", "MD5")
    """Digest algorithms we answer. Of several challenges the topmost of these is taken, whatever
    the order here (RFC 8760 2.4); leave MD5 out to refuse it."""

    def __post_init__(self) -> None:
        for name in (self.e2dce_mechanism, self.dc_e2ae_mechanism, self.e2dce_attribute):
            if _TOKEN_PATTERN.fullmatch(name) is None:
                raise ConfigError(f"{name[:64]!r} is no token")
        self._check_templates()
        for field in ("max_channels", "max_associations", "sctp_port"):
            if getattr(self, field) <= 0:
                raise ConfigError(f"{field} must be above 0")
        if self.answer_setup not in (Setup.ACTIVE, Setup.PASSIVE):
            raise ConfigError("answer_setup is active or passive", source="RFC 8842 5.3")
        if not self.hash_preference or not set(self.hash_preference) <= set(HASH_PREFERENCE):
            raise ConfigError(
                f"hash_preference holds names of {', '.join(HASH_PREFERENCE)}", source="RFC 8122 5"
            )
        first, last = self.first_application_stream_id, max(self.bootstrap_ids, default=0)
        if not last < first <= MAX_STREAM_ID:
            raise ConfigError("application stream ids begin above the bootstrap ids")

    def _check_templates(self) -> None:
        try:
            if re.compile(self.req_app_pattern).groups < 1:
                raise ValueError("req_app_pattern has no group for the application id")
            self.format_req_app("app", {self.first_application_stream_id: "UE"})
            parse_bdc_used_by(self.format_bdc_used_by("sender"))
        except (re.error, LookupError, AttributeError, ValueError, LocalProtocolError) as exc:
            raise ConfigError(f"a template or pattern of the profile cannot work: {exc}") from exc

    @property
    def bootstrap_ids(self) -> tuple[int, ...]:
        """All bootstrap stream ids."""
        return (*self.bootstrap_local_ids, *self.bootstrap_remote_ids)

    def line_policy(
        self,
        *,
        is_dcmtsi: bool = True,
        accept_missing_tls_id: bool = False,
        allow_sha1: bool | None = None,
    ) -> LinePolicy:
        """Return what the checks of ``sdp.data_channel`` shall take.

        Args:
            is_dcmtsi: the stream ids of TS 26.114 hold; a WIC numbers freely.
            accept_missing_tls_id: take a peer that writes no ``a=tls-id``.
            allow_sha1: overrides the profile's when not ``None``.
        """
        return LinePolicy(
            allow_sha1=self.allow_sha1 if allow_sha1 is None else allow_sha1,
            accept_missing_tls_id=accept_missing_tls_id,
            hash_preference=self.hash_preference,
            is_dcmtsi=is_dcmtsi,
            require_req_app=self.require_req_app,
            max_channels=self.max_channels,
            bootstrap_stream_ids=self.bootstrap_ids,
            first_application_stream_id=self.first_application_stream_id,
        )

    def format_bdc_used_by(self, user: BdcUser) -> str:
        """Write the value of ``a=3gpp-bdc-used-by``."""
        return format_bdc_used_by(user, self.bdc_used_by_template)

    def bdc_used_by(self, media: MediaDescription) -> BdcUser | None:
        """Read ``a=3gpp-bdc-used-by`` of a line; ``None`` when absent or not understood."""
        value = media.get(BDC_USED_BY_ATTRIBUTE)
        if value is None:
            return None
        try:
            return parse_bdc_used_by(value)
        except ParseError:
            return None  # RFC 8866 5.13: what is not understood is ignored

    def format_req_app(
        self, app_id: str, endpoints: Mapping[int, AppEndpoint] | None = None
    ) -> ReqApp:
        """Write the value of ``a=3gpp-req-app``; see ``sdp.ims_attributes.format_req_app``."""
        return format_req_app(
            app_id,
            endpoints,
            template=self.req_app_template,
            endpoint_template=self.req_app_endpoint_template,
            pattern=self.req_app_pattern,
        )

    def req_app(self, media: MediaDescription) -> ReqApp | None:
        """Read ``a=3gpp-req-app`` of a line, or ``None``."""
        value = media.get(REQ_APP_ATTRIBUTE)
        return None if value is None else parse_req_app(value, self.req_app_pattern)

    def e2dce_indication(self, media: MediaDescription) -> Indication | None:
        """Read the e2DCe indication of a line."""
        return media.indication(self.e2dce_attribute)


DEFAULT_PROFILE: Final = ImsProfile()
