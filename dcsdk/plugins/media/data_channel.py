"""The medium ``data_channel``: SCTP on a datagram transport, channels agreed by dcmap.

Channels are added and removed by re-INVITE (RFC 8864 6); a channel of our own offer exists before
the answer, since the peer may use it at once (RFC 8864 6.3).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, ClassVar

from dcsdk.datachannel.channel import DataChannel, close_quietly
from dcsdk.datachannel.line import DATA_CHANNEL, DataChannels, LineRole
from dcsdk.datachannel.request import ChannelRequest
from dcsdk.errors import (
    ConfigError,
    LocalProtocolError,
    NegotiationError,
    ParseError,
    RemoteProtocolError,
    TransportError,
    UnsupportedByNetwork,
    UnsupportedByPeer,
)
from dcsdk.ims.feature_tags import contact_features
from dcsdk.interfaces.association import ChannelAssociation, SctpParameters
from dcsdk.interfaces.capabilities import Capabilities
from dcsdk.interfaces.carriers import CarrierKind, ProtocolEndpoint
from dcsdk.interfaces.channel import ChannelParameters, ChannelState
from dcsdk.interfaces.media import (
    LineBase,
    LineMedia,
    LineServices,
    MediaBody,
    MediaIntent,
    MediaParts,
    MediaType,
    RequestId,
    Review,
)
from dcsdk.interfaces.paths import Address
from dcsdk.interfaces.stats import AssociationStats, PathStats
from dcsdk.interfaces.transports import DatagramTransport, SecureTransport
from dcsdk.interfaces.values import Attributes
from dcsdk.io.tasks import TaskSet
from dcsdk.sdp.broken import remote_error
from dcsdk.sdp.data_channel import (
    BOOTSTRAP_STREAM_IDS,
    ChannelsDescription,
    LinePolicy,
    read_channels,
)
from dcsdk.sdp.dcmap import MAX_STREAM_ID, Dcmap, Dcsa
from dcsdk.sdp.ims_attributes import REQ_APP_ATTRIBUTE, ReqApp
from dcsdk.sdp.lines import Bandwidth
from dcsdk.sdp.media import DATA_CHANNEL_FORMAT, MediaDescription
from dcsdk.sdp.offer_answer import channel_attributes, check_data_channel_order
from dcsdk.sdp.session import SessionDescription
from dcsdk.security import SecurityReport

logger = logging.getLogger(__name__)

BANDWIDTH_KBPS = 500
"""Cores insist on ``b=AS``; the figure is that of TS 26.114 A.17."""


class StreamIds:
    """The stream ids of one session: that of a new channel is free on every line."""

    def __init__(self) -> None:
        self.lines: list[ChannelsOfLine] = []
        self._fresh_id = 0  # neither this stream id nor any above it was given up lately

    def take(self, first: int, count: int) -> list[int]:
        """Choose ids of channels that we ask for.

        Args:
            first: the lowest id to take, 0..65534.
            count: how many.

        Raises:
            LocalProtocolError: every id is in use.
        """
        used = {stream_id for line in self.lines for stream_id in line.reserved}
        found: list[int] = []
        end = MAX_STREAM_ID + 1
        for stream_id in chain(range(max(first, self._fresh_id), end), range(first, end)):
            if len(found) == count:
                return found
            if stream_id not in used:
                found.append(stream_id)
                used.add(stream_id)
        if len(found) == count:
            return found
        raise LocalProtocolError("every stream id is in use", source="RFC 8864 6.1")

    def give_up(self, stream_id: int) -> None:
        """Take an id again only when those above it had their turn.

        Its stream is still being reset (RFC 8831 6.7), or the peer, which never had a channel on
        it, has noted a reset for the one that may come.
        """
        self._fresh_id = stream_id + 1


@dataclass(slots=True, kw_only=True)
class ChannelChange:
    """What one offer and its answer change on a line.

    Attributes:
        new: channels that are added; those of an offer of ours that the answer left out are not.
        attributes: of the protocols on them, ours, by stream id.
        agreed: what the protocols made of offer and answer, by stream id.
        kept: ids of channels that the peer's description still has; ``None`` for all.
        opened: channels that exist already, by stream id.
        remote: what the peer's description says.
    """

    new: tuple[Dcmap, ...] = ()
    attributes: dict[int, Attributes] = field(default_factory=dict)
    agreed: dict[int, Any] = field(default_factory=dict)
    kept: frozenset[int] | None = None
    opened: dict[int, DataChannel] = field(default_factory=dict)
    remote: ChannelsDescription | None = None


class DataChannelType(MediaType):
    """Lines ``m=application ... UDP/DTLS/SCTP webrtc-datachannel``."""

    name: ClassVar[str] = DATA_CHANNEL

    def __init__(self, parts: MediaParts) -> None:
        super().__init__(parts)
        config = parts.config
        try:
            engine_class = parts.engines[config.engine]
        except KeyError:
            known = ", ".join(sorted(parts.engines)) or "none"
            raise ConfigError(
                f"no association engine called {config.engine!r} is loaded (loaded: {known})"
            ) from None
        if engine_class.flags.owns_dtls:
            raise ConfigError(
                f"the association engine {config.engine!r} brings a DTLS of its own, and a "
                "client's lines need one that runs on theirs"
            )
        self.engine = engine_class()
        self.profile = config.profile
        self.policy = config.profile.line_policy()

    def matches(self, media: MediaDescription) -> bool:
        """Data channels over UDP or TCP."""
        return media.is_data_channel

    def intent_for(self, offer: MediaDescription, wanted: MediaIntent | None) -> MediaIntent:
        """Bootstrap when every channel has a bootstrap id (TS 26.114 Table 6.2.10.1-2)."""
        req_app = self.profile.req_app(offer)
        known = wanted if isinstance(wanted, DataChannels) else DataChannels()
        return replace(
            known,
            channels=(),
            bootstrap=_is_bootstrap(offer, self.policy),
            app_id=None if req_app is None else req_app.app_id,
        )

    def create(self, intent: MediaIntent, services: LineServices) -> ChannelsOfLine:
        """Make the channels of a line."""
        if not isinstance(intent, DataChannels):
            raise ConfigError(f"expected DataChannels, not {type(intent).__name__}")
        return ChannelsOfLine(self, intent, services)

    # --- what IMS wants of data channels ---------------------------------------------------------
    def contact_features(self, capabilities: Capabilities | None) -> Mapping[str, str | None]:
        """No app-subtype tag towards a network without data channels (TS 23.228 AC)."""
        is_allowed = self.parts.config.dc_allowed
        if capabilities is not None:
            is_allowed = is_allowed and capabilities.data_channel.is_network
        return contact_features(data_channel=is_allowed)

    def check_offerable(self, capabilities: Capabilities) -> None:
        """Data channels may be offered: configured so, and the network can (TS 23.228 AC)."""
        if not self.parts.config.dc_allowed:
            raise ConfigError("dc_allowed is off", source="TS 24.275 IMS_DC_configuration")
        if not capabilities.data_channel.is_network:
            raise UnsupportedByNetwork(
                "the network did not announce g.3gpp.datachannel at registration",
                source="TS 23.228 AC",
            )

    def check_offer(self, offer: SessionDescription) -> None:
        """No data channel line precedes the first speech line (E16, TS 26.114 6.2.10.1)."""
        check_data_channel_order(
            offer.media, allow_standalone_dc=self.parts.config.allow_standalone_dc
        )


def _is_bootstrap(offer: MediaDescription, policy: LinePolicy) -> bool:
    try:
        channels = read_channels(offer, policy).channels
    except (ParseError, RemoteProtocolError):
        return False  # the line will be refused, for that reason
    return all(dcmap.stream_id in BOOTSTRAP_STREAM_IDS for dcmap in channels)


class ChannelsOfLine(LineMedia[ChannelChange]):
    """The channels of one line, and the association they run on.

    Also what the program gets: see :class:`dcsdk.datachannel.line.ChannelLine`.

    Args:
        medium: of the client.
        intent: what is wanted.
        services: of the line.
    """

    kind: ClassVar[str] = DATA_CHANNEL

    def __init__(
        self, medium: DataChannelType, intent: DataChannels, services: LineServices
    ) -> None:
        self._medium = medium
        self._profile = medium.profile
        self._services = services
        self._ids = services.shared(StreamIds)
        self.role = LineRole.BOOTSTRAP if intent.bootstrap else LineRole.APPLICATION
        self.app_id = intent.app_id
        self._req_app: ReqApp | None = None
        if intent.app_id is not None:
            self._req_app = self._profile.format_req_app(intent.app_id)
        self._address: Address = ("", 0)
        self._channels: dict[int, DataChannel] = {}
        self._dcmaps: dict[int, Dcmap] = {}
        self._attributes: dict[int, Attributes] = {}
        self._agreed: dict[int, Any] = {}
        self._pending: set[int] = set()
        self._association: ChannelAssociation | None = None
        self._sctp_port = 0
        self._tasks = TaskSet("data channels")
        self._is_closed = False
        self._first = ChannelChange()
        if self.role is LineRole.APPLICATION:
            self._first.new = self._numbered(intent.channels)
        else:
            ids = self._profile.bootstrap_local_ids
            self._first.new = tuple(Dcmap(stream_id=n, subprotocol="http") for n in ids)
        self._pending |= {dcmap.stream_id for dcmap in self._first.new}
        self._ids.lines.append(self)

    # --- what the program sees -------------------------------------------------------------------
    @property
    def app(self) -> ChannelsOfLine:
        """The channels of the line."""
        return self

    @property
    def security(self) -> SecurityReport:
        """What protects the line.

        Raises:
            TransportError: it is not agreed.
        """
        if self._association is None:
            raise TransportError("the line is not agreed")
        return self._association.report

    @property
    def is_closed(self) -> bool:
        """The line is refused, removed or lost."""
        return self._is_closed

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
    def stream_ids(self) -> tuple[int, ...]:
        """The stream ids of the channels in use, in order."""
        return tuple(sorted(self.channels))

    @property
    def reserved(self) -> set[int]:
        """Stream ids that a new channel of the session cannot have."""
        return {*self.channels, *self._pending}

    async def open(self, channels: Sequence[ChannelParameters]) -> list[DataChannel]:
        """Add channels by one re-offer (TS 24.186 9.3.2.2.2).

        Args:
            channels: without stream ids: the session chooses them.

        Raises:
            UnsupportedByPeer: one of them is refused; the others are closed again.
            CallRejected: the re-offer was refused; the line stays as it was.
        """
        ids: list[int] = []

        async def make() -> ChannelChange:
            change = ChannelChange(new=self._numbered(channels))
            ids[:] = [dcmap.stream_id for dcmap in change.new]
            await self._vacate(ids)
            self._pending |= set(ids)
            for dcmap in change.new:
                change.opened[dcmap.stream_id] = self._make(dcmap)
            return change

        await self._services.change(make)
        found = self.channels
        refused = [stream_id for stream_id in ids if stream_id not in found]
        if refused or self._is_closed:
            for stream_id in ids:
                if stream_id in found:
                    await close_quietly(found[stream_id])
            raise UnsupportedByPeer(
                f"the other side refused channel {', '.join(map(str, refused or ids))}",
                source="RFC 8864 6.4",
            )
        return [found[stream_id] for stream_id in ids]

    def start_protocol(self, channel: DataChannel, *, is_opener: bool) -> Any:
        """Run the application protocol of a channel, or return the bare channel."""
        protocol = self._medium.parts.protocols.get(channel.subprotocol)
        if protocol is None:
            return channel
        agreed = self._agreed.get(channel.stream_id)
        return protocol.start(channel, agreed, is_opener=is_opener)

    def _numbered(self, channels: Sequence[ChannelParameters]) -> tuple[Dcmap, ...]:
        ids = self._ids.take(self._profile.first_application_stream_id, len(channels))
        return tuple(
            Dcmap(
                stream_id=stream_id,
                subprotocol=wanted.subprotocol,
                label=wanted.label,
                is_ordered=wanted.is_ordered,
                max_retr=wanted.max_retr,
                max_time_ms=wanted.max_time_ms,
                priority=wanted.priority,
            )
            for wanted, stream_id in zip(channels, ids, strict=True)
        )

    # --- the peer's description ------------------------------------------------------------------
    def review(self, offer: MediaDescription, session: SessionDescription) -> Review:
        """Sort the channels of an offer: bootstrap ones are granted, others are asked for.

        Raises:
            RemoteProtocolError: the line breaks a rule.
        """
        if offer.sctp_port == 0:
            return Review(is_refused=True)  # the offer ends the line (E14)
        line = read_channels(offer, self._medium.policy)
        in_use = self.channels
        new = [dcmap for dcmap in line.channels if dcmap.stream_id not in in_use]
        is_asked = self.role is LineRole.APPLICATION
        return Review(
            requests={d.stream_id: ChannelRequest(d, self) for d in new} if is_asked else {},
            granted=frozenset() if is_asked else frozenset(d.stream_id for d in new),
            refusals=tuple(refusal.reason for refusal in line.refused),
            is_refused=self._association is None and not new,
            value=line,
        )

    async def choose(
        self, review: Review, taken: Collection[RequestId], base: LineBase
    ) -> ChannelChange:
        """Take channels of an offer; those that it no longer has are closed (RFC 8864 6.6.1).

        Raises:
            NegotiationError: the peer wants a new SCTP association.
        """
        line: ChannelsDescription = review.value
        self._check_port(line)
        change = ChannelChange(remote=line)
        change.kept = frozenset(dcmap.stream_id for dcmap in line.channels)
        new: list[Dcmap] = []
        for dcmap in line.channels:
            if dcmap.stream_id not in taken or dcmap.stream_id in self.channels:
                continue
            try:
                self._answer_protocol(dcmap, line, base, change)
            except (NegotiationError, ParseError) as exc:
                logger.info("stream=%d refused: %s", dcmap.stream_id, exc)
                continue
            new.append(dcmap)
        change.new = tuple(new)
        await self._vacate([dcmap.stream_id for dcmap in new])
        return change

    def _answer_protocol(
        self, dcmap: Dcmap, line: ChannelsDescription, base: LineBase, change: ChannelChange
    ) -> None:
        protocol = self._medium.parts.protocols.get(dcmap.subprotocol)
        if protocol is not None:
            offered = line.attributes_of(dcmap.stream_id)
            ours = protocol.answer(offered, _endpoint(base, dcmap))
            change.agreed[dcmap.stream_id] = protocol.agree(offered, ours)
            change.attributes[dcmap.stream_id] = ours

    def _check_port(self, line: ChannelsDescription) -> None:
        if self._association is not None and line.sctp_port != self._sctp_port:
            raise NegotiationError(
                "the peer wants a new SCTP association on a line that has one",
                source="RFC 8841 9.3",
            )

    def accept(
        self,
        offer: MediaDescription,
        answer: MediaDescription,
        session: SessionDescription,
        change: ChannelChange | None,
    ) -> ChannelChange:
        """Check the answer: channels whose dcmap is missing are refused (RFC 8864 6.4).

        Raises:
            UnsupportedByPeer: it refuses the SCTP association (D11).
            RemoteProtocolError: it breaks a rule.
            NegotiationError: the peer wants a new SCTP association.
        """
        try:
            if answer.sctp_port == 0:
                raise UnsupportedByPeer(
                    "the peer refused the SCTP association", source="RFC 8841 9.3"
                )
            line = read_channels(answer, self._medium.policy, offer=offer)
        except ParseError as exc:
            raise remote_error(exc) from exc
        self._check_port(line)
        asked = change or (self._first if self._association is None else ChannelChange())
        result = ChannelChange(remote=line, opened=dict(asked.opened))
        answered = {dcmap.stream_id for dcmap in line.channels}
        result.kept = frozenset(answered)
        new: list[Dcmap] = []
        for dcmap in asked.new:
            if dcmap.stream_id not in answered:
                continue
            protocol = self._medium.parts.protocols.get(dcmap.subprotocol)
            ours = asked.attributes.get(dcmap.stream_id, ())
            if protocol is not None:
                try:
                    result.agreed[dcmap.stream_id] = protocol.agree(
                        ours, line.attributes_of(dcmap.stream_id)
                    )
                except (NegotiationError, ParseError) as exc:
                    logger.info("stream=%d not agreed: %s", dcmap.stream_id, exc)
                    continue
            result.attributes[dcmap.stream_id] = ours
            new.append(dcmap)
        result.new = tuple(new)
        return result

    # --- our description -------------------------------------------------------------------------
    def describe(self, base: LineBase, change: ChannelChange | None) -> MediaBody:
        """Write the channels in use and those that are new."""
        if change is None:
            change = self._first if self._association is None else ChannelChange()
        in_use = self.channels
        channels = {
            stream_id: dcmap
            for stream_id, dcmap in self._dcmaps.items()
            if stream_id in in_use and (change.kept is None or stream_id in change.kept)
        }
        for dcmap in change.new:
            channels[dcmap.stream_id] = dcmap
            protocol = self._medium.parts.protocols.get(dcmap.subprotocol)
            if base.is_offer and protocol is not None:
                change.attributes[dcmap.stream_id] = protocol.describe(_endpoint(base, dcmap))
        attributes: list[tuple[str, str | None]] = [
            ("sctp-port", str(self._profile.sctp_port)),
            ("max-message-size", str(self._profile.max_message_size)),
        ]
        if self._req_app is not None:
            attributes.append((REQ_APP_ATTRIBUTE, self._req_app.raw))
        known = self._attributes | change.attributes
        scoped = [
            Dcsa(stream_id=stream_id, attribute=name if value is None else f"{name}:{value}")
            for stream_id in channels
            for name, value in known.get(stream_id, ())
        ]
        attributes += [
            (entry.name, entry.value) for entry in channel_attributes(channels.values(), scoped)
        ]
        return MediaBody(
            media="application",
            proto="SCTP",
            formats=(DATA_CHANNEL_FORMAT,),
            attributes=tuple(attributes),
            bandwidths=(Bandwidth(type="AS", value=BANDWIDTH_KBPS),),
        )

    # --- taking effect ---------------------------------------------------------------------------
    def commit(self, change: ChannelChange, transport: SecureTransport | None) -> None:
        """Open the channels that were agreed, and close those that either side left out."""
        if self._association is None and change.remote is not None:
            self._start(transport, change.remote)
        self._pending.clear()
        kept = {dcmap.stream_id for dcmap in change.new}
        for dcmap in change.new:
            channel = change.opened.pop(dcmap.stream_id, None)
            self._channels[dcmap.stream_id] = channel or self._make(dcmap)
            self._dcmaps[dcmap.stream_id] = dcmap
        self._attributes |= change.attributes
        self._agreed |= change.agreed
        self._drop(change.opened)
        for stream_id in self._channels.keys() - kept:
            if change.kept is not None and stream_id not in change.kept:
                self._dcmaps.pop(stream_id, None)
                channel = self._channels.pop(stream_id)
                self._tasks.start(close_quietly(channel), name=f"closing {stream_id}")
        self._forget_first()

    def _forget_first(self) -> None:
        """Give up the ids of our first offer that came to nothing."""
        for dcmap in self._first.new:
            if dcmap.stream_id not in self._channels and self.role is LineRole.APPLICATION:
                self._ids.give_up(dcmap.stream_id)
        self._first = ChannelChange()

    def _start(self, transport: SecureTransport | None, remote: ChannelsDescription) -> None:
        if not isinstance(transport, DatagramTransport):
            raise LocalProtocolError("data channels need a datagram transport", source="RFC 8831")
        association = self._medium.engine.attach(transport, self._medium.parts.settings)
        self._association, self._sctp_port = association, remote.sctp_port
        association.start(
            SctpParameters(
                local_port=self._profile.sctp_port,
                remote_port=remote.sctp_port,
                local_max_message_size=self._profile.max_message_size,
                remote_max_message_size=remote.max_message_size,
            )
        )

    def forget(self, change: ChannelChange) -> None:
        """The offer was refused or taken back: the line is what it was (RFC 3261 14.1)."""
        self._pending.clear()
        self._drop(change.opened)
        for dcmap in change.new:
            self._ids.give_up(dcmap.stream_id)

    def _drop(self, opened: dict[int, DataChannel]) -> None:
        for stream_id, channel in opened.items():
            channel.remote_reset()  # whoever never agreed to it has no direction to close
            channel.abort()
            self._ids.give_up(stream_id)
        opened.clear()

    def _make(self, dcmap: Dcmap) -> DataChannel:
        if self._association is None:
            raise TransportError("the line is not agreed")
        channel: DataChannel = self._association.open_channel(
            ChannelParameters(
                stream_id=dcmap.stream_id,
                label=dcmap.label,
                subprotocol=dcmap.subprotocol,
                is_ordered=dcmap.is_ordered,
                max_retr=dcmap.max_retr,
                max_time_ms=dcmap.max_time_ms,
                priority=dcmap.priority,
                is_negotiated=True,
            )
        )
        return channel

    async def _vacate(self, stream_ids: Iterable[int]) -> None:
        """Wait until closing channels of these ids have ended (RFC 8831 6.7)."""
        in_use = self.channels
        for stream_id in stream_ids:
            old = self._channels.get(stream_id)
            if old is not None and stream_id not in in_use:
                del self._channels[stream_id]
                await close_quietly(old)

    # --- life ------------------------------------------------------------------------------------
    async def wait_ready(self, timeout_s: float) -> None:
        """Wait until SCTP is up."""
        if self._association is not None:
            await self._association.wait_established(timeout_s)

    async def wait_closed(self, transport: SecureTransport) -> Exception | None:
        """Wait for the end of the association, which is in order only by SCTP's SHUTDOWN."""
        if self._association is None:
            return await transport.wait_closed()
        return await self._association.wait_closed()

    def stats(self) -> AssociationStats:
        """What the association and its channels did so far."""
        if self._association is None:
            return AssociationStats(path=PathStats())
        return self._association.stats()

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Flush and end the association. Idempotent and bounded."""
        self._is_closed = True
        self._forget_first()
        self._dcmaps.clear()
        self._channels.clear()
        self._pending.clear()
        if self in self._ids.lines:
            self._ids.lines.remove(self)
        if self._association is not None:
            await self._association.aclose(timeout_s)
        await self._tasks.aclose()


def _endpoint(base: LineBase, dcmap: Dcmap) -> ProtocolEndpoint:
    return ProtocolEndpoint(
        carrier=CarrierKind.MESSAGE,
        address=base.address,
        is_secure=True,
        stream_id=dcmap.stream_id,
    )
