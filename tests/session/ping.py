"""A medium of a third party: datagrams on DTLS with a key of the exporter, asked and answered."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dcsdk import hookimpl
from dcsdk.errors import NegotiationError, TransportError
from dcsdk.interfaces import (
    DatagramTransport,
    LineBase,
    LineMedia,
    LineServices,
    MediaBody,
    MediaIntent,
    MediaType,
    PacketReceiver,
    RequestId,
    Review,
    SecureTransport,
    SecurityBackend,
)
from dcsdk.plugins.security.dtls_sctp import DtlsSctpBackend
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription

KEY_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(MediaIntent):
    """A line of pings.

    Attributes:
        word: what answers say.
    """

    kind: ClassVar[str] = "ping"
    word: str = "pong"


class PingLine(LineMedia[str], PacketReceiver):
    """One line: ``ask`` gives what the other side answers."""

    kind: ClassVar[str] = "ping"

    def __init__(self, intent: Ping, services: LineServices) -> None:
        self.word = intent.word
        self.services = services
        self.forgotten: list[str] = []
        self.remote_word = ""
        self.is_closed = False
        self._transport: DatagramTransport | None = None
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()

    @property
    def app(self) -> PingLine:
        return self

    def key(self) -> bytes:
        """A key that both ends derive from the handshake."""
        assert self._transport is not None
        return self._transport.export_keying_material(b"EXPORTER-ping", KEY_BYTES)

    async def ask(self) -> str:
        if self._transport is None:
            raise TransportError("not agreed")
        assert self._transport.send([b"?" + self.key()]) == 1
        return (await self._answers.get()).decode()

    async def say(self, word: str) -> None:
        """Answer with another word from now on, by re-INVITE."""

        async def make() -> str:
            return word

        await self.services.change(make)

    # --- LineMedia -----------------------------------------------------------------------------
    def review(self, offer: MediaDescription, session: SessionDescription) -> Review:
        return Review(value=offer.get("word") or "")

    async def choose(self, review: Review, taken: Collection[RequestId], base: LineBase) -> str:
        if review.value == "impossible":
            raise NegotiationError("no such word")
        self.offered_word = review.value
        return self.word

    def describe(self, base: LineBase, change: str | None) -> MediaBody:
        word = self.word if change is None else change
        return MediaBody(
            media="application", proto="X-PING", formats=("ping",), attributes=(("word", word),)
        )

    def accept(
        self,
        offer: MediaDescription,
        answer: MediaDescription,
        session: SessionDescription,
        change: str | None,
    ) -> str:
        self.offered_word = answer.get("word") or ""
        return self.word if change is None else change

    def commit(self, change: str, transport: SecureTransport | None) -> None:
        self.word, self.remote_word = change, self.offered_word
        if self._transport is None and isinstance(transport, DatagramTransport):
            self._transport = transport
            transport.attach(self)

    def forget(self, change: str) -> None:
        self.forgotten.append(change)

    def stats(self) -> Any:
        return {} if self._transport is None else self._transport.stats()

    async def aclose(self, timeout_s: float = 2.0) -> None:
        self.is_closed = True

    # --- PacketReceiver ------------------------------------------------------------------------
    def packets_received(self, packets: Sequence[bytes]) -> None:
        for packet in packets:
            if packet[:1] == b"?":
                assert packet[1:] == self.key() and self._transport is not None
                self._transport.send([b"!" + self.word.encode()])
            else:
                self._answers.put_nowait(packet[1:])

    def transport_established(self) -> None: ...

    def transport_writable(self) -> None: ...

    def transport_closed(self, error: Exception | None) -> None: ...


class PingType(MediaType):
    name: ClassVar[str] = "ping"

    def matches(self, media: MediaDescription) -> bool:
        return media.proto.upper().endswith("X-PING")

    def intent_for(self, offer: MediaDescription, wanted: MediaIntent | None) -> MediaIntent:
        return wanted or Ping()

    def create(self, intent: MediaIntent, services: LineServices) -> PingLine:
        assert isinstance(intent, Ping)
        return PingLine(intent, services)


class DtlsPing(DtlsSctpBackend):
    """DTLS with fingerprints for pings."""

    name: ClassVar[str] = "dtls_ping"
    media_kinds: ClassVar[frozenset[str] | None] = frozenset({"ping"})

    def proto(self, base: str) -> str:
        return f"UDP/TLS/{base}"

    def recognises(self, offer: MediaDescription, session: SessionDescription) -> bool:
        return offer.proto.upper() == "UDP/TLS/X-PING"


class PingPlugin:
    @hookimpl
    def dcsdk_media_types(self) -> list[type[MediaType]]:
        return [PingType]

    @hookimpl
    def dcsdk_security_backends(self) -> list[type[SecurityBackend]]:
        return [DtlsPing]
