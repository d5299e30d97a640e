"""Two ends of one dialog without a dialog: descriptions are handed over by the test."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dcsdk.config import ClientConfig
from dcsdk.datachannel.channel import DataChannel, close_quietly
from dcsdk.datachannel.line import DataChannels
from dcsdk.ims.feature_tags import FeatureCaps, contact_features
from dcsdk.ims.security_policy import SecurityPolicy
from dcsdk.interfaces import (
    AssociationStats,
    Capabilities,
    ChannelParameters,
    DatagramPath,
    DtlsSctpParameters,
    Paths,
)
from dcsdk.interfaces.media import MediaParts
from dcsdk.io.secure.dtls_transport import DtlsTransport
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.plugins.lists.app_lists import HtmlListProvider
from dcsdk.plugins.media.data_channel import ChannelChange, ChannelsOfLine, DataChannelType
from dcsdk.plugins.security.dtls_sctp import DtlsSctpBackend
from dcsdk.registry import Registry
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription
from dcsdk.security import SecurityReport, SignallingSecurity
from dcsdk.session.exchange import Exchange, Keep, LinePlan, New, Outcome
from dcsdk.session.line import MediaLine, RefusedLine
from dcsdk.session.line_paths import IceMode, LinePaths
from dcsdk.session.negotiation import Negotiation
from dcsdk.session.services import LineMaker, SessionServices
from dcsdk.tls.certificate import Certificate

Changes = Mapping["EndLine", Sequence[Dcmap]]


def parameters_of(dcmap: Dcmap) -> ChannelParameters:
    """The channel that a dcmap describes, with no say in its id."""
    return ChannelParameters(label=dcmap.label, subprotocol=dcmap.subprotocol)


class EndLine:
    """A line of one end, from before it is offered."""

    def __init__(self) -> None:
        self.line: MediaLine | None = None
        self.offered: dict[int, DataChannel] = {}

    @property
    def there(self) -> MediaLine:
        assert self.line is not None
        return self.line

    @property
    def media(self) -> ChannelsOfLine:
        media = self.there.media
        assert isinstance(media, ChannelsOfLine)
        return media

    @property
    def channels(self) -> dict[int, DataChannel]:
        """Those in use, and those of an offer under way: they exist as well."""
        return {**self.media.channels, **self.offered}

    @property
    def report(self) -> SecurityReport:
        return self.there.report

    @property
    def transport(self) -> DtlsTransport:
        transport = self.there.transport
        assert isinstance(transport, DtlsTransport)
        return transport

    @property
    def address(self) -> tuple[str, int]:
        assert self.there.group is not None
        return self.there.group.paths.address

    @property
    def description(self) -> MediaDescription:
        assert self.there.description is not None
        return self.there.description

    @property
    def is_closed(self) -> bool:
        return self.line is None or self.line.is_ended

    @property
    def is_restarting(self) -> bool:
        """A new association was agreed, and ``start`` begins it."""
        group = self.there.group
        return group is not None and not group._is_started

    def start(self) -> None:
        assert self.there.group is not None
        self.there.group.start()

    def stats(self) -> AssociationStats:
        return self.media.stats()

    async def wait_established(self, timeout_s: float) -> None:
        async with asyncio.timeout(2 * timeout_s):
            await self.transport.wait_established(timeout_s)
            await self.media.wait_ready(timeout_s)

    def restart(self, path: DatagramPath, parameters: DtlsSctpParameters) -> None:
        """Move to another path as a peer does that asked for it."""
        self.transport.renew(parameters.dtls, Paths(rtp=path))
        path.set_remote(parameters.remote_address)
        self.transport.start()

    async def close(self, timeout_s: float = 2.0) -> None:
        if self.line is not None:
            await self.line.aclose(timeout_s)

    async def close_channels(self, stream_ids: Collection[int]) -> None:
        for stream_id in stream_ids:
            await close_quietly(self.channels[stream_id])


class EndNegotiation:
    """The negotiation of one end, and the offer that waits for its answer."""

    def __init__(self, end: End) -> None:
        self._end = end
        self.real = Negotiation(
            host="127.0.0.1", session_id=1, maker=end.maker, policy=end.services.policy
        )
        self._exchange: Exchange | None = None

    @property
    def lines(self) -> list[EndLine | RefusedLine]:
        return [
            slot if isinstance(slot, RefusedLine) else self._end.known(slot)
            for slot in self.real.slots
        ]

    async def offer(self, changes: Changes) -> SessionDescription:
        """Offer; an offer that was not answered is taken back."""
        await self.forget_offer(())
        plans: list[LinePlan] = []
        for line, dcmaps in changes.items():
            if line.line is None or line.line.is_ended:
                wanted = tuple(parameters_of(dcmap) for dcmap in dcmaps)
                line.line = self._end.maker.line(DataChannels(bootstrap=False, channels=wanted))
                plans.append(New(line.line))
            else:
                change = ChannelChange(new=tuple(dcmaps))
                await line.media._vacate([dcmap.stream_id for dcmap in dcmaps])
                for dcmap in dcmaps:
                    change.opened[dcmap.stream_id] = line.media._make(dcmap)
                line.offered = dict(change.opened)
                plans.append(Keep(line.line, change=change))
        self._exchange = await self.real.offer(plans)
        return self._exchange.sent()

    def bound(self, line: EndLine) -> LinePaths:
        """What the offer under way bound for a line."""
        assert self._exchange is not None
        found = [step.paths for step in self._exchange.steps if step.line is line.line]
        assert found[0] is not None
        return found[0]

    async def take_answer(self, answer: SessionDescription, changes: Changes) -> list[EndLine]:
        exchange, self._exchange = self._exchange, None
        for line in self._end.made:
            line.offered = {}
        assert exchange is not None
        try:
            outcome = await self.real.take_answer(exchange, answer)
        except BaseException:
            await exchange.rollback()
            raise
        return await self._end.happened(outcome)

    async def forget_offer(self, changes: Collection[EndLine]) -> list[EndLine]:
        """Take the offer back; return the lines that were new in it."""
        exchange, self._exchange = self._exchange, None
        for line in self._end.made:
            line.offered = {}
        if exchange is not None:
            await exchange.rollback()
        return [line for line in changes if line.is_closed]


class End:
    """One side: a negotiation and what makes its lines."""

    def __init__(
        self, ice: IceMode = "off", *, config: EngineConfig | None = None, dc_allowed: bool = True
    ) -> None:
        self.ice = ice
        settings = config or EngineConfig()
        client = ClientConfig(
            public_identity="sip:x@ims.example",
            signalling="memory",
            allow_standalone_dc=True,
            ice=ice,
            dc_allowed=dc_allowed,
        )
        parts = MediaParts(
            config=client,
            settings=settings,
            protocols={},
            engines={"native": NativeEngine},
            list_providers={},
        )
        features = contact_features(data_channel=True)
        capabilities = Capabilities.from_registration(
            (), (), FeatureCaps.parse("*;+g.3gpp.datachannel"), features
        )
        self.services = SessionServices(
            config=client,
            registry=Registry.load(),
            settings=settings,
            media_types={DataChannelType.name: DataChannelType(parts)},
            backends=[DtlsSctpBackend()],
            protocols={},
            provider=HtmlListProvider(),
            policy=SecurityPolicy(client.profile),
            certificate=Certificate.generate(),
            signalling=SignallingSecurity.TLS,
            local_host="127.0.0.1",
            capabilities=lambda: capabilities,
            on_event=lambda event: None,
        )
        self.maker = LineMaker(self.services, on_change=_nothing, on_replace=_nothing)
        self.negotiation = EndNegotiation(self)
        self.made: list[EndLine] = []

    def known(self, line: MediaLine) -> EndLine:
        for made in self.made:
            if made.line is line:
                return made
        made = EndLine()
        made.line = line
        self.made.append(made)
        return made

    async def line(self) -> EndLine:
        line = EndLine()
        self.made.append(line)
        return line

    async def happened(self, outcome: Outcome) -> list[EndLine]:
        """Close what ended; return the lines that are to be started."""
        for ended in outcome.ended:
            await ended.aclose(2.0)
        lines = [line for line in self.negotiation.real.lines if line.group in outcome.started]
        return [self.known(line) for line in lines]

    async def prepare(self, offer: SessionDescription, *, take: set[int] | None = None) -> Exchange:
        """Prepare an answer that takes all channels offered, or those of ``take``."""
        real = self.negotiation.real
        offered = await real.review(offer)
        taken: dict[int, Collection[Any]] = {}
        for item in offered:
            if item.line is None or item.review is None:
                continue
            asked = {*item.review.requests, *item.review.granted}
            wanted = asked if take is None else asked & take
            if not item.is_new or wanted:
                taken[item.index] = wanted
        return await real.answer(offered, offer, taken)

    async def answer(
        self, offer: SessionDescription, *, take: set[int] | None = None
    ) -> SessionDescription:
        """Answer and start the lines."""
        exchange = await self.prepare(offer, take=take)
        answer = exchange.sent()
        for line in await self.happened(await self.negotiation.real.commit_answer(exchange)):
            line.start()
        return answer

    async def aclose(self, timeout_s: float = 2.0) -> None:
        await self.negotiation.forget_offer(())
        for made in self.made:
            await made.close(timeout_s)


async def _nothing(*_: Any) -> Any:
    raise AssertionError("no medium asks for anything here")
