"""A snapshot of what an association does, for people and tests."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dcsdk.sctp.base.events import AssociationState
from dcsdk.sctp.receiving.receiver import Receiver
from dcsdk.sctp.sending.recovery import RoundTrip
from dcsdk.sctp.sending.sender import Sender
from dcsdk.sctp.wire.cookie import PeerAbilities


@dataclass(frozen=True, slots=True, kw_only=True)
class SctpStats:
    """Counters and gauges at one moment; counters start when the association is made.

    Attributes:
        state: where the association is.
        mtu: size of full packets, bytes.
        smoothed_rtt_s: SRTT, 0 before the first measurement.
        minimum_rtt_s: least measurement.
        latest_rtt_s: last measurement.
        rto_s: retransmission time-out.
        congestion_window: bytes that may be in flight.
        slow_start_threshold: bytes.
        in_flight_bytes: of user data.
        queued_bytes: of user data accepted and not sent.
        peer_window: the a_rwnd the peer last told, bytes.
        receive_buffered_bytes: of our window in use.
        packets_sent: packets handed out by ``poll_packets``.
        packets_received: packets given to ``receive``.
        packets_dropped: of these, malformed, with a wrong tag or checksum, or out of place.
        retransmissions: packets sent again.
        losses: packets judged lost.
        timeouts: expiries of T3-rtx.
        probes: tail-loss probes.
        duplicates: TSNs that came more than once.
        chunks_dropped: data chunks thrown away for lack of room.
        messages_abandoned: messages given up after they were sent at least in part.
        error_count: consecutive time-outs; the association ends above ``max_retrans``.
        is_interleaving: large messages take turns, in I-DATA chunks (RFC 8260); like the next,
            known and ``True`` once both sides were found to be able.
        is_zero_checksum: packets carry no checksum of SCTP (RFC 9653).
    """

    state: AssociationState
    mtu: int
    smoothed_rtt_s: float = 0.0
    minimum_rtt_s: float = 0.0
    latest_rtt_s: float = 0.0
    rto_s: float = 0.0
    congestion_window: int = 0
    slow_start_threshold: int = 0
    in_flight_bytes: int = 0
    queued_bytes: int = 0
    peer_window: int = 0
    receive_buffered_bytes: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    packets_dropped: int = 0
    retransmissions: int = 0
    losses: int = 0
    timeouts: int = 0
    probes: int = 0
    duplicates: int = 0
    chunks_dropped: int = 0
    messages_abandoned: int = 0
    error_count: int = 0
    is_interleaving: bool = False
    is_zero_checksum: bool = False


def snapshot(
    state: AssociationState,
    mtu: int,
    round_trip: RoundTrip,
    sender: Sender | None,
    receiver: Receiver | None,
    abilities: PeerAbilities,
    *,
    packets_sent: int,
    packets_received: int,
    packets_dropped: int,
    error_count: int,
) -> SctpStats:
    """Collect the figures of the parts; the halves are ``None`` before set-up is done."""
    stats = SctpStats(
        state=state,
        mtu=mtu,
        packets_sent=packets_sent,
        packets_received=packets_received,
        packets_dropped=packets_dropped,
        error_count=error_count,
        is_interleaving=abilities.is_interleaving,
        is_zero_checksum=abilities.is_zero_checksum,
    )
    if sender is None or receiver is None:
        return stats
    return replace(
        stats,
        smoothed_rtt_s=round_trip.smoothed_s,
        minimum_rtt_s=round_trip.minimum_s,
        latest_rtt_s=round_trip.latest_s,
        rto_s=round_trip.timeout_s,
        congestion_window=sender.congestion.window,
        slow_start_threshold=sender.congestion.slow_start_threshold,
        in_flight_bytes=sender.outstanding.in_flight,
        queued_bytes=sender.packetizer.queued_bytes,
        peer_window=sender.peer_window,
        receive_buffered_bytes=receiver.buffered,
        retransmissions=sender.retransmission_count,
        losses=sender.loss_count,
        timeouts=sender.timeout_count,
        probes=sender.probe_count,
        duplicates=receiver.duplicate_count,
        chunks_dropped=receiver.dropped_count,
        messages_abandoned=sender.abandoned_count,
    )
