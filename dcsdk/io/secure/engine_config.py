"""What an association engine can be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from dcsdk.errors import ConfigError
from dcsdk.io.capture import Capture
from dcsdk.io.net.udp import UdpPath
from dcsdk.sctp.base.config import SctpConfig
from dcsdk.tls import raw_openssl
from dcsdk.tls.records import GCM_OVERHEAD

SEND_GRANT_BYTES = 64 << 10
"""What a channel may queue without looking at the common queue again."""

MAX_MESSAGE_BYTES = 256 << 20
"""Largest message, either way, whatever the peer takes: it is held in memory whole."""

_LEAST_TRIES = 6
"""How often the first time-out fits into ``peer_timeout_s`` at least."""

SCTP_DECIDED_BY = {
    **dict.fromkeys(("local_port", "remote_port"), "a=sctp-port"),
    **dict.fromkeys(("max_message_size", "remote_max_message_size"), "a=max-message-size"),
    **dict.fromkeys(("mtu", "max_mtu", "is_pmtu_probing"), "mtu"),
    **{n: n for n in ("is_zero_checksum_offered", "peer_timeout_s", "peer_quiet_s")},
}
"""Settings of SCTP that are not used, and what decides instead: the SDP, or a setting of ours."""

_MOST_MADE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Settings of one association engine; the defaults serve every network.

    Attributes:
        sctp: settings of SCTP. Ports and message sizes come from the SDP, the packet size from
            ``mtu``, the checksums from ``is_zero_checksum_offered``, what judges silence from
            ``peer_timeout_s`` and ``peer_quiet_s``; what stands here for them is not used
            (:data:`SCTP_DECIDED_BY`).
        mtu: bytes of the largest UDP payload we send, 600..9000.
        handshake_timeout_s: bound on DTLS and SCTP set-up together, seconds; covers a ``start``
            that nobody waits for.
        peer_timeout_s: with data under way and nothing heard from the peer for this time, the
            association is given up, 0.5..3600 s. Round trips may take nearly as long. 0 or
            ``None`` leaves it to ``sctp.max_retrans`` (RFC 9260's own figures allow many minutes),
            which holds in either case for a peer that is heard and acknowledges nothing.
        peer_quiet_s: when data was under way and nothing came for this time, the peer is asked for
            a sign of life, again and again while it gives none, seconds. So who only receives
            notices as well that the peer is gone, within ``peer_timeout_s``.
        max_queued_bytes: bytes one channel takes from ``send`` ahead of the network.
        max_channels: channels per association (limit D15).
        is_dcep_accepted: take channels that the peer opens in band (RFC 8832); else only those
            agreed in SDP.
        is_zero_checksum_offered: leave SCTP's checksum out with peers that do as well: DTLS guards
            every packet anyway, and each costs less (RFC 9653 6).
        use_gso: send many datagrams with one call where the kernel can.
        use_gro: receive many datagrams with one call where the kernel can.
        is_raw_openssl: encrypt and decrypt past pyOpenSSL's public methods, in less than half the
            time, over handles that a later release of it may drop; then this is an error and not
            slower in silence. ``is_raw_openssl_available()`` is on wherever it can be. For the
            native engine.
        keylog: gets NSS key log lines, for example a ``dcsdk.io.keylog.KeyLog``.
        capture: gets everything on the paths the engine binds, and the secrets that open it.
    """

    sctp: SctpConfig = field(default_factory=SctpConfig)
    mtu: int = 1200
    handshake_timeout_s: float = 30.0
    peer_timeout_s: float | None = 12.0
    peer_quiet_s: float = 2.0
    max_queued_bytes: int = 1 << 20
    max_channels: int = 64
    is_dcep_accepted: bool = True
    is_zero_checksum_offered: bool = True
    use_gso: bool = True
    use_gro: bool = True
    is_raw_openssl: bool = False
    keylog: Callable[[bytes], None] | None = None
    capture: Capture | None = None
    _made: dict[tuple[int, int, int, int], SctpConfig] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work.

        Raises:
            ConfigError: names the field and its range, or why there is no raw OpenSSL.
        """
        if self.is_raw_openssl and (reason := raw_openssl.unavailable_reason()) is not None:
            raise ConfigError(f"is_raw_openssl cannot be had with this pyOpenSSL: {reason}")
        if not 600 <= self.mtu <= 9000:
            raise ConfigError(f"mtu must be 600..9000 bytes, not {self.mtu}")
        if self.peer_timeout_s and not 0.5 <= self.peer_timeout_s <= 3600:
            raise ConfigError(f"peer_timeout_s must be 0 or 0.5..3600 s, not {self.peer_timeout_s}")
        if not 0.001 <= self.peer_quiet_s <= 3600:
            raise ConfigError(f"peer_quiet_s must be 0.001..3600 s, not {self.peer_quiet_s}")
        if self.handshake_timeout_s <= 0:
            raise ConfigError("handshake_timeout_s must be more than 0 seconds")
        if self.max_queued_bytes <= 0 or self.max_channels <= 0:
            raise ConfigError("max_queued_bytes and max_channels must be more than 0")

    @property
    def secrets_log(self) -> Callable[[bytes], None] | None:
        """What gets the NSS key log lines of DTLS: key log, capture, both or none."""
        keylog, capture = self.keylog, self.capture
        if capture is None or keylog is None:
            return keylog if capture is None else capture.secret
        write, also = keylog, capture.secret

        def both(line: bytes) -> None:
            write(line)
            also(line)

        return both

    def or_given(self, config: object) -> EngineConfig:
        """Return ``config``, or these settings where it is ``None``.

        Raises:
            ConfigError: it is something else.
        """
        if config is None:
            return self
        if not isinstance(config, EngineConfig):
            raise ConfigError(f"expected an EngineConfig, not {type(config).__name__}")
        return config

    def bind_udp(self, host: str, port: int = 0) -> UdpPath:
        """Bind a UDP socket.

        Args:
            host: a local IPv4 or IPv6 address.
            port: 0 for any free one.

        Raises:
            ConfigError: ``host`` is no IP address.
            TransportError: the address cannot be bound.
        """
        return UdpPath.bind(
            host, port, use_gso=self.use_gso, use_gro=self.use_gro, capture=self.capture
        )

    def send_limit(self, remote_max_message_size: int) -> int:
        """Bytes one association queues over all channels: room for the largest message at least.

        Any size is not a size to make room for: what goes to such a peer is as large as the queue.

        Args:
            remote_max_message_size: bytes the peer accepts in one message, 0 for any size.
        """
        return max(self.sctp.send_buffer, min(remote_max_message_size, MAX_MESSAGE_BYTES))

    def sctp_for(
        self,
        *,
        local_port: int,
        remote_port: int,
        max_message_size: int,
        remote_max_message_size: int,
    ) -> SctpConfig:
        """Return the SCTP settings of one association; those that agree in all share them.

        Args:
            local_port: our ``a=sctp-port``.
            remote_port: the peer's.
            max_message_size: bytes we accept in one message, 0 for as much as the window holds.
            remote_max_message_size: bytes the peer accepts, 0 for any size.

        Raises:
            ConfigError: ``max_message_size`` is more than we hold.
        """
        key = local_port, remote_port, max_message_size, remote_max_message_size
        settings = self._made.get(key)
        if settings is None:
            if len(self._made) >= _MOST_MADE:
                self._made.clear()
            settings = self._made[key] = self._sctp_for(*key)
        return settings

    def _sctp_for(
        self,
        local_port: int,
        remote_port: int,
        max_message_size: int,
        remote_max_message_size: int,
    ) -> SctpConfig:
        if max_message_size > MAX_MESSAGE_BYTES:
            raise ConfigError(f"a max-message-size above {MAX_MESSAGE_BYTES} cannot be held")
        # Room for the largest message with the headers that count against the window.
        window = max(self.sctp.receive_window, max_message_size * 9 // 8)
        mtu = (self.mtu - GCM_OVERHEAD) // 4 * 4
        # Each channel may be this much ahead of what it last knew of the common queue.
        slack = self.max_channels * SEND_GRANT_BYTES
        settings = replace(
            self.sctp,
            send_buffer=self.send_limit(remote_max_message_size) + slack,
            local_port=local_port,
            remote_port=remote_port,
            max_message_size=max_message_size,
            remote_max_message_size=min(remote_max_message_size, MAX_MESSAGE_BYTES),
            receive_window=window,
            is_zero_checksum_offered=self.is_zero_checksum_offered,
            mtu=mtu,
            max_mtu=mtu,
            peer_timeout_s=self.peer_timeout_s or 0.0,
            peer_quiet_s=self.peer_quiet_s,
        )
        if not self.peer_timeout_s:
            return settings
        # The bound of the time-out stays: what the path needs is measured, however long it is.
        first = self.peer_timeout_s / _LEAST_TRIES
        return replace(
            settings,
            rto_initial_s=min(settings.rto_initial_s, first),
            rto_min_s=min(settings.rto_min_s, first),
        )
