"""Security backend ``dtls_sctp``: data channels over DTLS with fingerprints and tls-id.

e2DCe (TS 33.328 7.2.X, 7.3.X; published as 7.2.4, 7.3.4) and e2e (7.2.Y, 7.3.Y; 7.2.5, 7.3.5)
look alike on the wire; which of them it is follows from registration and request, or from a
fingerprint pinned beforehand.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dcsdk.errors import LocalProtocolError
from dcsdk.ims.mediasec import SecurityMechanism
from dcsdk.ims.profile import ImsProfile
from dcsdk.interfaces.keying import DtlsParameters, KeyingParameters
from dcsdk.interfaces.media import MediaIntent
from dcsdk.interfaces.paths import Paths
from dcsdk.interfaces.security import (
    Agreement,
    PendingOffer,
    SecurityAnswer,
    SecurityBackend,
    SecurityContext,
)
from dcsdk.interfaces.transports import SecureTransport
from dcsdk.interfaces.values import Attributes
from dcsdk.io.secure.contexts import DtlsContexts
from dcsdk.io.secure.dtls_transport import DtlsTransport
from dcsdk.sdp.address import read_address
from dcsdk.sdp.association import (
    AssociationIdentity,
    DtlsRole,
    DtlsSide,
    decide_setup,
    dtls_role,
    new_association_reason,
)
from dcsdk.sdp.attributes import Setup, new_tls_id
from dcsdk.sdp.dtls import DtlsDescription, read_dtls
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription

PINNED = "the peer's certificate has the fingerprint pinned beforehand"


def _attributes(setup: Setup, tls_id: str | None, context: SecurityContext) -> Attributes:
    found: list[tuple[str, str | None]] = [("setup", setup.value)]
    found.append(("fingerprint", str(context.certificate.fingerprint)))
    if tls_id is not None:
        found.append(("tls-id", tls_id))
    return tuple(found)


class DtlsSctpOffer(PendingOffer):
    """An offered line that waits for its answer.

    Args:
        intent: what our side wants.
        context: what is known here.
        current: what is in force and stays so, or ``None``.
    """

    def __init__(
        self, intent: MediaIntent, context: SecurityContext, current: Agreement | None
    ) -> None:
        self._intent = intent
        self._context = context
        self._current = current
        in_force = _in_force(current)
        self._tls_id = new_tls_id(os.urandom) if in_force is None else in_force.local_tls_id

    @property
    def attributes(self) -> Attributes:
        """What the offer says (TS 33.328 7.2.X step 1, 7.2.Y step 1)."""
        return _attributes(Setup.ACTPASS, self._tls_id, self._context)

    async def agree(
        self, offer: MediaDescription, answer: MediaDescription, session: SessionDescription
    ) -> Agreement:
        """Check the answer (TS 33.328 7.2.X step 10, 7.2.Y; RFC 8842 5.4)."""
        line = read_dtls(answer, session, self._context.policy, offer=offer)
        offered = offer.setup or Setup.ACTPASS
        role = dtls_role(offered, line.setup, is_offerer=True)
        side = _side(line, answer, session)
        return _agreement(
            line,
            AssociationIdentity(dtls_role=role, remote=side),
            self._tls_id,
            self._intent,
            self._current,
        )


class DtlsSctpBackend(SecurityBackend):
    """DTLS-SCTP towards the DCMF (e2DCe) or the other UE (e2e)."""

    name: ClassVar[str] = "dtls_sctp"
    media_kinds: ClassVar[frozenset[str] | None] = frozenset({"data_channel"})

    def __init__(self) -> None:
        self._contexts = DtlsContexts()

    def registration_indications(self, profile: ImsProfile) -> Sequence[SecurityMechanism]:
        """``e2dce-dtls;mediasec``: experimental, nothing is standardised (TS 33.328 7.1.X)."""
        if not profile.is_e2dce_indicated:
            return ()
        return [SecurityMechanism.media(profile.e2dce_mechanism)]

    def proto(self, base: str) -> str:
        """``SCTP`` becomes ``UDP/DTLS/SCTP`` (RFC 8841 4)."""
        return f"UDP/DTLS/{base}"

    def recognises(self, offer: MediaDescription, session: SessionDescription) -> bool:
        """The proto says so."""
        return offer.proto.upper() == "UDP/DTLS/SCTP"

    async def offer(
        self, intent: MediaIntent, context: SecurityContext, current: Agreement | None
    ) -> PendingOffer:
        """Make the attributes of an offer."""
        return DtlsSctpOffer(intent, context, current)

    def review(
        self, offer: MediaDescription, session: SessionDescription, context: SecurityContext
    ) -> OfferedDtls:
        """Read setup, tls-id and fingerprints (RFC 8842 5.3)."""
        line = read_dtls(offer, session, context.policy)
        return OfferedDtls(line=line, side=_side(line, offer, session))

    def renewal(self, offered: OfferedDtls, current: Agreement) -> str | None:
        """Say why an offered line needs a new DTLS association, or ``None`` (RFC 8842 5.5)."""
        role = self._role(offered, current, preferred=Setup.ACTIVE)
        return new_association_reason(
            current.remote, AssociationIdentity(dtls_role=role, remote=offered.side)
        )

    async def answer(
        self,
        offered: OfferedDtls,
        intent: MediaIntent,
        context: SecurityContext,
        current: Agreement | None,
    ) -> SecurityAnswer:
        """Answer an offered line (TS 33.328 7.3.X, 7.3.Y; RFC 8842 5.3)."""
        preferred = Setup(context.profile.answer_setup)
        role = self._role(offered, current, preferred=preferred)
        in_force = _in_force(current)
        if in_force is not None:
            tls_id = in_force.local_tls_id
        else:  # no tls-id in the offer: none in the answer (RFC 8842 5.3)
            tls_id = new_tls_id(os.urandom) if offered.line.tls_id is not None else None
        identity = AssociationIdentity(dtls_role=role, remote=offered.side)
        agreement = _agreement(offered.line, identity, tls_id, intent, current)
        setup = Setup.ACTIVE if role == "client" else Setup.PASSIVE
        return SecurityAnswer(attributes=_attributes(setup, tls_id, context), agreement=agreement)

    @staticmethod
    def _role(offered: OfferedDtls, current: Agreement | None, *, preferred: Setup) -> DtlsRole:
        """Return ours in the answer: that of the association in force, if there is one."""
        in_force = _in_force(current)
        setup = None
        if in_force is not None:
            setup = Setup.ACTIVE if in_force.dtls_role == "client" else Setup.PASSIVE
        chosen = decide_setup(offered.line.setup, preferred=preferred, in_force=setup)
        return dtls_role(offered.line.setup, chosen, is_offerer=False)

    def open(
        self, parameters: KeyingParameters, paths: Paths, context: SecurityContext
    ) -> SecureTransport:
        """Make the DTLS transport of a line."""
        if paths.rtp is None or not isinstance(parameters, DtlsParameters):
            raise LocalProtocolError("DTLS runs on a datagram path, with parameters of its own")
        dtls = self._contexts.get(context.certificate, context.settings)
        transport = DtlsTransport(paths.rtp, dtls, context.settings, backend=self.name)
        transport.prepare(parameters)
        return transport


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedDtls:
    """What an offered line says of its sender's end.

    Attributes:
        line: as read.
        side: what identifies the end.
    """

    line: DtlsDescription
    side: DtlsSide


def _side(line: DtlsDescription, media: MediaDescription, session: SessionDescription) -> DtlsSide:
    return DtlsSide(
        tls_id=line.tls_id,
        fingerprints=line.all_fingerprints,
        address=read_address(media, session),
    )


def _agreement(
    line: DtlsDescription,
    identity: AssociationIdentity,
    tls_id: str | None,
    intent: MediaIntent,
    current: Agreement | None,
) -> Agreement:
    """Return what both ends signalled as keying parameters.

    Raises:
        FingerprintMismatch: the pinned fingerprint is not among those of the peer.
    """
    pinned = intent.pinned_fingerprint
    proof = "" if pinned is None else PINNED
    return Agreement(
        parameters=DtlsParameters(
            dtls_role=identity.dtls_role,
            remote_fingerprints=line.trusted(pinned),
            local_tls_id=tls_id,
            remote_tls_id=line.tls_id,
        ),
        proof=proof,
        remote=identity,
        renewal=None if current is None else new_association_reason(current.remote, identity),
    )


def _in_force(current: Agreement | None) -> DtlsParameters | None:
    if current is None:
        return None
    if not isinstance(current.parameters, DtlsParameters):
        raise LocalProtocolError("the line is not protected by DTLS")
    return current.parameters
