"""Snapshots of what an association, its path and its channels do.

Counters start when the thing counted is made; every value is of one moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Self

from dcsdk.interfaces.channel import ChannelState
from dcsdk.sctp.stats import SctpStats


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStats:
    """What a datagram path did.

    Attributes:
        bytes_sent: of UDP payload.
        bytes_received: of UDP payload.
        send_calls: calls of the kernel that sent, each one datagram or many.
        receive_calls: calls of the kernel that received.
        datagrams_lost: of ours, that we know of: no room, no route, or nowhere to send them yet.
        datagrams_refused: ICMP told that nobody listens there.
        early_dropped: datagrams that came before the remote end was known, and were not kept.
        others: counters that only some paths have, by name, for example those of ICE.
    """

    bytes_sent: int = 0
    bytes_received: int = 0
    send_calls: int = 0
    receive_calls: int = 0
    datagrams_lost: int = 0
    datagrams_refused: int = 0
    early_dropped: int = 0
    others: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, counters: Mapping[str, int]) -> Self:
        """Make it of what ``DatagramPath.stats`` gives."""
        known = {item.name for item in fields(cls)} - {"others"}
        return cls(
            **{name: value for name, value in counters.items() if name in known},
            others={name: value for name, value in counters.items() if name not in known},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportStats:
    """What a secure transport and its paths did.

    Attributes:
        path: of the path in use.
        records_dropped: records and stray datagrams that were thrown away.
        restarts: associations that took the place of another (RFC 8842 3.1).
    """

    path: PathStats
    records_dropped: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStats:
    """What one data channel did.

    Attributes:
        stream_id: of the channel.
        label: as agreed.
        subprotocol: as agreed, ``""`` for none.
        state: where the channel is in its life.
        messages_sent: accepted by ``send``.
        messages_received: taken from the association, read or not.
        bytes_sent: of their bodies; an empty message counts as the byte it is sent as.
        bytes_received: likewise.
        queued_bytes: accepted by ``send`` and not sent.
        unread_messages: that wait for a reader.
        unread_bytes: of these.
    """

    stream_id: int
    label: str
    subprotocol: str
    state: ChannelState
    messages_sent: int = 0
    messages_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    queued_bytes: int = 0
    unread_messages: int = 0
    unread_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationStats:
    """What one association did.

    Attributes:
        path: of the path in use.
        sctp: ``None`` before the association is started. An engine that cannot tell a figure
            leaves it 0.
        channels: those that use a stream, by rising stream id.
        early_dropped: messages thrown away because too much came without a channel.
        dcep_refused: messages of the peer that broke a rule of DCEP.
        records_dropped: DTLS records and stray datagrams that were thrown away.
        messages_abandoned: messages of ours given up (RFC 3758, RFC 7496).
        restarts: DTLS associations that took the place of another (RFC 8842 3.1).
    """

    path: PathStats
    sctp: SctpStats | None = None
    channels: tuple[ChannelStats, ...] = ()
    early_dropped: int = 0
    dcep_refused: int = 0
    records_dropped: int = 0
    messages_abandoned: int = 0
    restarts: int = 0

    @property
    def packets_sent(self) -> int:
        """SCTP packets that left inside DTLS: 0 as long as no peer was verified."""
        return self.sctp.packets_sent if self.sctp is not None else 0

    @property
    def is_interleaving(self) -> bool:
        """Large messages of several channels take turns (I-DATA, RFC 8260)."""
        return self.sctp is not None and self.sctp.is_interleaving

    @property
    def is_zero_checksum(self) -> bool:
        """SCTP leaves its checksum out, since DTLS guards every packet (RFC 9653)."""
        return self.sctp is not None and self.sctp.is_zero_checksum

    @property
    def packets_received(self) -> int:
        """SCTP packets that came inside DTLS."""
        return self.sctp.packets_received if self.sctp is not None else 0
