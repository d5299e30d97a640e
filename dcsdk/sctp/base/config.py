"""Every number an SCTP association can be tuned with, in one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

from dcsdk.errors import ConfigError
from dcsdk.sctp.base.congestion import CONTROLLERS, CongestionFactory

DEFAULT_MTU = 1160
"""What DTLS leaves of the 1200 bytes of UDP payload that every path carries (RFC 8831 5)."""

MIN_MTU = 512
MAX_MTU = 65_532
MAX_STREAMS = 65_535
MIN_RECEIVE_WINDOW = 1500
"""RFC 9260 3.3.2: a smaller a_rwnd must not be advertised at start."""

_ORDERED = (
    ("mtu", "max_mtu"),
    ("max_message_size", "receive_window"),
    ("rto_min_s", "rto_initial_s"),
    ("rto_initial_s", "rto_max_s"),
)
"""Of two fields, the first is no more than the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SctpConfig:
    """What one end of an association may do and how patient it is.

    Attributes:
        local_port: our ``a=sctp-port``, 1..65535.
        remote_port: the peer's ``a=sctp-port``, 1..65535.
        mtu: largest SCTP packet in bytes, a multiple of 4; full packets all have this size.
        rto_initial_s: retransmission time-out before the first measurement, seconds.
        rto_min_s: lower bound of the time-out. RFC 9260 16 recommends 1 s, made for the 1990s;
            the default follows what data-channel stacks do.
        rto_max_s: upper bound of the time-out; above the longest round trip there may be.
        max_retrans: Association.Max.Retrans (and Path.Max.Retrans, RFC 8261 6.1): consecutive
            time-outs until the peer counts as unreachable.
        peer_timeout_s: silence of a peer that owes us an answer until it counts as unreachable,
            seconds, at most 3600; 0 leaves it to ``max_retrans``.
        peer_quiet_s: silence, while something is under way, after which the peer is asked for a
            sign of life, where ``peer_timeout_s`` is not 0; twice as often while it gives none.
        max_init_retrans: Max.Init.Retransmits for INIT and COOKIE ECHO.
        hb_interval_s: HB.interval, idle seconds between heartbeats; 0 switches them off.
        hb_slowdown: while nothing but heartbeats happens HB.interval doubles, up to this many times
            ``hb_interval_s``, 1..100; 1 keeps it. Whatever a heartbeat waits beyond it, the default
            stays below the two minutes that every NAT keeps a binding (RFC 4787 REQ-5).
        cookie_life_s: Valid.Cookie.Life, seconds.
        sack_delay_s: longest delay of an acknowledgement, 0..0.5 s (RFC 9260 6.2). Long enough for
            a reply to carry it, far below the 200 ms that the standard allows.
        receive_window: bytes we hold for a slow reader; advertised as a_rwnd.
        send_buffer: bytes ``send()`` accepts before it raises; bounds the memory of a slow peer.
        outbound_streams: OS of our INIT, 1..65535 (RFC 8831 6.2: 65535).
        inbound_streams: MIS of our INIT, 1..65535.
        max_message_size: bytes we accept in one message; 0 for as much as the window holds.
        remote_max_message_size: the peer's ``a=max-message-size``, bytes; 0 for any size.
        initial_window_packets: congestion window at start (RFC 6928 reasons, RFC 9260 7.2.1).
        max_window: upper bound of the congestion window, bytes.
        max_burst_packets: new packets one call may add to the flight beyond twice what it saw
            acknowledged (Max.Burst, RFC 9260 6.1 rule D).
        congestion: ``"cubic"``, ``"newreno"``, or what makes another congestion controller.
        is_interleaving_offered: offer I-DATA and I-FORWARD-TSN (RFC 8260).
        is_partial_reliability_offered: offer FORWARD-TSN (RFC 3758).
        is_zero_checksum_offered: take packets without a checksum, and send them to a peer that
            takes them; only for an association inside DTLS, whose records are authenticated anyway
            (RFC 9653 5, 6).
        is_pmtu_probing: look for a packet size above ``mtu`` with padded heartbeats (RFC 8261 6.2).
        max_mtu: largest packet size that probing tries.
    """

    local_port: int = 5000
    remote_port: int = 5000
    mtu: int = DEFAULT_MTU
    rto_initial_s: float = 1.0
    rto_min_s: float = 0.4
    rto_max_s: float = 60.0
    max_retrans: int = 10
    peer_timeout_s: float = 0.0
    peer_quiet_s: float = 2.0
    max_init_retrans: int = 8
    hb_interval_s: float = 30.0
    hb_slowdown: float = 3.5
    cookie_life_s: float = 60.0
    sack_delay_s: float = 0.02
    receive_window: int = 4 << 20
    send_buffer: int = 4 << 20
    outbound_streams: int = MAX_STREAMS
    inbound_streams: int = MAX_STREAMS
    max_message_size: int = 262_144
    remote_max_message_size: int = 65_536
    initial_window_packets: int = 10
    max_window: int = 4 << 20
    max_burst_packets: int = 16
    congestion: str | CongestionFactory = "cubic"
    is_interleaving_offered: bool = True
    is_partial_reliability_offered: bool = True
    is_zero_checksum_offered: bool = False
    is_pmtu_probing: bool = False
    max_mtu: int = DEFAULT_MTU

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work.

        Raises:
            ConfigError: names the field and its range, or two fields that contradict each other.
        """
        _check_range("local_port", self.local_port, 1, 65_535)
        _check_range("remote_port", self.remote_port, 1, 65_535)
        _check_range("mtu", self.mtu, MIN_MTU, MAX_MTU)
        _check_range("max_mtu", self.max_mtu, MIN_MTU, MAX_MTU)
        _check_range("outbound_streams", self.outbound_streams, 1, MAX_STREAMS)
        _check_range("inbound_streams", self.inbound_streams, 1, MAX_STREAMS)
        _check_range("receive_window", self.receive_window, MIN_RECEIVE_WINDOW, 1 << 30)
        _check_range("send_buffer", self.send_buffer, 1, 1 << 30)
        _check_range("max_message_size", self.max_message_size, 0, 1 << 30)
        _check_range("remote_max_message_size", self.remote_max_message_size, 0, (1 << 64) - 1)
        _check_range("initial_window_packets", self.initial_window_packets, 1, 100)
        _check_range("max_window", self.max_window, 4 * self.mtu, 1 << 30)
        _check_range("max_burst_packets", self.max_burst_packets, 1, 100_000)
        _check_range("max_retrans", self.max_retrans, 1, 1000)
        _check_range("max_init_retrans", self.max_init_retrans, 1, 1000)
        _check_range("rto_min_s", self.rto_min_s, 0.01, 3600)
        _check_range("rto_initial_s", self.rto_initial_s, 0.01, 3600)
        _check_range("rto_max_s", self.rto_max_s, 0.01, 3600)
        _check_range("peer_timeout_s", self.peer_timeout_s, 0, 3600)
        _check_range("peer_quiet_s", self.peer_quiet_s, 0.001, 3600)
        _check_range("hb_interval_s", self.hb_interval_s, 0, 86_400)
        _check_range("hb_slowdown", self.hb_slowdown, 1, 100)
        _check_range("cookie_life_s", self.cookie_life_s, 1, 3600)
        _check_range("sack_delay_s", self.sack_delay_s, 0, 0.5)
        for low, high in _ORDERED:
            if getattr(self, low) > getattr(self, high):
                raise ConfigError(
                    f"{low}, {getattr(self, low)}, must not be more than "
                    f"{high}, {getattr(self, high)}"
                )
        if isinstance(self.congestion, str) and self.congestion not in CONTROLLERS:
            known = " or ".join(map(repr, CONTROLLERS))
            raise ConfigError(f"congestion must be {known} or a factory, not {self.congestion!r}")
        if self.mtu % 4 or self.max_mtu % 4:
            raise ConfigError("mtu and max_mtu must be multiples of 4 bytes", source="RFC 9260 3.2")

    @property
    def controller_factory(self) -> CongestionFactory:
        """What makes the congestion controller."""
        return CONTROLLERS[self.congestion] if isinstance(self.congestion, str) else self.congestion

    @property
    def repeat_limit_s(self) -> float:
        """Longest pause between two questions that carry no data, while no answer comes, seconds.

        Repeating them costs next to nothing, and how soon a path that comes back is noticed
        depends on it.
        """
        return min(self.rto_max_s, self.peer_quiet_s) if self.peer_timeout_s else self.rto_max_s

    @property
    def accepted_message_size(self) -> int:
        """Largest message the reassembly buffer takes, bytes."""
        return self.max_message_size or self.receive_window


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} must be {low}..{high}, not {value}")
