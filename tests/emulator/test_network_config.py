"""What the emulated network can be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcsdk.config import from_mapping
from dcsdk.emulator import NetworkConfig, SubscriberConfig
from dcsdk.errors import ConfigError
from dcsdk.security import Secret


def test_a_toml_file_is_read_and_keyword_arguments_win(tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    path.write_text(
        'home_domain = "lab.example"\ntls_port = 5061\nfaults = ["E6", "E7-setup"]\n'
        'folder = "ims"\n[[subscribers]]\nname = "carol"\npassword = "c"\n'
        'aliases = ["tel:+1"]\ndc_allowed = false\n[profile]\nbootstrap_local_ids = [0]\n'
    )
    config = NetworkConfig.load(path, tls_port=0)
    assert config.subscribers == (
        SubscriberConfig(name="carol", password=Secret("c"), aliases=("tel:+1",), dc_allowed=False),
    )
    assert (config.home_domain, config.tls_port, config.folder) == ("lab.example", 0, Path("ims"))
    assert config.faults == ("E6", "E7-setup")
    assert config.profile.bootstrap_local_ids == (0,)
    assert config.replace(tls_port=7).tls_port == 7
    assert config.replace(tls_port=7).subscribers == config.subscribers


def test_the_demonstration_network_has_alice_and_bob() -> None:
    config = NetworkConfig.demo(host="::1")
    assert [subscriber.name for subscriber in config.subscribers] == ["alice", "bob"]
    assert config.e2dce_tokens and config.host == "::1"


def test_the_served_network_has_fixed_ports_that_a_file_may_change() -> None:
    config = from_mapping(NetworkConfig, {**NetworkConfig.served(), "tls_port": 6061})
    assert (config.udp_port, config.tcp_port, config.tls_port) == (5060, 5060, 6061)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"host": "localhost"}, "host must be an IP address"),
        ({"host": "0.0.0.0"}, "address of this machine"),  # noqa: S104
        ({"media_host": "nowhere"}, "media_host must be"),
        ({"tls_port": 70_000}, "tls_port must be 0..65535"),
        ({"udp_port": None, "tcp_port": None, "tls_port": None}, "one of udp_port"),
        ({"min_expires_s": 0}, "min_expires_s"),
        ({"trace_capacity": 0}, "trace_capacity"),
        ({"faults": ["E66"]}, "unknown fault 'E66'; did you mean 'E6'"),
        ({"faults": ["~~~~~~~~"]}, "faults: E1, "),
        ({"faults": "E6"}, "faults must be"),
        ({"subscribers": [{"name": "a", "password": "1"}] * 2}, "two subscribers"),
        ({"subscribers": [{"name": "a b", "password": "1"}]}, "'a b'"),
        ({"subscribers": [{"name": "a"}]}, r"missing configuration key subscribers\[0\]\.password"),
        ({"subscribers": [3]}, r"subscribers\[0\] must be SubscriberConfig"),
        ({"subscibers": []}, "did you mean subscribers"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NetworkConfig.demo(**values)


def test_a_password_is_in_no_repr() -> None:
    assert "alice-secret" not in repr(NetworkConfig.demo())
