"""One data channel m-line of a session: its path, its association and its channels."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from dcsdk.datachannel.channel import DataChannel, close_quietly
from dcsdk.errors import LocalProtocolError, UnsupportedByPeer
from dcsdk.interfaces import (
    Address,
    Agreement,
    Association,
    AssociationEngine,
    Attributes,
    ChannelParameters,
    MediaIntent,
    PendingOffer,
    SecurityBackend,
    SecurityContext,
)
from dcsdk.interfaces.channel import ChannelState
from dcsdk.sdp.association import DtlsRole, decide_setup, dtls_role
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.data_channel import DataChannelLine, check_answer
from dcsdk.sdp.ims_attributes import REQ_APP_ATTRIBUTE, ReqApp
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.offer_answer import create_data_channel_media
from dcsdk.security import SecurityReport, SecurityScope
from dcsdk.session.line_path import IceMode, LinePath
from dcsdk.session.line_restart import (
    LineRestart,
    agreement_after_answer,
    check_restartable,
    report_during_restart,
    restart_reason,
)

if TYPE_CHECKING:
    from dcsdk.io.capture import Capture
    from dcsdk.sdp.dcmap import Dcmap
    from dcsdk.sdp.session import SessionDescription

logger = logging.getLogger(__name__)

BANDWIDTH_KBPS = 500
"""Cores insist on ``b=AS``; the figure is that of TS 26.114 A.17."""


class LineRole(Enum):
    """What the channels of a line are for (TS 26.114 6.2.10.1)."""

    BOOTSTRAP = "bootstrap"
    APPLICATION = "application"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineServices:
    """What a line needs from its client.

    Attributes:
        engine: makes paths and associations.
        engine_config: for the engine.
        backend: protects the line.
        context: what the backend may know; the line fills in the local address.
        ice: what our side does about ICE.
        capture: gets what paths with ICE carry, or ``None``.
    """

    engine: AssociationEngine
    engine_config: Any
    backend: SecurityBackend
    context: SecurityContext
    ice: IceMode = "off"
    capture: Capture | None = None


def channel_parameters(dcmap: Dcmap) -> ChannelParameters:
    """Return the channel that a dcmap describes."""
    return ChannelParameters(
        stream_id=dcmap.stream_id,
        label=dcmap.label,
        subprotocol=dcmap.subprotocol,
        is_ordered=dcmap.is_ordered,
        max_retr=dcmap.max_retr,
        max_time_ms=dcmap.max_time_ms,
        priority=dcmap.priority,
        is_negotiated=True,
    )


class MediaLine:
    """One ``m=application ... UDP/DTLS/SCTP webrtc-datachannel`` line and what runs on it.

    The association exists before the line is agreed: it receives what a quick peer sends before
    our side knows the peer's fingerprint, and looks at it only afterwards (RFC 8842 5.3).

    Attributes:
        role: what its channels are for.
        req_app: the application binding information, or ``None``.
        remote: what the peer's last description of the line says.
    """

    def __init__(
        self,
        *,
        role: LineRole,
        intent: MediaIntent,
        services: LineServices,
        path: LinePath,
        association: Association,
        req_app: ReqApp | None = None,
    ) -> None:
        self.role = role
        self.req_app = req_app
        self._channels: dict[int, DataChannel] = {}
        self.remote: DataChannelLine | None = None
        self._intent = intent
        self._services = services
        self._backend = services.backend
        self._context = dataclasses.replace(services.context, local_address=path.address)
        self._path = path
        self._association = association
        self._attributes: Attributes = ()
        self._dcmaps: dict[int, Dcmap] = {}
        self._pending: PendingOffer | None = None
        self._offered: MediaDescription | None = None
        self._agreement: Agreement | None = None
        self._restart: LineRestart | None = None
        self._is_offerer = False
        self._is_closed = False

    @classmethod
    async def create(
        cls,
        *,
        role: LineRole,
        intent: MediaIntent,
        services: LineServices,
        req_app: ReqApp | None = None,
    ) -> MediaLine:
        """Bind a path and put an association on it. Nothing is sent."""
        path = await cls._bind(services)
        association = services.engine.create(
            path.path, services.context.certificate, services.engine_config
        )
        return cls(
            role=role,
            intent=intent,
            services=services,
            path=path,
            association=association,
            req_app=req_app,
        )

    @staticmethod
    async def _bind(services: LineServices) -> LinePath:
        host = services.context.local_address[0]
        return await LinePath.bind(services.engine, host, services.ice, capture=services.capture)

    # --- what stands ---------------------------------------------------------------------------
    @property
    def report(self) -> SecurityReport:
        """What protects the line."""
        return self._association.report

    @property
    def association(self) -> Association:
        """The association of the line."""
        return self._association

    @property
    def address(self) -> Address:
        """Our address in ``c=`` and ``m=``."""
        return self._path.address

    @property
    def channels(self) -> dict[int, DataChannel]:
        """The channels in use, by stream id.

        One that either side closed is no longer here nor in the next description: its id is free
        for another channel (RFC 8864 6.6.1).
        """
        return {
            stream_id: channel
            for stream_id, channel in self._channels.items()
            if channel.state in (ChannelState.CONNECTING, ChannelState.OPEN)
        }

    @property
    def session_attributes(self) -> Attributes:
        """What the line adds before the first media line."""
        return () if self._is_closed else self._described[1].session_attributes

    @property
    def is_agreed(self) -> bool:
        """Offer and answer led to an association."""
        return self._agreement is not None

    @property
    def is_restarting(self) -> bool:
        """A new DTLS association was agreed, and :meth:`start` begins it."""
        return self._restart is not None

    @property
    def description(self) -> MediaDescription:
        """The line as it stands in an offer; a closed one has port 0 (RFC 3264 8.2)."""
        return self.describe(Setup.ACTPASS)

    @property
    def is_closed(self) -> bool:
        """The line is refused, removed or lost; its port is 0 from now on."""
        return self._is_closed

    @property
    def _described(self) -> tuple[Attributes, LinePath]:
        """Our attributes, and the path that they and ours of ICE are about."""
        restart = self._restart
        if restart is None:
            return self._attributes, self._path
        return restart.attributes, restart.path

    def describe(self, setup: Setup, dcmaps: Iterable[Dcmap] | None = None) -> MediaDescription:
        """Write the line.

        Args:
            setup: ``actpass`` in offers, the role in force in answers (RFC 8842 5.2, 5.5).
            dcmaps: the channels, by default those agreed.
        """
        ours, path = self._described
        attributes = [(name, setup.value if name == "setup" else value) for name, value in ours]
        attributes += path.attributes
        attributes += self._intent.attributes
        if self.req_app is not None:
            attributes.append((REQ_APP_ATTRIBUTE, self.req_app.raw))
        media = create_data_channel_media(
            address=path.address,
            attributes=attributes,
            dcmaps=self._dcmaps.values() if dcmaps is None else dcmaps,
            bandwidth_kbps=BANDWIDTH_KBPS,
        )
        return media.rejected() if self._is_closed else media

    # --- offering ------------------------------------------------------------------------------
    async def offer(self, new: Sequence[Dcmap] = ()) -> MediaDescription:
        """Write the line for an offer, with new channels beside those agreed.

        The new channels exist from now on, since the peer may use them before its answer is here
        (RFC 8864 6.3).

        Raises:
            ConfigError: the security asked for was not registered.
            LocalProtocolError: a stream id is in use.
        """
        if not self._attributes:
            intent = dataclasses.replace(self._intent, dcmaps=tuple(new))
            self._pending = await self._backend.offer(intent, self._context)
            self._is_offerer = True
            self._attributes = self._pending.attributes
        await self._open(new)
        self._offered = self.describe(Setup.ACTPASS, [*self._dcmaps.values(), *new])
        return self._offered

    async def take_answer(
        self, answer: MediaDescription, session: SessionDescription, new: Sequence[Dcmap]
    ) -> None:
        """Act on the answer to :meth:`offer`.

        The media security is checked; channels whose dcmap is missing are refused and closed.

        Raises:
            RemoteProtocolError: the answer breaks a rule.
            SecurityError: the answer means less security than was asked for.
            NegotiationError: the peer wants another association that cannot be had.
        """
        offered = self._offered
        if offered is None:
            raise LocalProtocolError("the line was not offered", source="RFC 3264 6")
        try:
            agreed = check_answer(offered, answer, session=session, policy=self._context.policy)
        except UnsupportedByPeer:
            await self.close()
            return
        if self._pending is not None:
            self._agreement = await self._pending.agree(offered, answer, session)
            self._pending = None
        elif self._wants_restart(agreed.line, agreed.dtls_role, keeps_ice=self._path.runs_ice):
            self._restart_by_answer(agreed.line, agreed.dtls_role)
        if self._restart is None:
            self.remote = agreed.line
            self._path.take_description(
                answer, session, agreed.line.address, is_offerer=self._is_offerer
            )
        accepted = {dcmap.stream_id for dcmap in agreed.accepted}
        self._forget([dcmap for dcmap in new if dcmap.stream_id not in accepted])
        self._dcmaps |= {dcmap.stream_id: dcmap for dcmap in new if dcmap.stream_id in accepted}
        await self.close_channels(self._dcmaps.keys() - accepted)

    def forget_offer(self, new: Sequence[Dcmap]) -> None:
        """The offer was refused or taken back: the line is what it was (RFC 3261 14.1)."""
        self._forget(new)
        self._pending = None

    # --- answering -----------------------------------------------------------------------------
    async def answer(
        self,
        offer: MediaDescription,
        session: SessionDescription,
        line: DataChannelLine,
        accepted: Sequence[Dcmap],
    ) -> MediaDescription:
        """Write the answer to an offered line.

        Open channels that the offer no longer has are closed (RFC 8864 6.6.1).

        Args:
            offer: the offered media description.
            session: the offer it stands in.
            line: what ``check_offer`` read in it.
            accepted: new channels that are taken.

        Raises:
            RemoteProtocolError: the offer breaks a rule.
            SecurityError: the offer carries no usable fingerprint.
            NegotiationError: the peer wants another association that cannot be had.
        """
        if self._agreement is None:
            intent = dataclasses.replace(self._intent, dcmaps=tuple(accepted))
            self._attributes, self._agreement = await self._backend.answer(
                offer, session, intent, self._context
            )
        else:
            in_force = Setup.ACTIVE if self._agreement_role == "client" else Setup.PASSIVE
            setup = decide_setup(line.setup, in_force=in_force)
            role = dtls_role(line.setup, setup, is_offerer=False)
            if self._wants_restart(line, role, keeps_ice=self._path.keeps_ice(offer, session)):
                await self._restart_by_offer(offer, session, line, accepted)
        if self._restart is None:
            self.remote = line
            self._path.take_description(offer, session, line.address, is_offerer=self._is_offerer)
        await self._open(accepted)
        self._dcmaps |= {dcmap.stream_id: dcmap for dcmap in accepted}
        offered = {dcmap.stream_id for dcmap in line.channels}
        await self.close_channels(self._dcmaps.keys() - offered)
        agreement = self._agreement if self._restart is None else self._restart.agreement
        is_client = agreement is not None and agreement.parameters.dtls_role == "client"
        return self.describe(Setup.ACTIVE if is_client else Setup.PASSIVE)

    @property
    def _agreement_role(self) -> DtlsRole | None:
        return None if self._agreement is None else self._agreement.parameters.dtls_role

    def _wants_restart(self, line: DataChannelLine, role: DtlsRole, *, keeps_ice: bool) -> bool:
        """Tell whether the peer wants a new DTLS association, and drop one not begun yet.

        Raises:
            NegotiationError: it wants one that cannot be had.
        """
        self.forget_restart()
        old = self.remote
        if old is None:
            return False
        reason = restart_reason(old, self._agreement_role, line, role)
        if reason is None:
            return False
        is_able = self._services.engine.flags.restart
        check_restartable(is_able=is_able, keeps_ice=keeps_ice)
        logger.info("line=%s:%d new DTLS association: %s", *self.address, reason)
        return True

    async def _restart_by_offer(
        self,
        offer: MediaDescription,
        session: SessionDescription,
        line: DataChannelLine,
        accepted: Sequence[Dcmap],
    ) -> None:
        """Answer with a new port and tls-id, so that old and new packets can be told apart.

        With ICE that is a new session, whose checks begin here (RFC 8842 6).
        """
        path = await self._bind(self._services)
        try:
            intent = dataclasses.replace(self._intent, dcmaps=tuple(accepted))
            context = dataclasses.replace(self._context, local_address=path.address)
            attributes, agreement = await self._backend.answer(offer, session, intent, context)
            is_controlling = self._path.is_controlling
            path.take_description(offer, session, line.address, is_offerer=is_controlling)
        except BaseException:
            path.close()
            raise
        self._restart = LineRestart(
            path=path, attributes=attributes, agreement=agreement, remote=line
        )

    def _restart_by_answer(self, line: DataChannelLine, role: DtlsRole) -> None:
        """Go along with a peer that moved to another port; with ICE that cannot be (RFC 8842 6)."""
        self._restart = LineRestart(
            agreement=agreement_after_answer(
                self._agreement, self._intent, self.remote, line, role
            ),
            path=self._path.fork(),
            attributes=self._attributes,
            remote=line,
        )

    def forget_restart(self) -> None:
        """A new association that was agreed on does not come about after all."""
        restart, self._restart = self._restart, None
        if restart is not None:
            restart.path.close()

    # --- running -------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin the handshake, the first or a new one, once offer and answer are through."""
        restart, self._restart = self._restart, None
        if restart is not None:
            self._path, self._attributes = restart.path, restart.attributes
            self._agreement, self.remote = restart.agreement, restart.remote
            report = self._association.report
            self._association.report = report_during_restart(report, restart.agreement)
            self._association.restart(restart.path.path, restart.agreement.parameters)
            return
        agreement = self._agreement
        if agreement is None:
            raise LocalProtocolError("the line is not agreed", source="RFC 8842 5.3")
        self._association.report = SecurityReport(
            scope=agreement.scope,
            backend=self._backend.name,
            signalling=self._context.signalling,
            local_fingerprint=str(self._context.certificate.fingerprint),
            reason=agreement.reason,
        )
        self._association.start(agreement.parameters)

    def set_asserted_identity(self, identity: str | None) -> None:
        """Say who the network asserts the peer to be."""
        report = self._association.report
        if report.scope is not SecurityScope.E2DCE:
            self._association.report = dataclasses.replace(report, asserted_identity=identity)

    async def _open(self, dcmaps: Iterable[Dcmap]) -> None:
        """Make channels; a closing one of the same id first ends (RFC 8831 6.7)."""
        in_use = self.channels
        for stream_id in self._dcmaps.keys() - in_use.keys():
            del self._dcmaps[stream_id]
        for dcmap in dcmaps:
            if dcmap.stream_id in in_use:
                raise LocalProtocolError(
                    f"stream id {dcmap.stream_id} is in use", source="RFC 8864 6.1"
                )
            old = self._channels.get(dcmap.stream_id)
            if old is not None:
                await close_quietly(old)
            self._channels[dcmap.stream_id] = self._association.open_channel(
                channel_parameters(dcmap)
            )

    def _forget(self, dcmaps: Iterable[Dcmap]) -> None:
        for dcmap in dcmaps:
            self._dcmaps.pop(dcmap.stream_id, None)
            channel = self._channels.pop(dcmap.stream_id, None)
            if channel is not None:
                channel.remote_reset()  # whoever never agreed to it has no direction to close
                channel.abort()

    async def close_channels(self, stream_ids: Iterable[int]) -> None:
        """Close channels that offer or answer no longer has (RFC 8864 6.6.1)."""
        for stream_id in list(stream_ids):
            self._dcmaps.pop(stream_id, None)
            channel = self._channels.pop(stream_id, None)
            if channel is not None:
                await close_quietly(channel)

    async def close(self, timeout_s: float = 2.0) -> None:
        """End the association and the path; the line's port is 0 from now on. Idempotent."""
        self._is_closed = True
        self._dcmaps.clear()
        self._channels.clear()
        self.forget_restart()
        await self._association.aclose(timeout_s)
        self._path.close()


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A media line of the peer that this side never takes part in."""

    description: MediaDescription

    @classmethod
    def of(cls, offer: MediaDescription) -> RefusedLine:
        """Refuse an offered line with port 0 (RFC 3264 6)."""
        return cls(offer.rejected())
