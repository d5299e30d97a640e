from __future__ import annotations

from typing import Any

import pytest

from dcsdk.errors import ConfigError
from dcsdk.io.secure.engine_config import MAX_MESSAGE_BYTES, EngineConfig
from dcsdk.sctp.base.config import SctpConfig


def settings(config: EngineConfig, *, remote: int = 65_536) -> SctpConfig:
    return config.sctp_for(
        local_port=5001, remote_port=5002, max_message_size=1000, remote_max_message_size=remote
    )


def test_what_the_sdp_says_goes_into_the_settings() -> None:
    sctp = settings(EngineConfig())
    assert (sctp.local_port, sctp.remote_port) == (5001, 5002)
    assert (sctp.max_message_size, sctp.remote_max_message_size) == (1000, 65_536)


@pytest.mark.clause("RFC 8261 5", "RFC 8831 5")
@pytest.mark.parametrize(("mtu", "packet"), [(1200, 1160), (601, 564), (9000, 8960)])
def test_a_packet_fits_a_record_that_fits_a_datagram(mtu: int, packet: int) -> None:
    sctp = settings(EngineConfig(mtu=mtu))
    assert sctp.mtu == sctp.max_mtu == packet
    assert packet + 37 <= mtu
    assert packet % 4 == 0


def test_sctp_alone_has_the_packet_size_that_an_engine_has_by_default() -> None:
    assert settings(EngineConfig()).mtu == SctpConfig().mtu


@pytest.mark.clause("RFC 9653 6")
def test_inside_dtls_the_checksum_is_left_out_unless_the_engine_is_told_otherwise() -> None:
    assert not SctpConfig().is_zero_checksum_offered
    assert settings(EngineConfig()).is_zero_checksum_offered
    config = EngineConfig(is_zero_checksum_offered=False)
    assert not settings(config).is_zero_checksum_offered


@pytest.mark.parametrize("timeout_s", [0.6, 6.0, 12.0, 60.0])
def test_within_the_peer_timeout_the_peer_is_asked_several_times(timeout_s: float) -> None:
    sctp = settings(EngineConfig(peer_timeout_s=timeout_s, peer_quiet_s=0.1))
    assert sctp.peer_timeout_s == timeout_s
    assert 5 * sctp.rto_initial_s <= timeout_s
    assert sctp.rto_min_s <= sctp.rto_initial_s
    assert sctp.repeat_limit_s == 0.1


@pytest.mark.clause("RFC 9260 6.3.1")
def test_a_peer_timeout_does_not_bound_the_round_trip_that_can_be_measured() -> None:
    assert settings(EngineConfig()).rto_max_s == SctpConfig().rto_max_s


def test_without_a_peer_timeout_the_settings_of_sctp_stay() -> None:
    own = SctpConfig(rto_max_s=33.0, max_retrans=7)
    for never in (None, 0.0):  # TOML has no None
        sctp = settings(EngineConfig(peer_timeout_s=never, sctp=own))
        assert (sctp.rto_max_s, sctp.max_retrans, sctp.peer_timeout_s) == (33.0, 7, 0.0)
        assert sctp.repeat_limit_s == 33.0


def test_the_send_queue_holds_the_largest_message_and_every_grant() -> None:
    config = EngineConfig()
    assert config.send_limit(0) == config.sctp.send_buffer
    assert config.send_limit(10 << 20) == 10 << 20
    assert config.send_limit(1 << 40) == MAX_MESSAGE_BYTES
    assert settings(config, remote=10 << 20).send_buffer > 10 << 20


def test_the_window_holds_the_largest_message_we_accept() -> None:
    sctp = EngineConfig().sctp_for(
        local_port=1, remote_port=1, max_message_size=64 << 20, remote_max_message_size=1 << 70
    )
    assert sctp.receive_window > 64 << 20
    assert sctp.remote_max_message_size == MAX_MESSAGE_BYTES


def test_more_than_can_be_held_is_not_promised() -> None:
    with pytest.raises(ConfigError, match="max-message-size"):
        EngineConfig().sctp_for(
            local_port=1,
            remote_port=1,
            max_message_size=MAX_MESSAGE_BYTES + 1,
            remote_max_message_size=0,
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"mtu": 599},
        {"mtu": 9001},
        {"peer_timeout_s": 0.1},
        {"peer_timeout_s": 4000.0},
        {"peer_quiet_s": 0.0},
        {"handshake_timeout_s": 0.0},
        {"max_queued_bytes": 0},
        {"max_channels": 0},
    ],
)
def test_numbers_that_cannot_work_are_refused_by_name(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=name):
        EngineConfig(**wrong)


def test_associations_that_agree_in_all_share_their_settings() -> None:
    config = EngineConfig()
    assert settings(config) is settings(config)
    for size in range(1000, 1300):  # more than are remembered
        assert settings(config, remote=size).remote_max_message_size == size
    assert settings(config) == settings(EngineConfig())
