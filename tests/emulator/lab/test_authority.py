"""The emulator's certificate authority."""

from __future__ import annotations

import datetime
import socket
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from dcsdk.emulator.lab.authority import Authority
from dcsdk.errors import ConfigError


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """Shake hands in memory; return the TLS version."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(6):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    ours.write(b"ping")
    assert theirs.read() == b"ping"
    return ours.version()


def test_an_issued_certificate_is_trusted_for_its_names_and_addresses(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    server = authority.server_context(
        authority.issue("pcscf", ["pcscf.ims.example", "127.0.0.1", "::1"])
    )
    for name in ("pcscf.ims.example", "127.0.0.1", "::1"):
        assert handshake(server, authority.client_context(), name) == "TLSv1.3"


def test_another_name_is_not_trusted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.server_context(authority.issue("pcscf", ["127.0.0.1"]))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, authority.client_context(), "127.0.0.2")


def test_another_authority_is_not_trusted(tmp_path: Path) -> None:
    one, other = Authority(tmp_path / "one"), Authority(tmp_path / "other")
    server = one.server_context(one.issue("pcscf", ["127.0.0.1"]))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, other.client_context(), "127.0.0.1")


@pytest.mark.clause("TS 33.501 13.1")
def test_a_server_can_ask_for_a_certificate_of_the_same_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.server_context(authority.issue("mf", ["127.0.0.1"]), require_client=True)
    known = authority.client_context(authority.issue("ims-as", ["127.0.0.1"]))
    assert handshake(server, known, "127.0.0.1") is not None
    with pytest.raises(ssl.SSLError):
        handshake(server, authority.client_context(), "127.0.0.1")


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("pcscf", ["127.0.0.1"])
    for path in (issued.key_file, tmp_path / "ca.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_authority_is_found_again_in_its_folder(tmp_path: Path) -> None:
    first = Authority(tmp_path).ca_file.read_bytes()
    assert Authority(tmp_path).ca_file.read_bytes() == first


def test_an_authority_about_to_expire_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcsdk.emulator.lab.authority.CA_DAYS", 29)
    first = Authority(tmp_path).ca_file.read_bytes()
    monkeypatch.setattr("dcsdk.emulator.lab.authority.CA_DAYS", 3650)
    second = x509.load_pem_x509_certificate(Authority(tmp_path).ca_file.read_bytes())
    assert Authority(tmp_path).ca_file.read_bytes() != first
    left = second.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert left > datetime.timedelta(days=3000)


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello")
    (tmp_path / "ca.key").write_text("hello")
    with pytest.raises(ConfigError, match="cannot be read"):
        Authority(tmp_path)


def test_a_key_of_another_authority_is_refused(tmp_path: Path) -> None:
    Authority(tmp_path / "one")
    Authority(tmp_path / "two")
    (tmp_path / "two" / "ca.key").write_bytes((tmp_path / "one" / "ca.key").read_bytes())
    with pytest.raises(ConfigError, match="belong together"):
        Authority(tmp_path / "two")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot keep certificates"):
        Authority(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "hosts"),
    [("ca", ["127.0.0.1"]), ("../x", ["127.0.0.1"]), ("pcscf", []), ("pcscf", ["höst"])],
)
def test_a_certificate_needs_a_name_and_hosts(tmp_path: Path, name: str, hosts: list[str]) -> None:
    with pytest.raises(ConfigError):
        Authority(tmp_path).issue(name, hosts)


def test_the_certificate_of_a_lost_folder_is_an_error(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    for path in (tmp_path / "ca").iterdir():
        path.unlink()
    (tmp_path / "ca").rmdir()
    with pytest.raises(ConfigError, match="cannot write"):
        authority.issue("pcscf", [socket.gethostbyname("127.0.0.1")])
