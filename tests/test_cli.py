"""The ``dcsdk`` command: the demonstration, the emulator, and one line for what is wrong."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dcsdk import DcsdkError
from dcsdk.cli import app
from dcsdk.demo import Demo
from tests.processes import ROOT, read_line, running

TIMEOUT_S = 100
SMALL, LARGE = 1_000_000, 100_000_000
FLAT_BYTES = 30_000_000
"""How much more memory the large file may cost than the small one."""


def run(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, list(arguments))


def one_line(result: Result) -> str:
    """Return the only line of what a refused command says."""
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("dcsdk: ")
    return line


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A small file."""
    path = tmp_path / "sample"
    path.write_bytes(hashlib.shake_128(b"sample").digest(SMALL))
    return path


def test_demo_tells_what_happened_as_json(sample: Path) -> None:
    result = run("demo", "--json", "--file", str(sample))
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    digest = hashlib.sha256(sample.read_bytes()).hexdigest()
    assert told["ok"] is True
    assert told["sha256_sent"] == told["sha256_received"] == digest
    assert told["bytes_moved"] == SMALL
    assert told["seconds"] > told["transfer_seconds"] > 0
    assert told["mb_per_s"] > 0
    identities = [entry["identity"] for entry in told["registrations"]]
    assert identities == ["sip:alice@ims.example", "sip:bob@ims.example"]
    assert [entry["app_id"] for entry in told["applications"]] == ["file-drop", "whiteboard"]


@pytest.mark.clause("TS 33.328 7.2.X", "TS 24.186 9.3.3.2.1")
def test_demo_claims_no_scope_that_the_network_denies(sample: Path) -> None:
    told = json.loads(run("demo", "--json", "--file", str(sample)).stdout)
    found = {
        (entry["owner"], entry["role"]): (entry["scope"], entry["network_knows"])
        for entry in told["streams"]
    }
    assert found == {
        ("alice", "bootstrap"): ("e2dce", "e2dce"),
        ("bob", "bootstrap"): ("e2dce", "e2dce"),
        ("alice", "application"): ("network-decides", "e2e"),
        ("bob", "application"): ("network-decides", "e2e"),
    }
    assert all(entry["version"] == "DTLSv1.2" and entry["suite"] for entry in told["streams"])


def test_demo_tells_what_happened_to_a_reader(sample: Path) -> None:
    result = run("demo", "--file", str(sample))
    assert result.exit_code == 0, result.output
    digest = hashlib.sha256(sample.read_bytes()).hexdigest()
    assert result.stdout.count(digest) == 2
    for part in ("is registered over TLS", "a=fingerprint", "e2dce", "whiteboard", "OK"):
        assert part in result.stdout


def test_demo_moves_100_mb_with_flat_memory(tmp_path: Path) -> None:
    peak = {}
    for size in (SMALL, LARGE):
        path = tmp_path / str(size)
        block = os.urandom(SMALL)
        with path.open("wb") as file:
            for _ in range(size // SMALL):
                file.write(block)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("COV")
        }
        command = [sys.executable, "-m", "dcsdk", "demo", "--json", "--file", str(path)]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            told = json.loads(process.stdout.read())
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        assert told["bytes_moved"] == size
        peak[size] = usage.ru_maxrss * 1024
    assert peak[LARGE] - peak[SMALL] < FLAT_BYTES, peak


def test_demo_writes_the_secrets_it_is_asked_for(sample: Path, tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    result = run("demo", "--json", "--file", str(sample), "--keylog", str(keylog))
    assert result.exit_code == 0, result.output
    labels = {line.split()[0] for line in keylog.read_text().splitlines()}
    assert {"CLIENT_RANDOM", "CLIENT_TRAFFIC_SECRET_0"} <= labels
    assert keylog.stat().st_mode & 0o077 == 0


def test_verbose_demo_logs_no_password(sample: Path) -> None:
    command = [sys.executable, "-m", "dcsdk", "--verbose", "demo", "--json", "--file", str(sample)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    assert "dcsdk" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    assert "cannot read" in one_line(run("demo", "--file", str(tmp_path / name)))


def test_empty_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert "nothing to move" in one_line(run("demo", "--file", str(tmp_path / "empty")))


def test_busy_port_is_one_line(sample: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        line = one_line(run("demo", "--file", str(sample), "--sip-port", str(port)))
    assert str(port) in line


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_failed_demo_says_so_and_exits_1(
    monkeypatch: pytest.MonkeyPatch, sample: Path, form: list[str]
) -> None:
    async def fail(self: Demo) -> None:
        raise DcsdkError("the peer went away")

    monkeypatch.setattr(Demo, "run", fail)
    result = run("demo", "--file", str(sample), *form)
    assert result.exit_code == 1
    assert result.stderr == "dcsdk: the demonstration failed: the peer went away\n"
    if form:
        assert json.loads(result.stdout) == {"ok": False, "error": "the peer went away"}


@pytest.mark.parametrize("text", ["tls_prot = 0", "tls_port = 'x'", "tls_port ="])
def test_emulator_refuses_a_bad_configuration_in_one_line(tmp_path: Path, text: str) -> None:
    config = tmp_path / "network.toml"
    config.write_text(text)
    one_line(run("emulator", "--config", str(config)))


def test_emulator_serves_until_ctrl_c(tmp_path: Path) -> None:
    config = tmp_path / "network.toml"
    config.write_text("udp_port = 0\ntcp_port = 0\ntls_port = 0\n")
    command = ["-m", "dcsdk", "emulator", "--folder", str(tmp_path), "--config", str(config)]
    with running(*command, folder=ROOT) as process:
        ready = json.loads(read_line(process))
        assert set(ready["ports"]) == {"udp", "tcp", "tls"}
        assert Path(ready["ca_file"]).is_file()
        with socket.create_connection((ready["host"], ready["ports"]["tls"]), timeout=5):
            pass
    assert process.returncode == 0


def test_command_without_arguments_shows_help() -> None:
    result = run()
    assert "demo" in result.output
    assert "emulator" in result.output
