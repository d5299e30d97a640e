"""The ``dcsdk`` command: what it prints, and the status it ends with."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dcsdk import CallRejected
from dcsdk.cli.demo import Demo
from dcsdk.cli.main import app
from dcsdk.emulator.network_config import NetworkConfig
from tests.processes import END_TIMEOUT_S, ROOT, read_line

FILE_BYTES = 300_000


@pytest.fixture(autouse=True)
def quiet_logging() -> Iterator[None]:
    """``--verbose`` configures logging for the whole process; take that back."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file to move."""
    path = tmp_path / "a file.bin"
    path.write_bytes(bytes(range(256)) * (FILE_BYTES // 256 + 1))
    return path


def run(*arguments: str | Path) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def assert_one_line(result: Result, status: int, *words: str) -> None:
    """The command failed, and said why in one line of its own."""
    assert result.exit_code == status, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("dcsdk: ")
    for word in words:
        assert word in line


# --- demo ----------------------------------------------------------------------------------------
def test_demo_prints_one_object_with_everything_in_it(file: Path) -> None:
    result = run("demo", "--file", file, "--json")
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    assert told["ok"] is True
    assert told["bytes_moved"] == file.stat().st_size
    assert told["sha256_sent"] == told["sha256_received"] != ""
    assert told["seconds"] > told["transfer_seconds"] > 0 and told["mb_per_s"] > 0
    assert {app["app_id"] for app in told["applications"]} == {"whiteboard", "file-drop"}
    assert told["mini_app"]["bytes"] > 0
    for registration in told["registrations"]:
        assert registration["signalling"] == "tls"
        media = registration["capabilities"]["media"]
        assert [row["scope"] for row in media if row["agreed"]] == ["e2dce"]
        assert registration["capabilities"]["data_channel"]["agreed"]


def test_demo_tells_of_each_stream_what_it_claims_and_what_is_true(file: Path) -> None:
    streams = json.loads(run("demo", "--file", file, "--json").stdout)["streams"]
    assert [(item["owner"], item["role"]) for item in streams].count(("alice", "bootstrap")) == 1
    assert len(streams) == 4
    for stream in streams:
        is_bootstrap = stream["role"] == "bootstrap"
        assert stream["scope"] == ("e2dce" if is_bootstrap else "network-decides")
        assert stream["network_knows"] == ("e2dce" if is_bootstrap else "e2e")
        assert stream["backend"] == "dtls_sctp" and stream["suite"].startswith("ECDHE")
        assert stream["agrees_with_network"]


def test_demo_shows_a_timeline_with_fingerprints_as_they_are(file: Path) -> None:
    result = run("demo", "--file", file)
    assert result.exit_code == 0, result.output
    for text in (
        "sip:alice@ims.example is registered over TLS",
        "allow_standalone_dc",
        "a=3ge2dce:requested",
        "scope e2dce",
        "the network knows: e2e",
        "whiteboard: Whiteboard",
        "sha256 received",
        "equal",
        "MB/s",
    ):
        assert text in result.stdout
    fingerprints = [line for line in result.stdout.splitlines() if "a=fingerprint" in line]
    assert fingerprints and all(line.isascii() for line in fingerprints)
    assert result.stdout.splitlines()[-1] == "OK"


def test_demo_writes_a_key_log_and_warns(file: Path, tmp_path: Path) -> None:
    keylog = tmp_path / "keys.log"
    assert run("demo", "--file", file, "--json", "--keylog", keylog).exit_code == 0
    lines = keylog.read_text().splitlines()
    assert sum(line.startswith("CLIENT_RANDOM ") for line in lines) >= 3
    assert keylog.stat().st_mode & 0o077 == 0, "it is for its owner only"


def test_demo_writes_a_capture_for_its_owner_only(file: Path, tmp_path: Path) -> None:
    capture = tmp_path / "demo.pcapng"
    assert run("demo", "--file", file, "--json", "--capture", capture).exit_code == 0
    data = capture.read_bytes()
    assert data.count(b"CLIENT_RANDOM ") == 2, "those of one client, in the file"
    assert b"REGISTER sip:" in data
    assert capture.stat().st_mode & 0o077 == 0


def test_a_capture_that_cannot_be_written_is_one_line_and_status_2(
    file: Path, tmp_path: Path
) -> None:
    result = run("demo", "--file", file, "--capture", tmp_path / "nowhere" / "demo.pcapng")
    assert_one_line(result, 2, "nowhere", "capture")


def test_a_capture_on_a_full_disk_is_one_line_and_status_2(file: Path) -> None:
    result = run("demo", "--file", file, "--capture", "/dev/full")
    assert_one_line(result, 2, "capture /dev/full", "No space left on device")


@pytest.mark.parametrize("option", ["--capture", "--keylog"])
def test_the_warning_that_secrets_are_written_is_seen_once(
    file: Path, tmp_path: Path, option: str
) -> None:
    result = run("demo", "--file", file, option, tmp_path / "secrets")
    assert_one_line(result, 0, "SECRETS ARE BEING WRITTEN", str(tmp_path / "secrets"))


@pytest.mark.parametrize("as_json", [True, False])
def test_a_capture_that_is_not_complete_is_no_success(
    file: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    monkeypatch.setattr("dcsdk.cli.main._try_to_write", lambda path, what: None)
    options = ["--json"] if as_json else []
    result = run("demo", "--file", file, "--capture", "/dev/full", *options)
    assert result.exit_code == 1
    problem = "capture=/dev/full stopped: No space left on device"
    assert result.stderr.splitlines()[1:] == [f"dcsdk: {problem}"]
    if as_json:
        told = json.loads(result.stdout)
        assert told["ok"] is False and told["problems"] == [problem]
        assert told["bytes_moved"] == file.stat().st_size
    else:
        assert result.stdout.splitlines()[-1] == "FAILED"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_interrupted_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "dcsdk", "demo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            read_line(process)  # the network is up
            assert list(tmp_path.iterdir())
            process.send_signal(number)
            _, errors = process.communicate(timeout=END_TIMEOUT_S)
        finally:
            process.kill()
    assert process.returncode == 128 + number
    assert errors == ""
    assert not list(tmp_path.iterdir())


def test_demo_brings_a_file_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcsdk.cli.main.SAMPLE_BYTES", FILE_BYTES)
    told = json.loads(run("demo", "--json").stdout)
    assert told["ok"] and told["bytes_moved"] == FILE_BYTES


def test_demo_logs_when_asked(file: Path) -> None:
    result = run("--verbose", "demo", "--file", file, "--json")
    assert result.exit_code == 0
    assert logging.getLogger().handlers


@pytest.mark.parametrize(
    ("name", "says"), [("missing.bin", "No such file"), (".", "directory"), ("empty.bin", "empty")]
)
def test_a_file_that_cannot_be_sent_is_one_line_and_status_2(
    tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / "empty.bin").touch()
    assert_one_line(run("demo", "--file", tmp_path / name), 2, says, str(tmp_path))


def test_a_full_disk_on_the_receiving_side_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = Demo.__init__

    def on_a_full_disk(self: Demo, *args: Any, **values: Any) -> None:
        init(self, *args, **{**values, "target": Path("/dev/full")})

    monkeypatch.setattr(Demo, "__init__", on_a_full_disk)
    assert_one_line(run("demo", "--file", file), 1, "No space left on device")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert_one_line(run("demo", "--file", tmp_path / "pipe"), 2, "not a file", str(tmp_path))


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A TCP port that somebody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_busy_port_is_one_line_and_status_2(file: Path, busy_port: int) -> None:
    result = run("demo", "--file", file, "--sip-port", str(busy_port))
    assert_one_line(result, 2, "tls_port", str(busy_port))


def test_a_port_that_is_none_is_one_line_and_status_2(file: Path) -> None:
    assert_one_line(run("demo", "--file", file, "--sip-port", "70000"), 2, "tls_port", "65535")


def test_a_key_log_that_cannot_be_written_is_one_line_and_status_2(
    file: Path, tmp_path: Path
) -> None:
    result = run("demo", "--file", file, "--keylog", tmp_path / "nowhere" / "keys.log")
    assert_one_line(result, 2, "nowhere")


def test_a_file_that_was_there_is_as_it_was_when_nothing_came_of_it(
    file: Path, tmp_path: Path, busy_port: int
) -> None:
    capture = tmp_path / "old.pcapng"
    capture.write_bytes(b"old")
    assert run("demo", "--sip-port", str(busy_port), "--capture", capture).exit_code == 2
    assert capture.read_bytes() == b"old"


def test_a_key_log_on_a_full_disk_is_one_line_and_status_2(file: Path) -> None:
    result = run("demo", "--file", file, "--keylog", "/dev/full")
    assert_one_line(result, 2, "/dev/full", "No space left on device")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_demo_that_fails_says_why_and_ends_with_1(
    file: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    refusing = NetworkConfig.demo(faults=("488",))
    monkeypatch.setattr(NetworkConfig, "demo", lambda **_: refusing)
    result = run("demo", "--file", file, *(["--json"] if as_json else []))
    assert_one_line(result, 1, "the demonstration failed", "488")
    if as_json:
        told = json.loads(result.stdout)
        assert told["ok"] is False and "488" in told["error"]


def test_a_demo_whose_hashes_differ_ends_with_1(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_it = Demo.run

    async def tamper(self: Demo) -> Any:
        result = await run_it(self)
        result.sha256_received = "0" * 64
        return result

    monkeypatch.setattr(Demo, "run", tamper)
    result = run("demo", "--file", file)
    assert result.exit_code == 1
    assert "DIFFERENT" in result.stdout and result.stdout.splitlines()[-1] == "FAILED"
    assert json.loads(run("demo", "--file", file, "--json").stdout)["ok"] is False


def test_without_a_command_there_is_help() -> None:
    result = run()
    assert "demo" in result.output and "emulator" in result.output


# --- emulator ------------------------------------------------------------------------------------
@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration on free ports."""
    path = tmp_path / "network.toml"
    path.write_text("tls_port = 0\ntcp_port = 0\nudp_port = 0\n")
    return path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_emulator_says_when_it_is_ready_and_ends_cleanly(
    tmp_path: Path, config: Path, number: signal.Signals
) -> None:
    command = ["-m", "dcsdk", "emulator", "--config", str(config), "--folder", str(tmp_path / "f")]
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            ready = json.loads(read_line(process))
            assert ready["ready"] is True
            assert set(ready["ports"]) == {"tls", "tcp", "udp"} and all(ready["ports"].values())
            assert Path(ready["ca_file"]).is_file()
            assert set(ready["users"]) == {"alice", "bob"}
            for user in ready["users"].values():
                assert Path(user["config"]).stat().st_mode & 0o077 == 0
            process.send_signal(number)
            output, errors = process.communicate(timeout=END_TIMEOUT_S)
        finally:
            process.kill()
    assert process.returncode == 0
    assert output == "" and errors == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tls_prot = 1\n", "did you mean tls_port"),
        ("tls_port = 'x'\n", "tls_port must be int"),
        ("faults = ['E66']\n", "E6"),
        ("[[subscribers]]\nname = 'x'\n", "password"),
        ("not toml", "is not TOML"),
    ],
)
def test_a_configuration_that_cannot_be_is_one_line_and_status_2(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "network.toml"
    path.write_text(text)
    assert_one_line(run("emulator", "--config", path), 2, says)


def test_a_configuration_that_is_not_there_is_one_line_and_status_2(tmp_path: Path) -> None:
    assert_one_line(run("emulator", "--config", tmp_path / "none.toml"), 2, "none.toml")


def test_the_emulator_on_a_busy_port_is_one_line_and_status_2(
    tmp_path: Path, busy_port: int
) -> None:
    path = tmp_path / "network.toml"
    path.write_text(f"tls_port = {busy_port}\ntcp_port = 0\nudp_port = 0\n")
    assert_one_line(run("emulator", "--config", path), 2, "tls_port", str(busy_port))


def test_an_emulator_that_stops_by_an_error_ends_with_1(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: NetworkConfig) -> None:
        raise CallRejected("something unforeseen")

    monkeypatch.setattr("dcsdk.cli.main.serve", fail)
    assert_one_line(run("emulator", "--config", config), 1, "something unforeseen")
