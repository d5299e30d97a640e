"""One SCTP association: the machine that data channels run on.

No I/O, no clock, no randomness of its own. The owner calls one mutating method, then drains
:meth:`SctpAssociation.poll_packets` and the events before the next one::

    association.receive(packets, now=clock())
    while (event := association.poll_event()) is not None:
        ...
    for packet in association.poll_packets():
        ...
    timer.set(association.next_timer())

``receive`` never raises for what a peer sends: a violation ends the association with an ABORT and
an ``Aborted`` event; anything malformed is dropped and counted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from google_crc32c import extend

from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.sctp.base.config import SctpConfig
from dcsdk.sctp.base.events import (
    AssociationEvent,
    AssociationState,
    Established,
    MessageReceived,
    RawMessage,
    ResetDone,
    Restarted,
)
from dcsdk.sctp.control.control_chunks import ControlChunks
from dcsdk.sctp.control.handshake import Entropy
from dcsdk.sctp.control.heartbeat import Heartbeat
from dcsdk.sctp.control.lifecycle import RECEIVING_STATES, AssociationTerms, Lifecycle
from dcsdk.sctp.control.liveness import Liveness
from dcsdk.sctp.control.reset import StreamResets
from dcsdk.sctp.receiving import short_ways
from dcsdk.sctp.receiving.receiver import Receiver
from dcsdk.sctp.sending.early import EarlyMessage, EarlyMessages
from dcsdk.sctp.sending.recovery import RoundTrip
from dcsdk.sctp.sending.scheduler import DEFAULT_PRIORITY
from dcsdk.sctp.sending.sender import Sender
from dcsdk.sctp.stats import SctpStats, snapshot
from dcsdk.sctp.wire.chunks import FLAG_END, SACK, CauseChunk, ChunkType
from dcsdk.sctp.wire.packet import CHECKSUM, COMMON_HEADER_SIZE, NO_CHECKSUM, Seal, bundle
from dcsdk.sctp.wire.parameters import CauseCode, PeerViolation, Tlv

SACK_EVERY_PACKETS = 2
"""Packets with data after which a SACK is not delayed any more (RFC 9260 6.2)."""

MAX_QUEUED_CHUNKS = 64
"""Control chunks that wait for one poll; more answers than that are not owed to anybody."""

TakeData = Callable[[bytes, int, int], int]
"""Takes the data chunks at a position of a packet and returns the position after them."""

TakeRun = Callable[[Sequence[bytes], int], int]
"""Takes the packets from a place on that go on with the message under way; returns how many."""

Reading = tuple[bytes, bytes, int, int, TakeData, TakeRun | None]
"""The first 8 bytes of a packet for us; the first 12 when a zero checksum is good, else ``b""``;
the CRC state after the common header; the chunk type of data, or -1 for none; who takes it; and who
takes whole packets of it, where that can be."""


def _take_nothing(packet: bytes, position: int, end: int) -> int:
    return end


READING_NOTHING: Reading = (b"", b"", 0, -1, _take_nothing, None)
"""For an association that has ended: no packet begins like this."""


class SctpAssociation:
    """One end of an association; both ends call :meth:`connect`.

    Args:
        config: limits, sizes and timers.
        entropy: gives random bytes, like ``os.urandom``.

    Attributes:
        config: as given.
    """

    def __init__(self, config: SctpConfig, *, entropy: Entropy) -> None:
        self.config = config
        self._now = 0.0
        self._events: list[AssociationEvent | RawMessage] = []
        self._packets: list[bytes] = []  # whole packets to send before everything else
        self._chunks: list[bytes] = []  # control chunks to send, bundled
        self._round_trip = RoundTrip(config.rto_initial_s, config.rto_min_s, config.rto_max_s)
        self._heartbeat = Heartbeat(config, entropy, self._round_trip)
        self._liveness = Liveness(config, self._heartbeat)
        self._lifecycle = Lifecycle(
            config, entropy, packets=self._packets, on_open=self._open, on_end=self._end
        )
        self._control = ControlChunks(self, self._lifecycle, self._heartbeat)
        self.sender: Sender | None = None
        self.receiver: Receiver | None = None
        self.resets: StreamResets | None = None
        self._early = EarlyMessages(config)
        self._reading: Reading = READING_NOTHING
        self._is_sendable = False
        self._unacknowledged_packets = 0
        self._sack_timer_s: float | None = None
        self._is_sack_due = False
        self._packets_sent = self._packets_received = self._packets_dropped = 0
        self.state_changed(0.0)

    # --- life ------------------------------------------------------------------------------------
    @property
    def state(self) -> AssociationState:
        """The state of RFC 9260 4."""
        return self._lifecycle.state

    def connect(self, *, now: float, patience_s: float = 0.0) -> None:
        """Send INIT. Both ends do, and that the INITs cross is no error (RFC 8841 9.3).

        Args:
            now: seconds on the owner's monotonic clock, like every ``now`` here.
            patience_s: wait so long for the INIT of a peer that is about to send it; when it came,
                ours is not needed.
        """
        self._now = now
        self._lifecycle.connect(now, patience_s)

    def shutdown(self, *, now: float) -> None:
        """End in order: what was accepted is delivered first (RFC 9260 9.2).

        ``ShutDown`` follows, or ``PeerUnreachableEvent``. Before the association is established it
        just ends.
        """
        self._now = now
        self._lifecycle.shutdown()
        self.state_changed(now)

    def abort(self, reason: str = "", *, now: float) -> None:
        """End at once; unsent data is lost, the peer is told (RFC 9260 9.1)."""
        self._now = now
        self._lifecycle.abort(None, reason)

    # --- data ------------------------------------------------------------------------------------
    def send(
        self,
        stream_id: int,
        ppid: int,
        data: bytes,
        *,
        is_ordered: bool = True,
        max_retr: int | None = None,
        max_time_ms: float | None = None,
        priority: int = DEFAULT_PRIORITY,
        now: float,
    ) -> None:
        """Queue one message. Legal before the association is established.

        Args:
            stream_id: 0..65534, below what was negotiated.
            ppid: payload protocol identifier, in host order.
            data: at least one byte, at most ``remote_max_message_size``.
            is_ordered: deliver in order with the other ordered messages of the stream.
            max_retr: give up after this many retransmissions (RFC 7496); ``None`` never.
            max_time_ms: give up this long after ``now``, milliseconds; ``None`` never.
            priority: weight of the stream against others, 1..65535; 256 is normal.
            now: seconds.

        Raises:
            MessageTooLarge: larger than the peer accepts.
            SendBufferFull: too much waits already.
            LocalProtocolError: the association is ending, the stream is being reset or not there.
        """
        self._now = now
        sender = self.sender
        if sender is None:
            if self._lifecycle.is_ended:
                raise LocalProtocolError("the association has ended")
            self._early.add(
                EarlyMessage(
                    stream_id=stream_id,
                    ppid=ppid,
                    data=data,
                    is_ordered=is_ordered,
                    max_retr=max_retr,
                    max_time_ms=max_time_ms,
                    priority=priority,
                    queued_s=now,
                )
            )
            return
        if not self._is_sendable:
            raise LocalProtocolError(f"cannot send in state {self.state.value}")
        sender.send(stream_id, ppid, data, is_ordered, max_retr, max_time_ms, priority, now)

    def consumed(self, stream_id: int, size_bytes: int, count: int = 1) -> None:
        """The application read messages: open the receive window by them.

        Args:
            stream_id: where they came on.
            size_bytes: bytes of data in all of them.
            count: how many messages. Each must be reported once, alone or with others.
        """
        if self.receiver is not None and self.receiver.consumed(size_bytes, count):
            self._is_sack_due = True

    def queued_bytes(self, stream_id: int) -> int:
        """Return the bytes of a stream that were accepted and not sent yet."""
        if self.sender is None:
            return self._early.queued_bytes(stream_id)
        stream = self.sender.packetizer.streams.get(stream_id)
        return stream.queued_bytes if stream is not None else 0

    @property
    def total_queued_bytes(self) -> int:
        """Bytes of all streams that were accepted and not sent yet."""
        if self.sender is None:
            return self._early.total_bytes
        return self.sender.packetizer.queued_bytes

    @property
    def is_idle(self) -> bool:
        """Everything accepted was acknowledged or given up."""
        return not self._early if self.sender is None else self.sender.is_idle

    def discard(self, stream_id: int) -> None:
        """Forget what waits on a stream; a message sent in part is still completed."""
        self._early.discard(stream_id)
        if self.sender is not None:
            self.sender.packetizer.drop_queue(self.sender.packetizer.stream(stream_id))

    def reset_streams(self, stream_ids: Iterable[int], *, now: float) -> None:
        """Reset our outgoing streams after what waits on them was sent (RFC 6525).

        ``ResetDone`` follows. The peer resets its own direction itself (RFC 8831 6.7).

        Raises:
            LocalProtocolError: not established, or an id that does not exist.
        """
        self._now = now
        ids = tuple(stream_ids)
        if self.resets is None or self.sender is None:
            raise LocalProtocolError("streams can be reset once the association is established")
        if any(not 0 <= stream_id < self.sender.stream_count for stream_id in ids):
            raise LocalProtocolError(f"no such streams: {ids}", source="RFC 6525 4.1")
        if self._control.is_reset_supported:
            self.resets.want(ids)
        else:
            self._events.append(ResetDone(ids, False))

    def request_heartbeat(self, *, now: float) -> None:
        """Ask the peer for a sign of life now (RFC 9260 11.1.8).

        Without an answer the association ends like one whose data is not acknowledged.
        """
        self._now = now
        if self.state is AssociationState.ESTABLISHED:
            self._packets += self._lifecycle.seal.close_all(self._liveness.ask(now, now))

    # --- input -----------------------------------------------------------------------------------
    def receive(self, packets: Sequence[bytes], *, now: float) -> None:
        """Take a batch of packets. Never raises for what is in them."""
        self._now = now
        self._packets_received += len(packets)
        try:
            if self.receiver is not None:
                self.receiver.begin_batch()
            self._receive(packets, now)
            if self.receiver is not None:
                self._after_batch(self.receiver, now)
        except PeerViolation as violation:
            self._lifecycle.abort(violation)

    def _receive(self, packets: Sequence[bytes], now: float) -> None:
        """The hot path: our tag, DATA and SACK. Everything else is :class:`ControlChunks`."""
        crc, checksum_of = extend, CHECKSUM.unpack_from
        head, zero_head, seed, data_kind, take_data, take_run = self._reading
        sender, is_alive, data_packets, index, count = self.sender, False, 0, 0, len(packets)
        while index < count:
            packet = packets[index]
            index += 1
            try:
                if zero_head and packet[:12] == zero_head:
                    pass  # RFC 9653: DTLS guards it
                elif packet[:8] != head or crc(seed, packet[12:]) != checksum_of(packet, 8)[0]:
                    self._control.receive_stray(packet, now)
                    head, zero_head, seed, data_kind, take_data, take_run = self._reading
                    sender = self.sender
                    continue
                position, end = COMMON_HEADER_SIZE, len(packet)
                while position < end:
                    kind = packet[position]
                    if kind == data_kind:
                        data_packets += 1
                        position = take_data(packet, position, end)
                        if take_run is not None and position >= end and not packet[13] & FLAG_END:
                            taken = take_run(packets, index)
                            index, data_packets = index + taken, data_packets + taken
                    elif kind == SACK and sender is not None:
                        is_alive = True
                        if sender.sack(packet, position, end, now):
                            self._liveness.error_count = 0
                        size = packet[position + 2] << 8 | packet[position + 3]
                        position += (size + 3) & ~3
                    else:
                        position = self._control.receive(packet, position, end, now)
                        is_alive |= kind != ChunkType.HEARTBEAT_ACK  # that says so itself
                        head, zero_head, seed, data_kind, take_data, take_run = self._reading
                        sender = self.sender
            except (ParseError, struct.error):
                self._packets_dropped += 1
        self._unacknowledged_packets += data_packets
        if is_alive or data_packets:
            self._liveness.heard(now, data_packets > 0)

    def _after_batch(self, receiver: Receiver, now: float) -> None:
        if receiver.invalid_streams:
            for stream_id in receiver.invalid_streams:
                self.report(CauseCode.INVALID_STREAM_ID, stream_id.to_bytes(2, "big") + bytes(2))
            receiver.invalid_streams.clear()
        if self._unacknowledged_packets or receiver.is_sack_urgent:
            if self._unacknowledged_packets >= SACK_EVERY_PACKETS or receiver.is_sack_urgent:
                self._is_sack_due = True
            elif self._sack_timer_s is None:
                self._sack_timer_s = now + self.config.sack_delay_s
            if self.resets is not None and self.resets.deferred is not None:
                self.resets.after_data()
            if not self._is_sendable:
                self._lifecycle.data_while_shutting_down(receiver.cumulative_tsn, now)
        if receiver.refused_streams and self.resets is not None:
            if self._control.is_reset_supported:
                self.resets.want(receiver.refused_streams)
            receiver.refused_streams.clear()
        if not self._is_sendable:
            self._progress_shutdown(now)

    # --- for the control chunks ------------------------------------------------------------------
    @property
    def is_receiving(self) -> bool:
        """Data is taken in this state."""
        return self._reading[3] >= 0

    def queue_chunk(self, chunk: bytes) -> None:
        """Have a control chunk sent with the next packets."""
        if len(self._chunks) < MAX_QUEUED_CHUNKS:
            self._chunks.append(chunk)

    def report(self, code: int, info: bytes) -> None:
        """Have an ERROR sent."""
        self.queue_chunk(CauseChunk(kind=ChunkType.ERROR, items=(Tlv(code, info),)).encode())

    def push_event(self, event: AssociationEvent) -> None:
        """Tell the owner."""
        self._events.append(event)

    def alive(self, now: float) -> None:
        """The peer answered a heartbeat."""
        if (sender := self.sender) is not None:
            sender.packetizer.set_mtu(self._heartbeat.mtu)
            sender.hurry(now)
            self._liveness.answered(now, sender.waiting_s)

    def state_changed(self, now: float) -> None:
        """Follow the life cycle: what may be sent and taken depends on it."""
        state = self._lifecycle.state
        self._is_sendable = state is AssociationState.ESTABLISHED
        if self._lifecycle.is_ended:
            self._reading = READING_NOTHING
            return
        is_receiving = state in RECEIVING_STATES
        self._reading = reading_for(
            self.config,
            self._lifecycle.tags.local,
            self.receiver if is_receiving else None,
        )
        if state in (AssociationState.SHUTDOWN_PENDING, AssociationState.SHUTDOWN_RECEIVED):
            self._progress_shutdown(now)

    def _progress_shutdown(self, now: float) -> None:
        """Take the next step of a shutdown once nothing of ours is outstanding."""
        sender, receiver = self.sender, self.receiver
        if sender is not None and receiver is not None and sender.is_idle:
            before = self._lifecycle.state
            self._lifecycle.set_timeout(self._round_trip.timeout_s)
            self._lifecycle.all_acknowledged(receiver.cumulative_tsn, now)
            if self._lifecycle.state is not before:
                self.state_changed(now)

    def _open(self, terms: AssociationTerms, is_restart: bool) -> None:
        """The association is established: make its two halves."""
        abilities, seal = terms.abilities, self._lifecycle.seal
        seal.is_zero_checksum = abilities.is_zero_checksum
        halves = make_halves(self.config, terms, seal, self._round_trip, self._events)
        self.sender, self.receiver, self.resets = halves
        self._control.abilities = abilities
        self._unacknowledged_packets, self._is_sack_due, self._sack_timer_s = 0, False, None
        self._liveness.begin(self._now)
        self._heartbeat.start(self._now)
        if is_restart:
            self._events.append(Restarted())
        self._events.append(
            Established(
                terms.outbound_streams,
                terms.inbound_streams,
                abilities.is_interleaving,
                abilities.is_partial_reliability,
                abilities.is_reset_supported,
            )
        )
        self.state_changed(self._now)
        self._early.send_all(halves[0], self._events)

    def _end(self, event: AssociationEvent) -> None:
        self._events.append(event)
        self._chunks.clear()
        self._early.take_all()
        self._sack_timer_s = None
        self.state_changed(self._now)

    # --- time ------------------------------------------------------------------------------------
    def next_timer(self) -> float | None:
        """Return when :meth:`handle_timer` must be called, seconds; ``None`` for never."""
        sender, resets = self.sender, self.resets
        earliest, timers = self._sack_timer_s, [self._lifecycle.timer_s]
        if sender and resets and not self._lifecycle.is_ended:
            timers += sender.next_timer(), resets.timer_s
            timers += self._heartbeat.next_timer(), self._liveness.timer_s
        for timer in timers:
            if timer is not None and (earliest is None or timer < earliest):
                earliest = timer
        return earliest

    def handle_timer(self, *, now: float) -> None:
        """Do what is due; calling it early or late is harmless."""
        self._now = now
        is_repeated = self._lifecycle.handle_timer(now)
        if self._sack_timer_s is not None and now >= self._sack_timer_s:
            self._is_sack_due = True
        sender, resets = self.sender, self.resets
        if sender is None or resets is None or self._lifecycle.is_ended:
            return
        waiting_s, is_late = sender.waiting_s, sender.handle_timer(now)
        is_repeated |= resets.handle_timer(now)
        groups = self._liveness.handle_timer(now, waiting_s, is_late, is_repeated)
        self._packets += self._lifecycle.seal.close_all(groups)
        if reason := self._liveness.verdict(now, waiting_s):
            self._lifecycle.unreachable(reason)

    # --- output ----------------------------------------------------------------------------------
    def poll_packets(self) -> list[bytes]:
        """Return everything to send now, in order; full packets have equal size."""
        sender, receiver, resets, now = self.sender, self.receiver, self.resets, self._now
        packets = self._packets[:]
        self._packets.clear()
        if sender and receiver and resets and not self._lifecycle.is_ended:
            is_resetting = resets.is_busy
            if self._chunks or is_resetting:
                chunks = self._chunks + resets.poll(now)
                self._chunks.clear()
                packets += bundle(chunks, self._lifecycle.seal, self._heartbeat.mtu)
            lead = b""
            has_data = sender.packetizer.queued_bytes
            if self._is_sack_due or (self._unacknowledged_packets and has_data):
                room = self._heartbeat.mtu - COMMON_HEADER_SIZE
                lead = short_ways.sack(receiver) or receiver.sack(room)
                self._is_sack_due = False
                self._unacknowledged_packets = 0
                self._sack_timer_s = None
            sender.write(packets, lead, now)
            if is_resetting:
                packets += bundle(resets.poll(now), self._lifecycle.seal, self._heartbeat.mtu)
        self._packets_sent += len(packets)
        return packets

    def poll_event(self) -> AssociationEvent | None:
        """Return the next event, or ``None``."""
        if not self._events:
            return None
        event = self._events.pop(0)
        return MessageReceived._make(event) if isinstance(event, tuple) else event

    def poll_batch(self) -> list[AssociationEvent | RawMessage]:
        """Return all events in order, messages as bare tuples: the hot path.

        ``type(item) is tuple`` tells a message, with the fields of :class:`MessageReceived`.
        """
        batch = self._events[:]
        self._events.clear()
        return batch

    def stats(self) -> SctpStats:
        """Return a snapshot of counters and gauges."""
        return snapshot(
            self.state,
            self._heartbeat.mtu,
            self._round_trip,
            self.sender,
            self.receiver,
            self._control.abilities,
            packets_sent=self._packets_sent,
            packets_received=self._packets_received,
            packets_dropped=self._packets_dropped,
            error_count=self._liveness.error_count,
        )


def reading_for(config: SctpConfig, tag: int, receiver: Receiver | None) -> Reading:
    """Return how to read packets now.

    Who offered to take packets without a checksum has to take them, from the INIT ACK on, whether
    the peer made the same offer or not (RFC 9653 5.3). An INIT has no tag and needs its checksum.

    Args:
        config: knows the ports and what we offer.
        tag: our verification tag (RFC 9260 8.5).
        receiver: takes data, or ``None`` in states that take none.
    """
    seal = Seal(config.remote_port, config.local_port, tag)
    zero_head = seal.head + NO_CHECKSUM if config.is_zero_checksum_offered else b""
    if receiver is None:
        return (seal.head, zero_head, seal.seed, -1, _take_nothing, None)
    if receiver.is_interleaving:
        take = partial(short_ways.take_i_data, receiver)
        take_run = partial(short_ways.take_run, receiver, zero_head) if zero_head else None
        return (seal.head, zero_head, seal.seed, ChunkType.I_DATA, take, take_run)
    take = partial(short_ways.take_fragment, receiver)
    return (seal.head, zero_head, seal.seed, ChunkType.DATA, take, None)


def make_halves(
    config: SctpConfig,
    terms: AssociationTerms,
    seal: Seal,
    round_trip: RoundTrip,
    events: list[AssociationEvent | RawMessage],
) -> tuple[Sender, Receiver, StreamResets]:
    """Return the parts that exist once an association is established.

    Args:
        config: of our side.
        terms: of both.
        seal: for our packets.
        round_trip: the estimate all parts share.
        events: where all parts put what they have to tell.
    """
    sender = Sender(
        config=config,
        seal=seal,
        initial_tsn=terms.local_initial_tsn,
        peer_window=terms.peer_a_rwnd,
        stream_count=terms.outbound_streams,
        abilities=terms.abilities,
        events=events,
        round_trip=round_trip,
    )
    receiver = Receiver(
        initial_tsn=terms.peer_initial_tsn,
        window=config.receive_window,
        max_message_size=config.accepted_message_size,
        stream_count=terms.inbound_streams,
        is_interleaving=terms.abilities.is_interleaving,
        events=events,
    )
    resets = StreamResets(
        packetizer=sender.packetizer,
        receiver=receiver,
        round_trip=round_trip,
        local_sequence=terms.local_initial_tsn,
        peer_sequence=terms.peer_initial_tsn,
        events=events,
    )
    return sender, receiver, resets
