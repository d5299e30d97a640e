"""A datagram path over the pair of addresses that ICE finds."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, Self

from dcsdk.errors import (
    ChannelClosed,
    ConfigError,
    OperationTimeout,
    PeerUnreachable,
    TransportError,
)
from dcsdk.ice.agent import IceAgent
from dcsdk.ice.candidate import HIGHEST_PREFERENCE, Candidate
from dcsdk.ice.config import IceConfig
from dcsdk.ice.events import ConsentLost, IceEvent, IceFailed, PairSelected
from dcsdk.ice.sdp import IceDescription
from dcsdk.interfaces import Address, DatagramPath, DatagramReceiver
from dcsdk.io.capture import Capture
from dcsdk.io.clock import LazyTimer
from dcsdk.io.net.captured_socket import open_socket
from dcsdk.io.net.demux import PacketKind, is_all_dtls, split_by_kind
from dcsdk.io.net.udp import UdpPath
from dcsdk.io.net.udp_socket import Source, UdpSocket, bound_socket, canonical

logger = logging.getLogger(__name__)

MAX_HOSTS = 16
"""Local addresses of one path."""

EARLY_DATAGRAMS, EARLY_BYTES = 16, 64 << 10
"""What is cached in each direction until a pair is selected; the rest is lost."""

MAX_KNOWN_SOURCES = 256
"""Senders whose address is remembered in canonical form."""


class LocalBase(Protocol):
    """Something that sends for one local address: a socket, or later a TURN allocation."""

    @property
    def is_blocked(self) -> bool:
        """Datagrams wait."""

    def send(self, data: bytes, segment_size: int, destination: Address) -> None:
        """Send datagrams of ``segment_size`` glued together."""

    def stats(self) -> Mapping[str, int]:
        """Counters."""

    def close(self) -> None:
        """Close it. Closing twice is no error."""


class IcePath(DatagramPath):
    """Sockets on several local addresses, and the one pair of them that data goes over.

    Life: ``bind``, exchange descriptions, ``start``, ``wait_selected``. What is sent before a pair
    is selected waits, bounded; what comes before is kept when the peer's signature came the same
    way, and dropped otherwise. When consent is lost, nothing is sent any more.

    Args:
        config: of the ICE agent.

    Attributes:
        on_event: called, when set, with each event of the agent.
    """

    def __init__(self, config: IceConfig | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._agent = IceAgent(config, entropy=os.urandom)
        self._timer = LazyTimer(self._loop, self._timer_fired)
        self._bases: dict[Address, LocalBase] = {}
        self._default: Address | None = None
        self._receivers: dict[PacketKind, DatagramReceiver] = {}
        self._known: dict[Source, Address] = {}
        self._early_in: list[tuple[bytes, int]] = []
        self._early_out: list[tuple[bytes, int]] = []
        self._waiters: set[asyncio.Future[PairSelected]] = set()
        self._counters: Counter[str] = Counter()
        self._selected: PairSelected | None = None
        self._base: LocalBase | None = None
        self._remote: Address | None = None
        self._source: Source | None = None
        self._without_ice: Address | None = None
        self._failure: str | None = None
        self._capture: Capture | None = None
        self._is_open = False
        self._is_closed = False
        self.on_event: Callable[[IceEvent], None] | None = None

    @classmethod
    def bind(
        cls,
        hosts: str | Sequence[str],
        port: int = 0,
        *,
        config: IceConfig | None = None,
        use_gso: bool = True,
        use_gro: bool = True,
        capture: Capture | None = None,
    ) -> Self:
        """Make a path with one socket, and one host candidate, on each of some local addresses.

        Args:
            hosts: local IPv4 and IPv6 addresses, the preferred one first; it is also the default
                for ``c=`` and ``m=``.
            port: the same on each, 0 for any free ones.
            config: of the ICE agent.
            use_gso: send many datagrams with one call.
            use_gro: receive many datagrams with one call.
            capture: gets everything in and out, checks included, or ``None``; not closed here.

        Raises:
            ConfigError: no or too many hosts, or one is no address that a peer could send to.
            TransportError: an address cannot be bound.
        """
        names = [hosts] if isinstance(hosts, str) else list(hosts)
        if not 0 < len(names) <= MAX_HOSTS:
            raise ConfigError(f"expected 1 to {MAX_HOSTS} hosts, not {len(names)}")
        path = cls(config)
        path._capture = capture
        try:
            for index, host in enumerate(names):
                # Refused before it is bound: 0.0.0.0 can be bound, but nobody can send there.
                Candidate.host_candidate((host, port))
                sock = bound_socket(host, port)
                base = open_socket(
                    sock,
                    path._received,
                    path._writable,
                    capture=capture,
                    use_gso=use_gso,
                    use_gro=use_gro,
                )
                address = canonical(base.local_address)
                candidate = Candidate.host_candidate(address, HIGHEST_PREFERENCE - index)
                path.add_base(candidate, base)
        except BaseException:
            path.close()
            raise
        return path

    def add_base(self, candidate: Candidate, base: LocalBase) -> None:
        """Add a local address before ``start``; the seam for relayed ones.

        What ``base`` receives goes to ``receive_on``.

        Raises:
            LocalProtocolError: ICE has started, or the candidate is of no use.
        """
        self._agent.add_local_candidate(candidate)
        address = candidate.address
        if address is not None:
            self._bases[address] = base
            self._default = self._default or address

    # --- signalling -------------------------------------------------------------------------------
    @property
    def local_description(self) -> IceDescription:
        """What our offer or answer says of ICE: ``media_attributes``, ``session_attributes``."""
        return self._agent.local_description

    @property
    def remote_description(self) -> IceDescription | None:
        """What the peer said last."""
        return self._agent.remote_description

    @property
    def is_controlling(self) -> bool:
        """We nominate."""
        return self._agent.is_controlling

    def set_remote_description(self, description: IceDescription) -> bool:
        """Take the peer's offer or answer.

        Args:
            description: read with :meth:`dcsdk.ice.IceDescription.parse`.

        Returns:
            Whether the peer restarts ICE (RFC 8839 4.4.3): then our answer needs the new
            ``local_description``, and ``start`` is to be called again.
        """
        is_restart = self._agent.needs_restart(description)
        if is_restart:
            self.restart()
        self._agent.set_remote_description(description, now=self._loop.time())
        self._settle()
        return is_restart

    def add_remote_candidates(self, candidates: Iterable[Candidate]) -> None:
        """Take candidates that the peer sent later (RFC 8838).

        Raises:
            LocalProtocolError: there is no description of the peer yet.
        """
        self._agent.add_remote_candidates(candidates, now=self._loop.time())
        self._settle()

    def start(self, *, is_controlling: bool) -> None:
        """Begin the checks, or wait for the peer's description to begin.

        Args:
            is_controlling: true for the offerer.
        """
        self._failure = None
        self._agent.start(is_controlling=is_controlling, now=self._loop.time())
        self._settle()

    def prepare_restart(self) -> None:
        """Make new credentials for an offer or an answer; ``restart`` goes over to them."""
        self._agent.prepare_restart()

    def cancel_restart(self) -> None:
        """The offer or answer came to nothing."""
        self._agent.cancel_restart()

    def needs_restart(self, description: IceDescription) -> bool:
        """Tell whether a description of the peer asks for an ICE restart (RFC 8839 4.4.3)."""
        return self._agent.needs_restart(description)

    def restart(self) -> None:
        """Go over to new credentials; data goes on over the old pair meanwhile."""
        self._failure = None
        self._agent.restart()
        self._settle()

    def use_without_ice(self, address: Address) -> None:
        """Talk plain UDP between the default addresses, as the peer does not speak ICE.

        Args:
            address: the peer's, of its ``c=`` and ``m=`` lines.

        Raises:
            TransportError: the path is closed, or has no local address.
        """
        if self._is_closed or self._default is None:
            raise TransportError("the path is closed, or has no local address")
        self._without_ice = self._remote = canonical(address)
        self._base = self._bases[self._default]
        early, self._early_out = self._early_out, []
        for data, segment_size in early:
            self._base.send(data, segment_size, self._remote)
        self._writable()

    async def wait_selected(self, timeout_s: float) -> PairSelected:
        """Wait for a pair that data can go over.

        Raises:
            PeerUnreachable: no pair works.
            OperationTimeout: none was found in ``timeout_s``.
            ChannelClosed: the path was closed.
        """
        if self._selected is not None:
            return self._selected
        if self._is_closed:
            raise ChannelClosed("the path is closed")
        if self._failure is not None:
            raise PeerUnreachable(self._failure)
        waiter: asyncio.Future[PairSelected] = self._loop.create_future()
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter
        except TimeoutError as exc:
            raise OperationTimeout(f"ICE found no pair in {timeout_s} s") from exc
        finally:
            self._waiters.discard(waiter)

    # --- the path ---------------------------------------------------------------------------------
    @property
    def selected(self) -> PairSelected | None:
        """The pair in use."""
        return self._selected

    @property
    def local_address(self) -> Address:
        """The address of the selected pair, before that the default candidate."""
        if self._selected is not None:
            return self._selected.local
        if self._default is None:
            raise TransportError("the path has no address")
        return self._default

    @property
    def remote_address(self) -> Address | None:
        """The peer's end of the selected pair."""
        return self._remote

    @property
    def is_blocked(self) -> bool:
        """No pair is selected yet, or its socket is full.

        When there will be none, what is sent is lost, as it is for every peer that went away.
        """
        if self._base is None:
            return self._failure is None
        return self._base.is_blocked

    def attach(self, receiver: DatagramReceiver) -> None:
        """Say who takes DTLS."""
        self._receivers[PacketKind.DTLS] = receiver
        if self._is_open:
            self._deliver_early()

    def attach_kind(self, kind: PacketKind, receiver: DatagramReceiver) -> None:
        """Say who takes datagrams of another kind that share the path, such as RTP (RFC 7983).

        Raises:
            ConfigError: STUN is the path's own.
        """
        if kind in (PacketKind.STUN, PacketKind.UNKNOWN):
            raise ConfigError(f"{kind.name} cannot be received from an ICE path")
        self._receivers[kind] = receiver

    def set_remote(self, address: Address) -> None:
        """Open the path to its receiver. Where it leads is found by ICE, not said by ``address``.

        Raises:
            TransportError: the path is closed.
        """
        if self._is_closed:
            raise TransportError("the path is closed")
        self._is_open = True
        self._deliver_early()

    def send(self, data: bytes, segment_size: int) -> None:
        """Send over the selected pair; before there is one, wait for it, bounded."""
        if self._base is not None and self._remote is not None:
            self._base.send(data, segment_size, self._remote)
        elif not self._is_closed and self._failure is None and _has_room(self._early_out, data):
            self._early_out.append((data, segment_size))
        else:
            self._counters["datagrams_lost"] += -(-len(data) // segment_size)

    def fork(self) -> DatagramPath:
        """Make a plain path on the default address, once that is how the peer is talked to."""
        udp = self._base
        if self._without_ice is None or not isinstance(udp, UdpSocket):
            return super().fork()
        return UdpPath(
            udp.share_address(), use_gso=udp.is_gso, use_gro=udp.is_gro, capture=self._capture
        )

    def stats(self) -> Mapping[str, int]:
        """Counters of the sockets together, of the path, and of ICE (``ice_...``)."""
        total: Counter[str] = Counter(self._counters)
        for base in self._bases.values():
            total.update(base.stats())
        for name, value in self._agent.stats().items():
            total[f"ice_{name}"] = value
        return dict(total)

    def close(self) -> None:
        """Close the sockets and stop the checks. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._timer.cancel()
        for base in self._bases.values():
            base.close()
        self._base = self._remote = self._source = self._selected = None
        self._early_in.clear()
        self._early_out.clear()
        self._receivers.clear()
        self._known.clear()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(ChannelClosed("the path was closed"))

    # --- receiving --------------------------------------------------------------------------------
    def _received(
        self, base: UdpSocket, batch: list[tuple[bytes, int]], sources: list[Source]
    ) -> None:
        # The usual case, decided once for a whole batch: DTLS from the selected remote end.
        if (
            base is self._base
            and self._is_open
            and sources.count(self._source) == len(sources)  # type: ignore[arg-type]
            and all(is_all_dtls(data, size) for data, size in batch)
        ):
            receiver = self._receivers.get(PacketKind.DTLS)
            if receiver is not None:
                receiver.datagrams_received(batch)
            return
        local = canonical(base.local_address)
        for (data, segment_size), source in zip(batch, sources, strict=True):
            address = self._known.get(source) or self._learn(source)
            if self._base is base and address == self._remote:
                self._source = source
            self.receive_on(local, address, data, segment_size)
            if self._is_closed:
                return

    def receive_on(self, local: Address, remote: Address, data: bytes, segment_size: int) -> None:
        """Take datagrams that came to one local address.

        Args:
            local: of a base, in canonical form.
            remote: the sender, in canonical form.
            data: datagrams of ``segment_size`` glued together; the last may be shorter.
            segment_size: bytes.
        """
        for kind, run, size in split_by_kind(data, segment_size):
            if kind is PacketKind.STUN:
                now = self._loop.time()
                for start in range(0, len(run), size):
                    self._agent.receive(run[start : start + size], local, remote, now=now)
                    self._settle()
            elif kind is PacketKind.UNKNOWN or not self._is_trusted(local, remote):
                self._counters["datagrams_unknown"] += -(-len(run) // size)
            elif self._base is not None and self._is_open:
                receiver = self._receivers.get(kind)
                if receiver is not None:
                    receiver.datagrams_received([(run, size)])
            elif _has_room(self._early_in, run):
                self._early_in.append((run, size))
            else:
                self._counters["early_dropped"] += -(-len(run) // size)

    def _is_trusted(self, local: Address, remote: Address) -> bool:
        """The peer's signature came this way, or there is no ICE and this is its address."""
        return remote == self._without_ice or self._agent.is_validated(local, remote)

    def _learn(self, source: Source) -> Address:
        if len(self._known) >= MAX_KNOWN_SOURCES:
            self._known.clear()
        address = self._known[source] = canonical(source)
        return address

    def _deliver_early(self) -> None:
        """Hand over what came before the path was open and led somewhere."""
        if not (self._is_open and self._base and self._receivers and self._early_in):
            return
        early, self._early_in = self._early_in, []
        for data, segment_size in early:
            for kind, run, size in split_by_kind(data, segment_size):
                receiver = self._receivers.get(kind)
                if receiver is not None:
                    receiver.datagrams_received([(run, size)])

    # --- the agent --------------------------------------------------------------------------------
    def _timer_fired(self, now: float) -> None:
        self._agent.handle_timer(now=now)
        self._settle()

    def _settle(self) -> None:
        """Send what the agent wants sent, take its events, set the timer."""
        if self._is_closed:
            return
        while (transmit := self._agent.poll_transmit()) is not None:
            base = self._bases.get(transmit.local)
            if base is not None:
                base.send(transmit.data, len(transmit.data), transmit.destination)
        while (event := self._agent.poll_event()) is not None:
            self._happened(event)
        if not self._is_closed:
            self._timer.set(self._agent.next_timer())

    def _happened(self, event: IceEvent) -> None:
        logger.debug("event=%s", event)
        if isinstance(event, PairSelected):
            self._use(event)
        elif isinstance(event, ConsentLost):
            self._stop_using()
            if self._agent.is_ended:  # and no restart is under way
                self._give_up("the peer's consent to receive was lost")
        elif isinstance(event, IceFailed) and self._selected is None:
            self._give_up(event.reason)
        if self.on_event is not None:
            self.on_event(event)

    def _use(self, pair: PairSelected) -> None:
        self._selected = pair
        self._failure = None
        self._base = self._bases[pair.local]
        self._remote = pair.remote
        self._source = None
        early, self._early_out = self._early_out, []
        for data, segment_size in early:
            self._base.send(data, segment_size, pair.remote)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(pair)
        self._deliver_early()
        self._writable()

    def _stop_using(self) -> None:
        """Send nothing any more, as long as there is no other pair (RFC 7675 5.1)."""
        self._selected = self._base = self._remote = self._source = None

    def _give_up(self, reason: str) -> None:
        """Tell everyone who waits for a pair that there will be none."""
        self._failure = reason
        self._counters["datagrams_lost"] += len(self._early_out)
        self._early_out.clear()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(PeerUnreachable(reason))
        self._writable()

    def _writable(self) -> None:
        for receiver in list(self._receivers.values()):
            receiver.path_writable()


def _has_room(cache: list[tuple[bytes, int]], data: bytes) -> bool:
    return (
        len(cache) < EARLY_DATAGRAMS
        and sum(len(item) for item, _ in cache) + len(data) <= EARLY_BYTES
    )
