"""A new DTLS association on a media line that has one (RFC 8842 3.1; rows E13, D13).

Our own side never asks for one, so the peer's side and the roles decide.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from dcsdk.errors import NegotiationError
from dcsdk.interfaces import Agreement, Attributes, MediaIntent
from dcsdk.sdp.association import AssociationIdentity, DtlsRole, DtlsSide, new_association_reason
from dcsdk.sdp.data_channel import DataChannelLine
from dcsdk.security import SecurityReport, SecurityScope
from dcsdk.session.line_path import LinePath

OURS = DtlsSide(tls_id=None, fingerprints=frozenset(), address=("", 0))
"""Our end of an association, which never changes by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRestart:
    """What offer and answer changed, and takes effect when both are through.

    Attributes:
        path: for the new association.
        attributes: of our side.
        agreement: what was agreed.
        remote: what the peer's description says.
    """

    path: LinePath
    attributes: Attributes
    agreement: Agreement
    remote: DataChannelLine


def restart_reason(
    old: DataChannelLine, old_role: DtlsRole | None, line: DataChannelLine, role: DtlsRole
) -> str | None:
    """Say why the peer's description needs a new DTLS association, or ``None``.

    Args:
        old: what the peer's last description said.
        old_role: our role in the association in force.
        line: what its new one says.
        role: our role by it.

    Raises:
        NegotiationError: it needs a new SCTP association, which is not built here.
    """
    if line.sctp_port != old.sctp_port:
        raise NegotiationError(
            "the peer wants a new SCTP association on a line that has one", source="RFC 8841 9.3"
        )
    before = AssociationIdentity(dtls_role=old_role, local=OURS, remote=old.side)
    return new_association_reason(
        before, dataclasses.replace(before, dtls_role=role, remote=line.side)
    )


def check_restartable(*, is_able: bool, keeps_ice: bool) -> None:
    """Refuse a new association where it cannot be had.

    With ICE, old and new packets are told apart by candidates of which one side at least has a set
    that is new, and a side has one only by an ICE restart that the offer begins.

    Args:
        is_able: the engine can move SCTP.
        keeps_ice: ICE chose the path, and the offer restarts no ICE.

    Raises:
        NegotiationError: old and new packets could not be told apart, or SCTP cannot be moved.
    """
    if not is_able:
        raise NegotiationError(
            "the peer wants a new DTLS association, which the engine cannot move to",
            source="RFC 8842 3.1",
        )
    if keeps_ice:
        raise NegotiationError(
            "the peer wants a new DTLS association on a path that ICE chose, and the offer does "
            "not restart ICE",
            source="RFC 8842 6",
        )


def agreement_after_answer(
    old: Agreement | None,
    intent: MediaIntent,
    remote: DataChannelLine | None,
    line: DataChannelLine,
    role: DtlsRole,
) -> Agreement:
    """Return what an answer with a new tls-id leads to: ours stays, the pair names it.

    Our offer asked for nothing new, so the peer must have moved to another port (E13).

    Args:
        old: of the association in force.
        intent: what our side wants of the line.
        remote: what the peer's last description said.
        line: what the answer says.
        role: our role.

    Raises:
        NegotiationError: the peer's address is still the old one.
        FingerprintMismatch: the pinned fingerprint is not among those of the answer.
    """
    if old is None or remote is None or line.address == remote.address:
        raise NegotiationError(
            "the answer wants a new DTLS association on the address of the old one",
            source="RFC 8842 3.1",
        )
    parameters = dataclasses.replace(
        old.parameters,
        dtls_role=role,
        remote_address=line.address,
        remote_fingerprints=line.trusted(intent.pinned_fingerprint),
        remote_tls_id=line.tls_id,
    )
    return dataclasses.replace(old, parameters=parameters)


def report_during_restart(report: SecurityReport, agreement: Agreement) -> SecurityReport:
    """Return what is claimed before the new peer is verified: never more than before.

    Args:
        report: of the association in force.
        agreement: of the new one.
    """
    if agreement.scope is SecurityScope.NETWORK_DECIDES:
        return dataclasses.replace(report, scope=agreement.scope, reason=agreement.reason)
    return report
