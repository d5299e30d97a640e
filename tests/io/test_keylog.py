from __future__ import annotations

import asyncio
import errno
import logging
import os
import ssl
from pathlib import Path

import pytest

from dcsdk.errors import ConfigError
from dcsdk.io.keylog import KeyLog, log_tls_secrets
from tests.io.sip.certificates import tls_contexts


def test_lines_are_appended_to_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.log"
    path.write_text("CLIENT_RANDOM old\n")
    log = KeyLog(path)
    log(b"CLIENT_RANDOM 00 11")
    log.close()
    log.close()
    log(b"too late")
    assert path.read_text() == "CLIENT_RANDOM old\nCLIENT_RANDOM 00 11\n"


def test_a_new_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    KeyLog(tmp_path / "keys.log").close()
    assert (tmp_path / "keys.log").stat().st_mode & 0o777 == 0o600


def test_it_warns_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        KeyLog(tmp_path / "keys.log").close()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "SECRETS" in record.getMessage()


def test_a_file_that_cannot_be_opened_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot open the key log"):
        KeyLog(tmp_path / "missing" / "keys.log")


def test_secrets_of_tls_that_cannot_be_written_are_told_before_a_connection_needs_them() -> None:
    context = ssl.create_default_context()
    with pytest.raises(ConfigError, match="cannot write the key log /dev/full: No space left"):
        log_tls_secrets(context, "/dev/full")
    assert context.keylog_filename is None


def test_a_full_disk_ends_the_log_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    log = KeyLog("/dev/full")
    log(b"CLIENT_RANDOM 00 11")
    log(b"CLIENT_RANDOM 22 33")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "No space left" in record.getMessage()
    assert "11" not in record.getMessage()
    log.close()


async def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes:
    """Connect two contexts, and return what the server says."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server) as listening:
        address = listening.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(
            *address, ssl=client, server_hostname="localhost"
        )
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
    return said


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_secrets_of_tls_connections_stand_in_the_log(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    server, client = tls_contexts(tmp_path)
    client.maximum_version = version
    for name, context in (("server", server), ("client", client)):
        log_tls_secrets(context, tmp_path / name)
    for _ in range(2):
        assert await handshake(server, client) == b"hello"
    secrets = (tmp_path / "server").read_text().splitlines()
    assert secrets[0] == "# TLS" and not any(line.startswith("#") for line in secrets[1:])
    assert sorted(secrets) == sorted((tmp_path / "client").read_text().splitlines())
    kind = "CLIENT_RANDOM " if version is ssl.TLSVersion.TLSv1_2 else "CLIENT_TRAFFIC_SECRET_0 "
    assert sum(line.startswith(kind) for line in secrets) == 2


async def test_systems_without_files_in_memory_have_the_log_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    server, client = tls_contexts(tmp_path)
    path = tmp_path / "keys.log"
    log_tls_secrets(server, path)
    assert await handshake(server, client) == b"hello"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len([line for line in path.read_text().splitlines() if line[0] != "#"]) >= 4


async def test_a_disk_that_fills_up_ends_the_log_and_no_tls_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server, client = tls_contexts(tmp_path)
    path = tmp_path / "keys.log"
    log_tls_secrets(server, path)
    assert await handshake(server, client) == b"hello"
    written = path.read_bytes()
    full = os.open("/dev/full", os.O_WRONLY)
    for name in os.listdir("/proc/self/fd"):
        if os.path.realpath(f"/proc/self/fd/{name}") == str(path.resolve()):
            os.dup2(full, int(name))
    os.close(full)
    for _ in range(2):
        assert await handshake(server, client) == b"hello"
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "No space left" in record.getMessage()
    assert path.read_bytes() == written


def test_a_process_without_file_descriptors_cannot_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", fail)
    context = ssl.create_default_context()
    with pytest.raises(ConfigError, match="Too many open files"):
        log_tls_secrets(context, tmp_path / "keys.log")
    assert context.keylog_filename is None
