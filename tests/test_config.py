"""Configuration: TOML, keyword arguments, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcsdk.config import MAX_CONFIG_BYTES, ClientConfig, from_mapping, read_toml
from dcsdk.errors import ConfigError
from dcsdk.security import Secret


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "alice.toml"
    path.write_text(text)
    return path


def test_a_toml_file_is_read_and_keyword_arguments_win(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'public_identity = "sip:alice@ims.example"\npassword = "s3cret"\n'
        'pcscf_port = 5062\ncall_timeout_s = 20\nca_file = "ca.pem"\ncapture = "a.pcapng"\n'
        "[transport]\nmtu = 1400\n[transport.sctp]\nrto_min_s = 0.2\n",
    )
    config = ClientConfig.load(path, pcscf_port=5063)
    assert config.pcscf_port == 5063
    assert config.call_timeout_s == 20.0
    assert config.ca_file == tmp_path / "ca.pem"
    assert config.capture == tmp_path / "a.pcapng"
    assert config.transport == {"mtu": 1400, "sctp": {"rto_min_s": 0.2}}
    assert config.password == Secret("s3cret")


def test_an_unknown_key_is_refused_by_name_with_a_hint(tmp_path: Path) -> None:
    path = write(tmp_path, 'public_identity = "sip:a@b"\nallow_standalone_cd = true\n')
    with pytest.raises(ConfigError, match="allow_standalone_cd; did you mean allow_standalone_dc"):
        ClientConfig.load(path)


def test_an_unknown_key_of_the_profile_is_named_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"profile\.e2dce_mechanisn"):
        from_mapping(
            ClientConfig,
            {"public_identity": "sip:a@b", "profile": {"e2dce_mechanisn": "x"}},
        )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "missing configuration key public_identity"),
        ({"public_identity": "alice"}, "must look like sip:user@domain"),
        ({"public_identity": "sip:a@b", "pcscf_port": True}, "pcscf_port must be a number"),
        ({"public_identity": "sip:a@b", "pcscf_port": 0}, "1..65535"),
        ({"public_identity": "sip:a@b", "pcscf_port": "5061"}, "pcscf_port must be int"),
        ({"public_identity": "sip:a@b", "pcscf_transport": "sctp"}, "must be one of"),
        ({"public_identity": "sip:a@b", "password": 5}, "password must be text"),
        ({"public_identity": "sip:a@b", "profile": 5}, "profile must be ImsProfile"),
        ({"public_identity": "sip:a@b", "transport": 5}, "transport must be a table"),
        ({"public_identity": "sip:a@b", "media_timeout_s": 0}, "media_timeout_s must be more"),
        ({"public_identity": "sip:a@b", "register_expires_s": 0}, "register_expires_s"),
        ({"public_identity": "sip:a@b", "register_expires_s": 2**32}, "register_expires_s"),
        ({"public_identity": "sip:a@b", "call_timeout_s": float("nan")}, "call_timeout_s"),
        ({"public_identity": "sip:a@b", "call_timeout_s": float("inf")}, "call_timeout_s"),
        ({"public_identity": "sip:a@b", "call_timeout_s": 10**400}, "call_timeout_s"),
        ({"public_identity": "sip:@b"}, "public_identity cannot be used"),
        ({"public_identity": "sip:a\r\nX: y@b"}, "public_identity cannot be used"),
        ({"public_identity": "sip:a@b", "home_domain": "b c"}, "home_domain cannot be used"),
        ({"public_identity": "sip:a@b", "user_agent": "x\r\nX: y"}, "user_agent holds"),
        ({"public_identity": "sip:a@b", "private_identity": "a\0"}, "private_identity holds"),
    ],
)
def test_values_that_cannot_be_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(ClientConfig, values)


def test_what_is_not_toml_or_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not TOML"):
        read_toml(write(tmp_path, "= ="))
    with pytest.raises(ConfigError, match="is not TOML"):
        read_toml(write(tmp_path, "a = " + "[" * 100_000))
    with pytest.raises(ConfigError, match="is not TOML"):
        read_toml(write(tmp_path, "a = " + "9" * 5000))
    with pytest.raises(ConfigError, match="cannot read"):
        read_toml(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="larger than"):
        read_toml(write(tmp_path, "#" * (MAX_CONFIG_BYTES + 1)))


def test_private_identity_and_domain_follow_from_the_public_identity() -> None:
    config = ClientConfig(public_identity="sip:alice@ims.example")
    assert (config.impi, config.domain) == ("alice@ims.example", "ims.example")
    other = config.replace(private_identity="imsi@x", home_domain="home.example")
    assert (other.impi, other.domain) == ("imsi@x", "home.example")


def test_a_changed_copy_is_checked_like_a_new_one() -> None:
    config = ClientConfig(public_identity="sip:alice@ims.example")
    with pytest.raises(ConfigError):
        config.replace(pcscf_port=70_000)


def test_a_password_never_shows() -> None:
    config = ClientConfig(public_identity="sip:alice@ims.example", password=Secret("s3cret"))
    assert "s3cret" not in repr(config)
    assert "s3cret" not in f"{config.password} {config.password!r}"
    assert config.password.reveal() == "s3cret"
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != "a"
