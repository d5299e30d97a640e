"""What the SIP half of the IMS AS asks of its HTTP half (reference points DC1 and DC2).

The SIP half knows lines of SDP and dialogs; the HTTP half knows the DCSF (``Nimsas_*``, TS 29.175)
and the MF (``Nmf_MRM``, TS 29.176). Between them stand these values and one interface.

Source: TS 23.228 AC.7; TS 24.186 9.3.2.2, 9.3.3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from dcsdk.errors import DcsdkError
from dcsdk.interfaces import Address
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.sdp.fingerprint import Fingerprint


class DcControlError(DcsdkError):
    """DCSF or MF cannot answer, or gave an answer that cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEnd:
    """One side's view of one data channel line: what SDP and ``MediaInfo`` both carry.

    Attributes:
        address: where that side receives datagrams (``c=`` and ``m=``).
        sctp_port: 1..65535.
        fingerprint: of that side's certificate.
        tls_id: of that side, or ``None``.
        setup: of that side.
        max_message_size: octets that side takes in one message, 0 for any size.
        streams: the channels.
        app_binding: text of ``a=3gpp-req-app``, opaque (TS 29.571 ``appBindingInfo``), or ``None``.

    Source: TS 29.571 5.11, TS 29.175 ``dcMediaSpecification``.
    """

    address: Address
    sctp_port: int
    fingerprint: Fingerprint
    tls_id: str | None
    setup: Setup
    max_message_size: int
    streams: tuple[Dcmap, ...]
    app_binding: str | None = None


class SessionCase(Enum):
    """Which side of the call the served user is (TS 29.175)."""

    ORIGINATING = "ORIGINATING_IMS_SESSION"
    TERMINATING = "TERMINATING_IMS_SESSION"


class Initiator(Enum):
    """Who caused an event (TS 29.175 ``eventInitiator``)."""

    SERVED = "SERVED_IMS_SUBSCRIBER"
    REMOTE = "REMOTE_IMS_SUBSCRIBER"


class SessionEvent(Enum):
    """Events that ask for no instruction (TS 29.175 ``eventType``)."""

    PROGRESS = "SESSION_ESTABLISHMENT_PROGRESS"
    ALERTING = "SESSION_ESTABLISHMENT_ALERTING"
    SUCCESS = "SESSION_ESTABLISHMENT_SUCCESS"
    FAILURE = "SESSION_ESTABLISHMENT_FAILURE"
    MEDIA_CHANGE_SUCCESS = "MEDIA_CHANGE_SUCCESS"
    MEDIA_CHANGE_FAILURE = "MEDIA_CHANGE_FAILURE"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """Who calls whom, for the DCSF.

    Attributes:
        session_id: ours, unique in this IMS AS.
        calling_identity: P-Asserted-Identity of the initial INVITE.
        called_identity: its Request-URI.
        session_case: whether we serve the calling or the called user.

    Source: TS 29.175 ``sessionInfo``, TS 24.186 9.3.2.2, 9.3.3.2.
    """

    session_id: str
    calling_identity: str
    called_identity: str
    session_case: SessionCase

    @property
    def served_identity(self) -> str:
        """The user this session is served for."""
        if self.session_case is SessionCase.ORIGINATING:
            return self.calling_identity
        return self.called_identity


class Verdict(Enum):
    """What becomes of one line."""

    TERMINATE = "terminate"
    """Our MF is the offerer's other end (``TERMINATE_MEDIA``): e2DCe."""
    FORWARD = "forward"
    """The line goes on to the other UE unchanged (no MF): e2e."""
    REJECT = "reject"
    """Nobody takes the line (``REJECT_MEDIA``)."""
    ORIGINATE = "originate"
    """A new line that our MF offers to the served user (``ORIGINATE_MEDIA``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of one line.

    Attributes:
        verdict: the decision.
        media: the MF's side: its answer with ``TERMINATE`` (only the streams it takes, never
            ``actpass``), its offer with ``ORIGINATE`` (``actpass``); else ``None``.
    """

    verdict: Verdict
    media: LineEnd | None = None


class DcControl(Protocol):
    """The HTTP half of the IMS AS.

    Media ids are the keys of every mapping; those of offered lines are the caller's and match
    ``[A-Za-z0-9]{1,32}``. Each method may raise :class:`DcControlError`; the caller then refuses
    the lines in question and the call goes on without them.
    """

    async def session_establishment(
        self, session: SessionInfo, offered: Mapping[str, LineEnd]
    ) -> Mapping[str, Decision]:
        """Report an initial offer and do what the DCSF instructs.

        Notifies ``SESSION_ESTABLISHMENT_REQUEST`` and makes an MF context for each line that our
        MF shall end or offer. ``offered`` may be empty: the served user may still be given lines.

        Returns:
            A decision for each id of ``offered``, and ``ORIGINATE`` decisions under ids of their
            own (terminating sessions: the served user's local bootstrap line).
        """
        ...

    async def media_change(
        self, session_id: str, initiator: Initiator, offered: Mapping[str, LineEnd]
    ) -> Mapping[str, Decision]:
        """Report lines that a re-offer adds or changes (``MEDIA_CHANGE_REQUEST``).

        A line changed in fingerprint, tls-id or address gets a new MF context under a new id.
        """
        ...

    async def media_answered(self, session_id: str, media_id: str, answer: LineEnd) -> None:
        """Give the MF the served user's answer to a line it offered (``Nmf_MRM_Update``).

        From then on the MF takes only the certificate that ``answer.fingerprint`` names.
        """
        ...

    async def delete_media(self, session_id: str, media_ids: Sequence[str]) -> None:
        """Give up MF contexts (``Nmf_MRM_Delete``); ids without a context are no error."""
        ...

    async def notify(
        self, session_id: str, event: SessionEvent, initiator: Initiator = Initiator.SERVED
    ) -> None:
        """Report an event that asks for no instruction."""
        ...

    async def session_ended(
        self, session_id: str, initiator: Initiator, *, is_failure: bool = False
    ) -> None:
        """Report the end and give up all contexts of the session. Idempotent.

        Args:
            session_id: of the session.
            initiator: who ended it.
            is_failure: it never was established (``SESSION_ESTABLISHMENT_FAILURE`` instead of
                ``SESSION_TERMINATION``).
        """
        ...
