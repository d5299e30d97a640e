"""Two associations on a virtual clock, joined by links that lose, delay, reorder and corrupt.

No time passes in reality. Everything a link does is decided by a seeded generator, so a schedule
that fails can be repeated.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from dcsdk.sctp import SctpAssociation, SctpConfig
from dcsdk.sctp.base.events import AssociationEvent, MessageReceived
from dcsdk.sctp.wire.chunks import Chunk, decode_chunk
from dcsdk.sctp.wire.packet import Seal, iterate_chunks

MAX_STEPS = 200_000
"""Rounds after which a run counts as stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What one direction does to packets.

    Attributes:
        delay_s: one way.
        jitter_s: up to this much more, which reorders.
        loss: probability that a packet vanishes.
        duplication: probability that it comes twice.
        corruption: probability that some bytes are changed.
        bytes_per_s: rate of the bottleneck; 0 for any.
        queue_bytes: what waits before the bottleneck; more is dropped.
    """

    delay_s: float = 0.01
    jitter_s: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    corruption: float = 0.0
    bytes_per_s: float = 0.0
    queue_bytes: int = 1 << 30


PERFECT = Link()


def make_entropy(seed: int) -> Callable[[int], bytes]:
    """Return a repeatable source of "random" bytes."""
    return random.Random(seed).randbytes


class Peer:
    """One association and what came out of it.

    Attributes:
        association: the machine.
        link: to the other side.
        messages: received, in order of delivery.
        events: all others.
        is_reading: messages are consumed as they come.
    """

    def __init__(self, config: SctpConfig, seed: int, link: Link) -> None:
        self.association = SctpAssociation(config, entropy=make_entropy(seed))
        self.link = link
        self.link_free_s = 0.0
        self.messages: list[MessageReceived] = []
        self.events: list[AssociationEvent] = []
        self.is_reading = True
        self.unread: list[MessageReceived] = []
        self.sent_packets: list[bytes] = []
        self.tag = 0

    def sent_chunks(self, kind: int | None = None) -> list[Chunk]:
        """Decode the chunks this peer sent since the list was cleared, of one type or all."""
        chunks = [
            (raw[0], decode_chunk(*raw))
            for packet in self.sent_packets
            for raw in iterate_chunks(packet)
        ]
        return [chunk for type_, chunk in chunks if kind is None or type_ == kind]

    def drain_events(self) -> None:
        """Take what the association has to tell."""
        while (event := self.association.poll_event()) is not None:
            if not isinstance(event, MessageReceived):
                self.events.append(event)
                continue
            self.messages.append(event)
            if self.is_reading:
                self.association.consumed(event.stream_id, len(event.data))
            else:
                self.unread.append(event)

    def read_all(self) -> None:
        """Consume what was left unread, and go on reading."""
        self.is_reading = True
        for message in self.unread:
            self.association.consumed(message.stream_id, len(message.data))
        self.unread.clear()

    def of(self, kind: type) -> list[AssociationEvent]:
        """Return the events of one type."""
        return [event for event in self.events if isinstance(event, kind)]


class Network:
    """Two peers and the clock.

    Args:
        left: configuration of the first peer.
        right: of the second; ``None`` for the same.
        link: what both directions do.
        back: what the direction from right to left does; ``None`` for the same as ``link``.
        seed: of everything random.
    """

    def __init__(
        self,
        left: SctpConfig | None = None,
        right: SctpConfig | None = None,
        *,
        link: Link = PERFECT,
        back: Link | None = None,
        seed: int = 1,
    ) -> None:
        left = left or SctpConfig()
        self.now = 100.0
        self.random = random.Random(seed)
        self.left = Peer(left, seed * 2 + 1, link)
        self.right = Peer(right or left, seed * 2 + 2, back or link)
        self._in_transit: list[tuple[float, int, Peer, bytes]] = []
        self._order = 0
        self.on_packet: Callable[[Peer, bytes], bytes | None] | None = None
        """Sees every packet with its sender and returns it, another one, or ``None`` for lost."""

    def connect(self, *, until_s: float = 60.0) -> None:
        """Set the association up from both ends, as data channels do."""
        self.left.association.connect(now=self.now)
        self.right.association.connect(now=self.now)
        self.run(until_s=until_s, until=self.is_established)

    def is_established(self) -> bool:
        """Both ends may send."""
        return all(
            peer.association.state.value == "established" for peer in (self.left, self.right)
        )

    def set_links(self, link: Link, back: Link | None = None) -> None:
        """Change what the links do from now on."""
        self.left.link, self.right.link = link, back or link

    def settle(self) -> None:
        """Take output and events of both peers now."""
        for peer in (self.left, self.right):
            peer.drain_events()
            for packet in peer.association.poll_packets():
                peer.sent_packets.append(packet)
                self._transmit(peer, packet)

    def run(self, *, until_s: float = 600.0, until: Callable[[], bool] | None = None) -> None:
        """Let time pass until nothing happens any more, ``until`` holds, or ``until_s`` is over.

        Args:
            until_s: seconds from now.
            until: looked at after every step.
        """
        end = self.now + until_s
        for _ in range(MAX_STEPS):
            self.settle()
            if until is not None and until():
                return
            due = self._next_event_s()
            if due is None:
                return
            if due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            for peer in (self.left, self.right):
                packets = self._arrived(peer)
                if packets:
                    peer.association.receive(packets, now=self.now)
                    peer.drain_events()
                timer = peer.association.next_timer()
                if timer is not None and timer <= self.now:
                    peer.association.handle_timer(now=self.now)
        raise AssertionError(f"no end after {MAX_STEPS} steps at {self.now} s")

    def advance(self, seconds: float) -> None:
        """Let exactly that much time pass."""
        target = self.now + seconds
        self.run(until_s=seconds)
        self.now = max(self.now, target)

    def other(self, peer: Peer) -> Peer:
        """Return the one at the other end."""
        return self.right if peer is self.left else self.left

    def forge(self, receiver: Peer, *chunks: Chunk | bytes, tag: int | None = None) -> None:
        """Give a peer a packet as its other end would have sent it.

        Args:
            receiver: whom.
            chunks: values, or encoded.
            tag: verification tag; the right one if ``None``.
        """
        config = receiver.association.config
        seal = Seal(config.remote_port, config.local_port, receiver.tag if tag is None else tag)
        body = b"".join(c if isinstance(c, bytes) else c.encode() for c in chunks)
        self.inject(receiver, seal.close(body))

    def inject(self, receiver: Peer, packet: bytes) -> None:
        """Give a packet to a peer at once, as if it came from the network."""
        receiver.association.receive([packet], now=self.now)
        receiver.drain_events()

    def _next_event_s(self) -> float | None:
        times = [timer for timer in self._timers() if timer is not None]
        if self._in_transit:
            times.append(self._in_transit[0][0])
        return min(times, default=None)

    def _timers(self) -> list[float | None]:
        return [self.left.association.next_timer(), self.right.association.next_timer()]

    def _arrived(self, peer: Peer) -> list[bytes]:
        mine: list[bytes] = []
        others: list[tuple[float, int, Peer, bytes]] = []
        while self._in_transit and self._in_transit[0][0] <= self.now:
            item = heapq.heappop(self._in_transit)
            if item[2] is peer:
                mine.append(item[3])
            else:
                others.append(item)
        for item in others:
            heapq.heappush(self._in_transit, item)
        return mine

    def _transmit(self, sender: Peer, packet: bytes) -> None:
        link, choose = sender.link, self.random.random
        if tag := int.from_bytes(packet[4:8], "big"):
            self.other(sender).tag = tag
        if self.on_packet is not None:
            changed = self.on_packet(sender, packet)
            if changed is None:
                return
            packet = changed
        if link.loss and choose() < link.loss:
            return
        start = max(self.now, sender.link_free_s)
        if link.bytes_per_s:
            if (start - self.now) * link.bytes_per_s > link.queue_bytes:
                return
            sender.link_free_s = start = start + len(packet) / link.bytes_per_s
        for _ in range(2 if link.duplication and choose() < link.duplication else 1):
            copy = packet
            if link.corruption and choose() < link.corruption:
                copy = self._corrupt(packet)
            arrival = start + link.delay_s
            if link.jitter_s:
                arrival += choose() * link.jitter_s
            self._order += 1
            heapq.heappush(self._in_transit, (arrival, self._order, self.other(sender), copy))

    def _corrupt(self, packet: bytes) -> bytes:
        changed = bytearray(packet)
        for _ in range(self.random.randint(1, 4)):
            changed[self.random.randrange(len(changed))] ^= self.random.randint(1, 255)
        if self.random.random() < 0.2:
            del changed[self.random.randrange(1, len(changed) + 1) :]
        return bytes(changed)


def established(config: SctpConfig | None = None, **changes: object) -> Network:
    """Return a network whose association is up, over perfect links."""
    network = Network(replace(config or SctpConfig(), **changes))  # type: ignore[arg-type]
    network.connect()
    for peer in (network.left, network.right):
        peer.events.clear()
        peer.sent_packets.clear()
    return network
