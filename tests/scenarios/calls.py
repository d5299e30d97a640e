"""What the scenarios share: UEs whose media is watched, calls that are up, what was signalled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from dcsdk import (
    ChannelRequest,
    Client,
    DataChannel,
    DataChannels,
    Event,
    IncomingCall,
    Session,
    hookimpl,
)
from dcsdk.emulator import Network
from dcsdk.emulator.lab.trace import TraceEvent
from dcsdk.interfaces import AssociationEngine, ChannelAssociation, DatagramTransport
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription
from dcsdk.session.line import MediaLine
from dcsdk.session.line_paths import LinePaths
from dcsdk.session.services import SessionServices

BOB = "sip:bob@ims.example"
ALICE = "sip:alice@ims.example"


def network_with(*faults: str, **values: Any) -> pytest.MarkDecorator:
    """Have ``ims_network`` make these faults, or be configured otherwise."""
    return pytest.mark.parametrize(
        "ims_network",
        [{"faults": faults, **values}],
        indirect=True,
        ids=["+".join(faults) or ",".join(values)],
    )


class WatchedMedia:
    """Remembers every media path that a client bound, and every association it began."""

    def __init__(self) -> None:
        paths = self.associations = list[LinePaths]()
        begun = self._begun = list[ChannelAssociation]()
        self.change: Callable[[LinePaths], LinePaths] = lambda bound: bound
        self._paths = paths

        class WatchedEngine(NativeEngine):
            name: ClassVar[str] = "watched"

            def attach(
                self, transport: DatagramTransport, config: Any = None
            ) -> ChannelAssociation:
                association = super().attach(transport, config)
                begun.append(association)
                return association

        self._engine = WatchedEngine

    @hookimpl
    def dcsdk_engines(self) -> list[type[AssociationEngine]]:
        return [self._engine]

    def watch(self, client: Client) -> None:
        """Remember what the sessions of a client bind from now on."""
        new_session = client._new_session

        def watched(services: SessionServices) -> Session:
            session = new_session(services)
            bind = session._maker.bind

            def remembered(line: MediaLine) -> LinePaths:
                bound = self.change(bind(line))
                self._paths.append(bound)
                return bound

            session._maker.bind = remembered  # type: ignore[method-assign]
            return session

        client._new_session = watched  # type: ignore[method-assign]

    @property
    def bytes_sent(self) -> int:
        """Bytes that left on every media path there ever was."""
        paths = [item.paths.rtp for item in self._paths]
        return sum(path.stats()["bytes_sent"] for path in paths if path is not None)

    def bytes_sent_on(self, index: int) -> int:
        """Bytes that left on one of the paths, counted from 0."""
        path = self._paths[index].paths.rtp
        return 0 if path is None else path.stats()["bytes_sent"]

    def packets_sent_on(self, index: int) -> int:
        """SCTP packets that left on one of the associations begun, counted from 0."""
        begun = self._begun[index : index + 1]
        return sum(item.stats().packets_sent for item in begun)

    @property
    def packets_sent(self) -> int:
        """SCTP packets that left inside DTLS: 0 as long as no peer was verified."""
        return sum(item.stats().packets_sent for item in self._begun)


class Events(list[Event]):
    """What a client told, and a sign that there is more."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = asyncio.Event()

    def add(self, event: Event) -> None:
        self.append(event)
        self.arrived.set()


@dataclass
class Ue:
    """A client, its media and what it told."""

    client: Client
    media: WatchedMedia
    events: Events = field(default_factory=lambda: Events())

    async def next_call(self) -> IncomingCall:
        """The next call that comes in."""
        return await anext(self.client.incoming())

    def told(self, kind: type[Any]) -> list[Any]:
        """The events of one kind, so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def will_be_told(self, kind: type[Any]) -> Any:
        """The first event of a kind, waiting for it."""
        while not self.told(kind):
            self.events.arrived.clear()
            await self.events.arrived.wait()
        return self.told(kind)[0]


async def dial(
    alice: Ue, bob: Ue, media: Sequence[DataChannels] = (DataChannels(),)
) -> tuple[Session | BaseException, Session | BaseException | None]:
    """Alice calls, bob accepts: what each of them got; bob nothing when no call reached him."""

    async def answer() -> Session:
        return await (await bob.next_call()).accept()

    target = bob.client.config.public_identity
    calling = asyncio.create_task(alice.client.call(target, media))
    answering = asyncio.create_task(answer())
    await asyncio.wait([calling, answering], return_when=asyncio.FIRST_COMPLETED)
    if calling.done() and not list(bob.media.associations):
        answering.cancel()
    results = await asyncio.gather(calling, answering, return_exceptions=True)
    mine, theirs = results
    return mine, None if isinstance(theirs, asyncio.CancelledError) else theirs


@asynccontextmanager
async def a_call(
    alice: Ue, bob: Ue, media: Sequence[DataChannels] = (DataChannels(),)
) -> AsyncIterator[tuple[Session, Session]]:
    """A call from alice to bob that is up; both sides hang up at the end."""
    mine, theirs = await dial(alice, bob, media)
    async with AsyncExitStack() as stack:
        for end in (mine, theirs):
            if isinstance(end, Session):
                await stack.enter_async_context(end)
        for end in (mine, theirs):
            if isinstance(end, BaseException):
                raise end
        assert isinstance(mine, Session) and isinstance(theirs, Session)
        yield mine, theirs


async def next_request(session: Session) -> ChannelRequest:
    """The next channel the other side asks for."""
    return await anext(session.incoming())


async def a_channel(
    opener: Session, other: Session, subprotocol: str = "", **options: Any
) -> tuple[Any, Any]:
    """A channel that one side opens and the other accepts: both ends of it."""
    opening = asyncio.create_task(opener.open(subprotocol, **options))
    accepted = await (await next_request(other)).accept()
    return await opening, accepted


async def talk(one: DataChannel, other: DataChannel) -> None:
    """A message each way."""
    await one.send("ping")
    assert await other.receive() == "ping"
    await other.send(b"pong")
    assert await one.receive() == b"pong"


# --- what was signalled -------------------------------------------------------------------------
def messages(
    network: Network, source: str, destination: str, summary: str = ""
) -> Iterator[TraceEvent]:
    """The messages of the trace between two, whose summary begins so."""
    for event in network.trace.events:
        ends = (event.source, event.destination)
        if ends == (source, destination) and event.summary.startswith(summary):
            yield event


def line_of(event: TraceEvent, index: int = 0) -> MediaDescription:
    """One m-line of the SDP in a SIP message."""
    return SessionDescription.parse(event.data.partition(b"\r\n\r\n")[2]).media[index]


def headers_of(event: TraceEvent, name: str) -> list[str]:
    """The values of one header of a SIP message, as written."""
    head = event.data.partition(b"\r\n\r\n")[0].decode()
    rows = [line.partition(":") for line in head.split("\r\n")[1:]]
    return [value.strip() for key, _, value in rows if key.lower() == name.lower()]
