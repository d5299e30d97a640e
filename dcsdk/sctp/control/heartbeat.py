"""Is the peer alive, how far away is it, and how large may a packet be.

HEARTBEAT chunks carry a nonce, so an answer cannot be forged or replayed; the same chunk padded
with PAD probes the path MTU (RFC 8261 6.2, RFC 8899).

Thousands of idle associations must cost next to nothing, so their heartbeats are as few as RFC 9260
8.3 allows, which leaves HB.interval to us:

- One end asks, the other answers. Who was asked has seen that the peer is alive, and waits a little
  longer than it; should the peer fall silent, it asks itself. When both ask at once, the one with
  the larger nonce goes on.
- While nothing else happens the interval doubles, up to ``hb_slowdown`` times.
- They are sent at common moments, so that the event loop wakes once for many associations.

So the end of an idle peer is noticed after at most 1.2 * ``hb_slowdown`` * ``hb_interval_s`` and
``peer_timeout_s``; that of a peer to which or from which data is under way, after the latter.

A heartbeat is repeated while no answer comes. The answer to any of the last few counts, also when
the path is so long that it was repeated meanwhile.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from dcsdk.sctp.base.config import SctpConfig
from dcsdk.sctp.sending.recovery import RoundTrip
from dcsdk.sctp.wire.chunks import ChunkType, encode_chunk
from dcsdk.sctp.wire.packet import COMMON_HEADER_SIZE
from dcsdk.sctp.wire.parameters import ParameterType, Tlv

_INFO = struct.Struct("!8sd")
_NONCE_SIZE = 8
_HEARTBEAT_SIZE = 4 + 4 + _INFO.size
MOMENTS = 64
"""Heartbeats are sent at multiples of this part of their interval, on a clock that the associations
of a process share. So many moments still spread thousands of them."""
LED_MOMENTS = 8
"""Who is asked by the peer waits so many moments longer than it."""
MAX_OPEN = 12
"""Heartbeats whose answers are known; at the pace they are repeated, those of a path of 10 s."""
MAX_PROBE_LOSSES = 3
"""A size is given up after this many unanswered probes (MAX_PROBES, RFC 8899 5.1.2)."""
PROBE_STEP = 32
"""The search for the path MTU ends when the unknown range is smaller, bytes."""
MTU_RAISE_INTERVAL_S = 600.0
"""Time until a larger size is tried again (RFC 8899 5.1.1)."""


class Heartbeat:
    """Sends HEARTBEATs when the path is idle, and finds the packet size if asked to.

    Args:
        config: intervals and sizes.
        entropy: for nonces and jitter.
        round_trip: takes the measurements.

    Attributes:
        mtu: largest packet size known to pass, bytes.
        is_unanswered: the last heartbeat has no answer yet.
    """

    __slots__ = (
        "_asked_s",
        "_config",
        "_entropy",
        "_high",
        "_interval_s",
        "_is_led",
        "_nonces",
        "_probe_losses",
        "_probe_nonce",
        "_probe_size",
        "_probe_timer_s",
        "_rested_s",
        "_round_trip",
        "_timer_s",
        "_wait_s",
        "is_unanswered",
        "mtu",
    )

    def __init__(
        self, config: SctpConfig, entropy: Callable[[int], bytes], round_trip: RoundTrip
    ) -> None:
        self._config = config
        self._entropy = entropy
        self._round_trip = round_trip
        self._timer_s: float | None = None
        self._interval_s = config.hb_interval_s
        self._rested_s = 0.0
        self._is_led = False
        self._nonces: list[bytes] = []  # of the heartbeats without an answer, oldest first
        self._asked_s = self._wait_s = 0.0
        self.is_unanswered = False
        self.mtu = config.mtu
        self._high = config.max_mtu
        self._probe_size = 0
        self._probe_nonce = b""
        self._probe_losses = 0
        self._probe_timer_s: float | None = None

    def start(self, now: float) -> None:
        """The association is established."""
        self._interval_s = self._config.hb_interval_s
        self._is_led = False
        self._rest(now)
        if self._config.is_pmtu_probing and self._high > self.mtu:
            self._probe_timer_s = now

    def _rest(self, now: float) -> None:
        """The peer is alive: the next heartbeat is an interval away (RFC 9260 8.3)."""
        self._timer_s = None
        if self._interval_s:
            jitter = self._round_trip.timeout_s * (0.5 + self._entropy(1)[0] / 255)
            moment = self._interval_s / MOMENTS
            wait = self._interval_s + jitter + (LED_MOMENTS * moment if self._is_led else 0.0)
            self._timer_s = math.ceil((now + wait) / moment) * moment
            self._rested_s = now

    def _slow_down(self) -> None:
        """Nothing but heartbeats happened."""
        config = self._config
        self._interval_s = min(self._interval_s * 2, config.hb_interval_s * config.hb_slowdown)

    def next_timer(self) -> float | None:
        """Return when :meth:`handle_timer` has something to send, seconds."""
        if self._timer_s is None or self._probe_timer_s is None:
            return self._probe_timer_s if self._timer_s is None else self._timer_s
        return min(self._timer_s, self._probe_timer_s)

    def handle_timer(self, now: float, heard_s: float) -> tuple[list[bytes], bool]:
        """Return chunk groups that each need a packet of their own, and whether one went missing.

        A heartbeat without an answer is an error against the peer (RFC 9260 8.1, 8.3), unless
        something else came from it; a lost probe of the path MTU is none.

        Args:
            now: seconds.
            heard_s: when the last sign of life came; for a while then no heartbeat is needed.
        """
        groups: list[bytes] = []
        is_missing = False
        if self._timer_s is not None and now >= self._timer_s:
            if heard_s > self._rested_s:
                self._interval_s = self._config.hb_interval_s  # it was used meanwhile
            if not self.is_unanswered and now - heard_s < self._interval_s:
                self._rest(heard_s)
            else:
                is_missing = self.is_unanswered and heard_s <= self._asked_s
                if not self.is_unanswered:
                    self._slow_down()
                self._is_led = False
                groups.append(self._ask(now))
        if self._probe_timer_s is not None and now >= self._probe_timer_s:
            groups += self._probe(now)
        return groups, is_missing

    def request(self, now: float) -> list[bytes]:
        """Return the chunk group of a heartbeat to send at once, none if one is on its way.

        Args:
            now: seconds.
        """
        if self.is_unanswered:
            return []
        self._interval_s = self._config.hb_interval_s
        return [self._ask(now)]

    def _ask(self, now: float) -> bytes:
        if self.is_unanswered:
            # Where silence is measured it ends soon: then the last question should be a recent one.
            limit_s = self._config.repeat_limit_s / (2 if self._config.peer_timeout_s else 1)
            self._wait_s = max(self._wait_s, min(2 * self._wait_s, limit_s))
        else:
            self._wait_s = self._round_trip.timeout_s
        self.is_unanswered = True
        self._asked_s = now
        self._nonces = [*self._nonces[1 - MAX_OPEN :], self._entropy(_NONCE_SIZE)]
        self._timer_s = now + self._wait_s
        return _heartbeat(self._nonces[-1], now)

    def asked(self, value: bytes, now: float) -> None:
        """Take the value of a HEARTBEAT of the peer: who asks is alive.

        Args:
            value: to be sent back; after the header of its parameter, of our own kind a nonce.
            now: seconds.
        """
        if self.is_unanswered:
            self._is_led = value[4 : 4 + _NONCE_SIZE] > self._nonces[-1]  # both ask at once
        elif self._timer_s is not None:
            self._slow_down()
            self._is_led = True
            self._rest(now)

    def acknowledged(self, value: bytes, now: float) -> bool:
        """Take the value of a HEARTBEAT ACK.

        Returns:
            It answers a heartbeat or probe of ours.
        """
        if len(value) != 4 + _INFO.size:
            return False
        nonce, sent_s = _INFO.unpack_from(value, 4)
        if nonce in self._nonces:
            self.is_unanswered = False
            del self._nonces[: self._nonces.index(nonce) + 1]
            self._round_trip.sample(now - sent_s)
            self._rest(now)
            return True
        if self._probe_nonce and nonce == self._probe_nonce:
            self.mtu = self._probe_size
            self._probe_nonce, self._probe_losses = b"", 0
            is_done = self._high - self.mtu < PROBE_STEP
            self._probe_timer_s = now + MTU_RAISE_INTERVAL_S if is_done else now
            return True
        return False

    def _probe(self, now: float) -> list[bytes]:
        if self._probe_nonce:
            self._probe_losses += 1
            if self._probe_losses >= MAX_PROBE_LOSSES:
                self._high = self._probe_size - 4
                self._probe_losses = 0
        if self._high - self.mtu < PROBE_STEP:
            self._high = self._config.max_mtu
            self._probe_nonce = b""
            self._probe_timer_s = now + MTU_RAISE_INTERVAL_S
            return []
        if not self._probe_losses:
            is_first = self._high == self._config.max_mtu
            self._probe_size = self._high if is_first else (self.mtu + self._high) // 8 * 4
        self._probe_nonce = self._entropy(_NONCE_SIZE)
        self._probe_timer_s = now + self._round_trip.timeout_s
        padding = self._probe_size - COMMON_HEADER_SIZE - _HEARTBEAT_SIZE - 4
        return [_heartbeat(self._probe_nonce, now) + encode_chunk(ChunkType.PAD, 0, bytes(padding))]


def _heartbeat(nonce: bytes, now: float) -> bytes:
    info = Tlv(ParameterType.HEARTBEAT_INFO, _INFO.pack(nonce, now))
    return encode_chunk(ChunkType.HEARTBEAT, 0, info.encode())
