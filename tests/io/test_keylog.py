from __future__ import annotations

import logging
import ssl
from pathlib import Path

import pytest

from dcsdk.errors import ConfigError
from dcsdk.io.keylog import KeyLog, log_tls_secrets


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
