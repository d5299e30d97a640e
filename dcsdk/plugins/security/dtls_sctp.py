"""Security backend ``dtls_sctp``: data channels over DTLS with fingerprints and tls-id.

e2DCe (TS 33.328 7.2.X, 7.3.X; published as 7.2.4, 7.3.4) and e2e (7.2.Y, 7.3.Y; 7.2.5, 7.3.5)
look alike on the wire; which of them it is follows from registration and request, or from a
fingerprint pinned beforehand.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar

from dcsdk.errors import ConfigError, RemoteProtocolError
from dcsdk.ims.mediasec import SecurityMechanism
from dcsdk.ims.profile import ImsProfile
from dcsdk.interfaces import (
    Agreement,
    Attributes,
    DtlsRole,
    DtlsSctpParameters,
    MediaIntent,
    MediaKind,
    PendingOffer,
    SecurityBackend,
    SecurityContext,
)
from dcsdk.sdp.association import decide_setup, dtls_role
from dcsdk.sdp.attributes import Setup, new_tls_id
from dcsdk.sdp.data_channel import DataChannelLine, LineRefused, check_answer, check_offer
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.offer_answer import dtls_sctp_attributes
from dcsdk.sdp.session import SessionDescription
from dcsdk.security import SecurityScope


def _attributes(setup: Setup, tls_id: str | None, context: SecurityContext) -> Attributes:
    return tuple(
        (attribute.name, attribute.value)
        for attribute in dtls_sctp_attributes(
            setup=setup,
            fingerprints=(context.certificate.fingerprint,),
            tls_id=tls_id,
            sctp_port=context.profile.sctp_port,
            max_message_size=context.max_message_size,
        )
    )


def _parameters(
    line: DataChannelLine,
    role: DtlsRole,
    tls_id: str | None,
    intent: MediaIntent,
    context: SecurityContext,
) -> DtlsSctpParameters:
    return DtlsSctpParameters(
        dtls_role=role,
        remote_address=line.address,
        remote_fingerprints=line.trusted(intent.pinned_fingerprint),
        local_tls_id=tls_id,
        remote_tls_id=line.tls_id,
        local_sctp_port=context.profile.sctp_port,
        remote_sctp_port=line.sctp_port,
        local_max_message_size=context.max_message_size,
        remote_max_message_size=line.max_message_size,
    )


def _scope_without_indication(intent: MediaIntent) -> tuple[SecurityScope, str]:
    """e2DCe and e2e look alike: only a pinned fingerprint tells (TS 24.186 9.3.3.2.1)."""
    if intent.pinned_fingerprint is not None:
        return SecurityScope.E2E, "the peer's certificate has the fingerprint pinned beforehand"
    return (
        SecurityScope.NETWORK_DECIDES,
        "no indication and no pinned fingerprint: the network may anchor the channel or not",
    )


class DtlsSctpOffer(PendingOffer):
    """An offered line that waits for its answer."""

    def __init__(self, intent: MediaIntent, context: SecurityContext) -> None:
        self._intent = intent
        self._context = context
        self._tls_id = new_tls_id(os.urandom)
        self.attributes = _attributes(Setup.ACTPASS, self._tls_id, context)
        if intent.scope is SecurityScope.E2DCE:
            self.attributes += ((context.profile.e2dce_attribute, "requested"),)

    async def agree(
        self, offer: MediaDescription, answer: MediaDescription, session: SessionDescription
    ) -> Agreement:
        """Check the answer (TS 33.328 7.2.X step 10, 7.2.Y; RFC 8842 5.4)."""
        agreed = check_answer(offer, answer, session=session, policy=self._context.policy)
        scope, reason = self._scope()
        return Agreement(
            parameters=_parameters(
                agreed.line, agreed.dtls_role, self._tls_id, self._intent, self._context
            ),
            scope=scope,
            reason=reason,
        )

    def _scope(self) -> tuple[SecurityScope, str]:
        if self._intent.scope is SecurityScope.E2DCE:
            # TS 33.328 7.2.X NOTE 3: no indication comes back, registration and request decide.
            return SecurityScope.E2DCE, "e2DCe was registered by both sides and requested"
        return _scope_without_indication(self._intent)


class DtlsSctpBackend(SecurityBackend):
    """DTLS-SCTP towards the DCMF (e2DCe) or the other UE (e2e)."""

    name: ClassVar[str] = "dtls_sctp"
    media_kinds: ClassVar[frozenset[MediaKind]] = frozenset({"dc"})
    scopes: ClassVar[frozenset[SecurityScope]] = frozenset(
        {SecurityScope.E2DCE, SecurityScope.E2E, SecurityScope.NETWORK_DECIDES}
    )

    def registration_indications(self, profile: ImsProfile) -> Sequence[SecurityMechanism]:
        """``e2dce-dtls;mediasec``: experimental, nothing is standardised (TS 33.328 7.1.X)."""
        return [SecurityMechanism.media(profile.e2dce_mechanism)]

    async def offer(self, intent: MediaIntent, context: SecurityContext) -> PendingOffer:
        """Make the attributes of an offer (TS 33.328 7.2.X step 1, 7.2.Y step 1).

        Raises:
            ConfigError: e2DCe is asked for and was not registered (7.2.X NOTE 2).
        """
        if intent.scope is SecurityScope.E2DCE and not context.is_e2dce_registered:
            raise ConfigError(
                "e2DCe is requested, but UE and network did not both register it",
                source="TS 33.328 7.2.X NOTE 2",
            )
        return DtlsSctpOffer(intent, context)

    async def answer(
        self,
        offer: MediaDescription,
        session: SessionDescription,
        intent: MediaIntent,
        context: SecurityContext,
    ) -> tuple[Attributes, Agreement]:
        """Check an offered line and answer it (TS 33.328 7.3.X, 7.3.Y; RFC 8842 5.3)."""
        line = check_offer(offer, session, context.policy)
        if isinstance(line, LineRefused):
            raise line.error
        if not isinstance(line, DataChannelLine):
            raise RemoteProtocolError("the offered line is closed", source="RFC 8841 9.3")
        setup = decide_setup(line.setup, preferred=Setup(context.profile.answer_setup))
        # No tls-id in the offer: none in the answer (RFC 8842 5.3).
        tls_id = new_tls_id(os.urandom) if line.tls_id is not None else None
        scope, reason = self._scope(offer, intent, context)
        role = dtls_role(line.setup, setup, is_offerer=False)
        agreement = Agreement(
            parameters=_parameters(line, role, tls_id, intent, context),
            scope=scope,
            reason=reason,
        )
        return _attributes(setup, tls_id, context), agreement

    @staticmethod
    def _scope(
        offer: MediaDescription, intent: MediaIntent, context: SecurityContext
    ) -> tuple[SecurityScope, str]:
        indication = offer.indication(context.profile.e2dce_attribute)
        if indication == "applied" and context.is_e2dce_registered:
            return SecurityScope.E2DCE, "the network applied e2DCe, which both sides registered"
        return _scope_without_indication(intent)
