"""DTLS roles by ``a=setup``, and when an offer or answer means a new DTLS association.

Source: RFC 8842 3.1 and 5, RFC 8841 9 and 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dcsdk.errors import LocalProtocolError, RemoteProtocolError
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.fingerprint import Fingerprint

DtlsRole = Literal["client", "server"]

_OPPOSITE = {Setup.ACTIVE: Setup.PASSIVE, Setup.PASSIVE: Setup.ACTIVE}


def decide_setup(
    offered: Setup, *, preferred: Setup = Setup.ACTIVE, in_force: Setup | None = None
) -> Setup:
    """Choose the ``a=setup`` of an answer.

    ``active`` unless told otherwise: the answerer then starts DTLS at once and needs no packet
    from the offerer to open a way through a gateway. The even/odd rule of RFC 8864 6.1 is no
    reason to answer ``passive``: ids of IMS channels are fixed whatever the role (TS 26.114 Table
    6.2.10.1-2, TS 24.186 9.3.2.2.2), so parity is not enforced on ids negotiated in SDP.

    Args:
        offered: what the offer says.
        preferred: ``active`` or ``passive``, used when the offer leaves the choice.
        in_force: our role in the association this answer keeps, or ``None`` for a new one.

    Returns:
        ``active`` or ``passive``.

    Raises:
        RemoteProtocolError: the offer says ``holdconn``.
        LocalProtocolError: ``preferred`` or ``in_force`` is no role.

    Source: RFC 8842 5.3.
    """
    if offered is Setup.HOLDCONN:
        raise RemoteProtocolError(
            "a=setup:holdconn is forbidden with DTLS", source="RFC 8842 5.1", sip_status_hint=488
        )
    if offered is not Setup.ACTPASS:
        return _OPPOSITE[offered]
    chosen = in_force or preferred
    if chosen not in _OPPOSITE:
        raise LocalProtocolError(f"an answer cannot say a=setup:{chosen}", source="RFC 8842 5.3")
    return chosen


def dtls_role(offered: Setup, answered: Setup, *, is_offerer: bool) -> DtlsRole:
    """Return our DTLS role once offer and answer are there.

    Args:
        offered: ``a=setup`` of the offer.
        answered: ``a=setup`` of the answer.
        is_offerer: the offer was ours.

    Raises:
        RemoteProtocolError: the answer is not ``active`` or ``passive``, or does not fit the
            offer (row E12).

    Source: RFC 8842 5.3, 5.4.
    """
    if answered not in _OPPOSITE:
        raise RemoteProtocolError(
            f"an answer says a=setup:{answered}, expected active or passive", source="RFC 8842 5.3"
        )
    if offered is not Setup.ACTPASS and _OPPOSITE.get(offered) is not answered:
        raise RemoteProtocolError(
            f"the answer a=setup:{answered} does not fit the offer a=setup:{offered}",
            source="RFC 4145 4.1",
        )
    ours = answered if not is_offerer else _OPPOSITE[answered]
    return "client" if ours is Setup.ACTIVE else "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class DtlsSide:
    """What one side signalled about its end of a DTLS association.

    Attributes:
        tls_id: or ``None``.
        fingerprints: the whole set, not only the hash we chose.
        address: transport address; counts only where there is no tls-id.
    """

    tls_id: str | None
    fingerprints: frozenset[Fingerprint]
    address: tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationIdentity:
    """What identifies a DTLS association of ours: our role, and the peer's end.

    Our own end changes only when we ask for a new association.

    Attributes:
        dtls_role: ours, as negotiated.
        remote: the peer's side.

    Source: RFC 8842 3.1; the pair of tls-ids names the association (RFC 8842 4).
    """

    dtls_role: DtlsRole
    remote: DtlsSide


def new_association_reason(old: AssociationIdentity, new: AssociationIdentity) -> str | None:
    """Say why ``new`` needs a new DTLS association, or ``None`` when it keeps the old one.

    An ICE restart alone changes nothing. The SCTP association above is another matter: it ends
    by its port (RFC 8841 9.3).

    Source: RFC 8842 3.1, 5.5; rows E13, D13.
    """
    before, after = old.remote, new.remote
    if old.dtls_role != new.dtls_role:
        return "the DTLS roles changed"
    if before.tls_id != after.tls_id:
        return "the peer's tls-id changed"
    if before.fingerprints != after.fingerprints:
        return "the peer's set of fingerprints changed"
    if after.tls_id is None and before.address != after.address:
        return "the peer's transport address changed and there is no tls-id"
    return None
