"""The sending half: windows, timers, and what a SACK changes.

:class:`Sender` joins the parts: :class:`~.packetizer.Packetizer` writes new packets,
:class:`~.outstanding.Outstanding` remembers them, the congestion controller says how many
may be under way, and :class:`~.abandonment.Abandonment` gives up what need not arrive.
"""

from __future__ import annotations

import struct
from collections import deque

from dcsdk.errors import LocalProtocolError, MessageTooLarge, ParseError
from dcsdk.sctp.base.config import SctpConfig
from dcsdk.sctp.base.events import AssociationEvent, RawMessage
from dcsdk.sctp.base.tsn import HALF, MASK, unwrap
from dcsdk.sctp.sending import short_ways
from dcsdk.sctp.sending.abandonment import Abandonment
from dcsdk.sctp.sending.outstanding import Outstanding
from dcsdk.sctp.sending.packetizer import Packetizer
from dcsdk.sctp.sending.recovery import LossEpisode, RoundTrip, TimerKind
from dcsdk.sctp.sending.scheduler import LIMITED, MAX_PRIORITY, NEVER, Limit, OutboundStream
from dcsdk.sctp.wire.chunks import FLAG_BEGIN, FLAG_END, FLAG_UNORDERED, SACK_HEADER
from dcsdk.sctp.wire.cookie import PeerAbilities
from dcsdk.sctp.wire.packet import Seal
from dcsdk.sctp.wire.parameters import PeerViolation

_GAP = struct.Struct("!HH")
_ORDERED = FLAG_BEGIN | FLAG_END
_UNORDERED = FLAG_BEGIN | FLAG_END | FLAG_UNORDERED

PEER_SACK_DELAY_S = 0.2
"""What a peer may delay the acknowledgement of a single packet (RFC 9260 16: SACK.Delay)."""
MAX_RESENT_AT_ONCE = 64
"""Packets sent again in one go, or as many as the window holds full ones: it counts bytes, so of
small ones it would let thousands out, and a peer could have that for each SACK."""

MAX_IDLE_PERIODS = 10
"""Time-outs of silence counted when the congestion window decays."""


class SendBufferFull(LocalProtocolError):
    """More was sent than ``SctpConfig.send_buffer`` holds; wait until something left."""


def check_message(config: SctpConfig, data: bytes, queued_bytes: int) -> None:
    """Check a message before it is queued behind ``queued_bytes``.

    Raises:
        MessageTooLarge: larger than the peer accepts.
        SendBufferFull: too much waits already.
        LocalProtocolError: it is empty.
    """
    size = len(data)
    if not size:
        raise LocalProtocolError("a message must not be empty", source="RFC 9260 3.3.1")
    if 0 < config.remote_max_message_size < size:
        raise MessageTooLarge(
            f"message of {size} bytes, the peer accepts {config.remote_max_message_size}",
            source="RFC 8841 6",
        )
    if queued_bytes and queued_bytes + size > config.send_buffer:
        raise SendBufferFull(f"{queued_bytes} bytes wait to be sent already")


class Sender:
    """Takes messages, gives packets, and reacts to SACKs.

    Args:
        config: limits and sizes.
        seal: ports and tag of our packets.
        initial_tsn: our first TSN.
        peer_window: the peer's a_rwnd, bytes.
        stream_count: outgoing ids are below this.
        abilities: what both sides understand.
        events: where ``MessageAbandoned`` goes.
        round_trip: shared with the association, which measures heartbeats with it.

    Attributes:
        outstanding: what was sent and not acknowledged.
        packetizer: what was not sent.
        congestion: the controller in use.
        stream_count: outgoing ids are below this.
        peer_window: the a_rwnd the peer last told, bytes.
        retransmission_count: packets sent again, ever.
        loss_count: packets judged lost, ever.
        timeout_count: expiries of T3-rtx, ever.
        probe_count: tail-loss probes, ever.
    """

    def __init__(
        self,
        *,
        config: SctpConfig,
        seal: Seal,
        initial_tsn: int,
        peer_window: int,
        stream_count: int,
        abilities: PeerAbilities,
        events: list[AssociationEvent | RawMessage],
        round_trip: RoundTrip,
    ) -> None:
        self._config = config
        self._usual_size = config.remote_max_message_size or config.send_buffer
        self._seal = seal
        self.stream_count = stream_count
        self._abilities = abilities
        self._round_trip = round_trip
        self.peer_window = peer_window
        self.outstanding = Outstanding(initial_tsn)
        self.packetizer = Packetizer(
            outstanding=self.outstanding,
            seal=seal,
            initial_tsn=initial_tsn,
            mtu=config.mtu,
            is_interleaving=abilities.is_interleaving,
            open_limit=peer_window // 2,
            events=events,
            short_way=short_ways.write,
        )
        self._abandonment = Abandonment(
            self.outstanding,
            self.packetizer,
            is_interleaving=abilities.is_interleaving,
            events=events,
        )
        packet_size = self.packetizer.full
        make = config.controller_factory
        self.congestion = make(
            packet_size, config.initial_window_packets * packet_size, config.max_window
        )
        self._burst_credit = 0  # twice the bytes acknowledged since the last write
        self._is_limited = False  # the congestion window ended the last write
        self._is_probing_window = False  # sent into a closed window
        self._episode = LossEpisode()
        self._timer_kind = TimerKind.TIMEOUT
        self._timer_s: float | None = None
        self._reorder_timer_s: float | None = None
        self._last_sent_s = 0.0
        self._is_forward_wanted = False
        self.retransmission_count = 0
        self.loss_count = 0
        self.timeout_count = 0
        self.probe_count = 0
        self._waiting_s = 0.0

    # --- queue -----------------------------------------------------------------------------------
    def send(
        self,
        stream_id: int,
        ppid: int,
        data: bytes,
        is_ordered: bool,
        max_retr: int | None,
        max_time_ms: float | None,
        priority: int,
        now: float,
    ) -> None:
        """Queue one message; see :meth:`SctpAssociation.send`."""
        packetizer = self.packetizer
        size = len(data)
        stream = packetizer.streams.get(stream_id)
        if not (
            # The short way: the message passes all checks together.
            stream is not None
            and not stream.is_closing
            and stream.weight == priority
            and 0 < size <= self._usual_size
            and packetizer.queued_bytes + size <= self._config.send_buffer
        ):
            check_message(self._config, data, packetizer.queued_bytes)
            stream = self._stream_for(stream_id, priority)
        kind = _ORDERED if is_ordered else _UNORDERED
        limit: Limit | None = None
        if max_retr is not None or max_time_ms is not None:
            limit = self._limit(max_retr, max_time_ms, now)
            kind = kind if limit is None else kind | LIMITED
        stream.queued_bytes += size
        packetizer.queued_bytes += size
        if stream.is_active:
            stream.queue.append((data, ppid, kind, limit))
        else:
            stream.queue = deque(((data, ppid, kind, limit),))
            packetizer.scheduler.activate(stream)

    def _stream_for(self, stream_id: int, priority: int) -> OutboundStream:
        """Return the stream of a message, checked, with the priority of the message."""
        if not 0 <= stream_id < self.stream_count:
            raise LocalProtocolError(
                f"stream {stream_id} is not below {self.stream_count}", source="RFC 9260 6.5"
            )
        stream = self.packetizer.stream(stream_id)
        if stream.is_closing:
            raise LocalProtocolError(f"stream {stream_id} is being reset", source="RFC 6525 5.1.2")
        if not 1 <= priority <= MAX_PRIORITY:
            raise LocalProtocolError(f"priority {priority} is not 1..{MAX_PRIORITY}")
        stream.weight = priority
        return stream

    def _limit(self, max_retr: int | None, max_time_ms: float | None, now: float) -> Limit | None:
        """Return how long a message is worth sending, if the peer lets us give it up."""
        if not self._abilities.is_partial_reliability:
            return None
        if (max_retr or 0) < 0 or (max_time_ms or 0) < 0:
            raise LocalProtocolError("max_retr and max_time_ms must not be negative")
        expires = NEVER if max_time_ms is None else now + max_time_ms / 1000
        return (-1 if max_retr is None else max_retr, expires)

    @property
    def is_idle(self) -> bool:
        """Everything accepted is acknowledged or given up."""
        return not self.packetizer.queued_bytes and not self.outstanding.ends

    @property
    def waiting_s(self) -> float | None:
        """Since when what is outstanding waits without progress; ``None`` when nothing is."""
        return self._waiting_s if self.outstanding.ends else None

    @property
    def abandoned_count(self) -> int:
        """Messages given up after they were sent at least in part, ever."""
        return self._abandonment.count

    # --- writing ---------------------------------------------------------------------------------
    def write(self, packets: list[bytes], lead: bytes, now: float) -> None:
        """Append everything that may be sent now.

        Args:
            packets: the batch.
            lead: chunks to put in front of the first new data, or alone when there is none.
            now: seconds.
        """
        outstanding = self.outstanding
        before = len(packets)
        if outstanding.lost:
            self._resend(packets, self.congestion.window, now)
        if self._is_forward_wanted:
            lead += self._forward_tsn()
        if self.packetizer.scheduler.current is not None and not outstanding.lost:
            if not outstanding.ends and now - self._last_sent_s >= self._round_trip.timeout_s:
                self._decay_when_idle(now)
            self._last_sent_s = now
            window = min(
                self.congestion.window,
                outstanding.in_flight
                + self._config.max_burst_packets * self.packetizer.full
                + self._burst_credit,
            )
            room = self.peer_window - self.packetizer.full + 1
            if room < window:
                self._is_probing_window |= room <= 0 and not outstanding.in_flight
                window = room
            self.packetizer.write(packets, lead, window, now)
            lead = b""
            self._burst_credit = 0
            self._is_limited = outstanding.in_flight + self.packetizer.full > self.congestion.window
        if lead:
            packets.insert(before, self._seal.close(lead))
        if len(packets) > before:
            self._arm(now)

    def _resend(self, packets: list[bytes], window: int, now: float) -> None:
        """Send lost packets again as far as the window allows (RFC 9260 6.3.3 E3, 7.2.4)."""
        outstanding = self.outstanding
        most = len(packets) + max(MAX_RESENT_AT_ONCE, window // self.packetizer.full + 1)
        while outstanding.lost and len(packets) < most:
            end = outstanding.lost[0]
            if self.packetizer.limits and self._abandonment.is_exhausted(end, now):
                self._abandonment.give_up(outstanding.index_of(end))
                self._is_forward_wanted = self._abandonment.is_forward_due
            elif outstanding.in_flight < window:
                packets.append(outstanding.resend(now))
                self.retransmission_count += 1
            else:
                self._is_limited = True
                break

    def _forward_tsn(self) -> bytes:
        self._is_forward_wanted = False
        if not self._abandonment.is_forward_due:
            return b""
        return self._abandonment.forward_tsn(self._config.mtu // 2)

    def _decay_when_idle(self, now: float) -> None:
        """Halve the window for every time-out of silence (RFC 9260 7.2.1)."""
        if self._last_sent_s:
            periods = int((now - self._last_sent_s) / self._round_trip.timeout_s)
            for _ in range(min(periods, MAX_IDLE_PERIODS)):
                self.congestion.on_idle()

    # --- acknowledgements ------------------------------------------------------------------------
    def sack(self, packet: bytes, position: int, end: int, now: float) -> bool:
        """Take the SACK chunk at ``position``.

        Returns:
            Whether it is a sign of progress: new data acknowledged, or a peer whose window is
            closed and who says so (RFC 9260 8.1).

        Raises:
            ParseError: the chunk does not fit.
            PeerViolation: it acknowledges what was never sent.
        """
        _, _, size, cumulative, a_rwnd, gap_count, duplicate_count = SACK_HEADER.unpack_from(
            packet, position
        )
        if size < 16 + 4 * (gap_count + duplicate_count) or position + size > end:
            raise ParseError("SACK length does not match its counts", source="RFC 9260 3.3.4")
        outstanding = self.outstanding
        distance = (cumulative - outstanding.cumulative) & MASK
        if distance >= HALF:
            return False  # an old one that was overtaken (RFC 9260 6.2.1 D i)
        number = outstanding.cumulative + distance
        if number >= self.packetizer.next_tsn:
            raise PeerViolation("SACK for a TSN that was not sent", source="RFC 9260 6.2.1")
        is_advanced = distance > 0
        if not (gap_count or duplicate_count) and (
            plain := short_ways.acknowledge_plain(outstanding, number, now)
        ):
            acknowledged, rtt = plain
            if rtt >= 0:
                self._round_trip.sample(rtt)
        else:
            acknowledged = self._acknowledge(packet, position, number, now)
        if acknowledged:
            self._burst_credit += 2 * acknowledged
            if not self._episode.is_active or self._episode.is_after_timeout:
                self.congestion.on_acknowledged(
                    acknowledged,
                    now=now,
                    rtt_s=self._round_trip.smoothed_s,
                    is_limited=self._is_limited,
                )
        if is_advanced and (
            self._episode.is_active or self.packetizer.limits or self._abandonment.ranges.starts
        ):
            self._advance(number)
        if not outstanding.ends:
            self._timer_s = self._reorder_timer_s = None
        elif is_advanced or acknowledged:
            self._timer_s = None
            self._arm(now)
        if self._is_probing_window and a_rwnd >= self.packetizer.full:
            self._is_probing_window = False
            if outstanding.ends and not acknowledged:
                # The probe of a closed window was thrown away; that says nothing of the network.
                outstanding.lose(0)
        self.peer_window = a_rwnd
        return bool(acknowledged) or is_advanced or a_rwnd < self.packetizer.full

    def acknowledge_through(self, cumulative: int, now: float) -> None:
        """Take the cumulative TSN of a SHUTDOWN; an impossible one is ignored."""
        outstanding = self.outstanding
        number = unwrap(cumulative, outstanding.cumulative)
        if outstanding.cumulative < number < self.packetizer.next_tsn:
            outstanding.acknowledge(number, (), now, self._round_trip)
            self._advance(number)
            if not outstanding.ends:
                self._timer_s = self._reorder_timer_s = None

    def _acknowledge(self, packet: bytes, position: int, number: int, now: float) -> int:
        """Take a SACK with gap blocks, or one in the course of a recovery."""
        outstanding = self.outstanding
        gap_count, duplicate_count = SACK_HEADER.unpack_from(packet, position)[5:]
        position += SACK_HEADER.size
        gaps: list[tuple[int, int]] = []
        for start, end in _GAP.iter_unpack(packet[position : position + 4 * gap_count]):
            if not 0 < start <= end or number + end >= self.packetizer.next_tsn:
                raise PeerViolation(
                    f"gap block {start}..{end} covers what was not sent", source="RFC 9260 6.2.1"
                )
            gaps.append((number + start, number + end))
        result = outstanding.acknowledge(number, gaps, now, self._round_trip)
        if result.rtt_s >= 0:
            self._round_trip.sample(result.rtt_s)
        self._find_losses(now)
        if self._episode.arrived_after_all(result.spurious_count + duplicate_count):
            outstanding.rack.spurious_retransmission()
            self.congestion.on_spurious()
        return result.size_bytes

    def _advance(self, cumulative: int) -> None:
        """The peer's cumulative TSN moved."""
        self._episode.acknowledged(cumulative)
        limits = self.packetizer.limits
        while limits and (oldest := next(iter(limits))) <= cumulative:
            del limits[oldest]
        if self._abandonment.ranges.starts:
            self._abandonment.acknowledged(cumulative)
            self._is_forward_wanted = self._abandonment.is_forward_due

    def _find_losses(self, now: float) -> None:
        outstanding = self.outstanding
        before = len(outstanding.lost)
        is_recovering = self._episode.is_active
        self._reorder_timer_s = outstanding.find_losses(
            now, self._round_trip, is_recovering=is_recovering
        )
        found = len(outstanding.lost) - before
        if found > 0:
            self.loss_count += found
            if not is_recovering:
                self._episode.begin(self.packetizer.next_tsn - 1, is_after_timeout=False)
                self.congestion.on_loss(now=now, backlog_bytes=self._backlog_bytes())
            self._episode.lost(found)

    def _backlog_bytes(self) -> int:
        """Guess how much of the window waits in queues: the round trip tells."""
        round_trip = self._round_trip
        if not round_trip.smoothed_s:
            return 0
        return int(self.congestion.window * (1 - round_trip.minimum_s / round_trip.smoothed_s))

    # --- timers ----------------------------------------------------------------------------------
    def next_timer(self) -> float | None:
        """Return when :meth:`handle_timer` has something to do, seconds."""
        if self._timer_s is None or self._reorder_timer_s is None:
            return self._timer_s if self._reorder_timer_s is None else self._reorder_timer_s
        return min(self._timer_s, self._reorder_timer_s)

    def handle_timer(self, now: float) -> bool:
        """Look at the timers.

        Returns:
            T3-rtx expired: one more error against the peer (RFC 9260 8.1, 8.2).
        """
        if self._reorder_timer_s is not None and now >= self._reorder_timer_s:
            self._find_losses(now)
        if self._timer_s is None or now < self._timer_s:
            return False
        self._timer_s = None
        if self._timer_kind is TimerKind.PROBE:
            self._probe(now)
            return False
        outstanding = self.outstanding
        self._round_trip.back_off()
        outstanding.lose_all(self._abandonment.ranges)
        self._episode.begin(self.packetizer.next_tsn - 1, is_after_timeout=True)
        self._episode.lost(len(outstanding.lost))
        if not self._is_probing_window:
            self.timeout_count += 1
            self.loss_count += len(outstanding.lost)
            self.congestion.on_timeout(now=now)
        self._reorder_timer_s = None
        self._is_forward_wanted = self._abandonment.is_forward_due
        self._timer_kind = TimerKind.TIMEOUT
        self._timer_s = now + self._round_trip.timeout_s
        return True

    def hurry(self, now: float) -> None:
        """The path answers: wait for T3-rtx no longer than was measured just now."""
        if self._timer_s is not None and self._timer_kind is TimerKind.TIMEOUT:
            self._timer_s = min(self._timer_s, now + self._round_trip.timeout_s)

    def _arm(self, now: float) -> None:
        """Start the timer if something is outstanding; T3-rtx, once it runs, is left alone.

        The first expiry since an acknowledgement only probes, which turns a lost tail into an
        acknowledgement with a gap instead of a time-out (RFC 8985 7.2). We probe in a recovery too,
        as QUIC does (RFC 9002 6.2): one SACK answers a whole batch, and it can be lost.
        """
        outstanding, round_trip = self.outstanding, self._round_trip
        if not outstanding.ends:
            return
        if self._timer_s is None:
            self._waiting_s = now
        elif self._timer_kind is TimerKind.TIMEOUT:
            return
        if round_trip.smoothed_s and not (self._is_probing_window or self._episode.is_timed_out):
            delay = PEER_SACK_DELAY_S if len(outstanding.ends) == 1 else 0.0
            wait = round_trip.probe_timeout_s(delay)
            if wait < round_trip.timeout_s:
                # New data puts the probe off, but not beyond T3-rtx (RFC 8985 7.2).
                probe_s, latest_s = now + wait, self._waiting_s + round_trip.timeout_s
                self._timer_kind = TimerKind.PROBE
                self._timer_s = probe_s if probe_s < latest_s else latest_s
                return
        self._timer_kind = TimerKind.TIMEOUT
        self._timer_s = now + round_trip.timeout_s

    def _probe(self, now: float) -> None:
        """Send the last packet in flight again; its acknowledgement shows what is missing."""
        outstanding = self.outstanding
        index = outstanding.last_in_flight
        self._timer_kind = TimerKind.TIMEOUT
        self._timer_s = now + self._round_trip.timeout_s
        if index >= 0 and outstanding.ends[index] not in self.packetizer.limits:
            self.probe_count += 1
            outstanding.lose(index)
