"""Every example runs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcsdk import Client, ClientConfig
from tests.processes import ROOT, read_line, running

EXAMPLES = ROOT / "examples"
TIMEOUT_S = 30

BY_THEMSELVES = {"01_register.py", "02_hello_channel.py", "04_transport.py"}
WITH_EMULATOR = {"03_echo_bot.py"}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Run ``dcsdk emulator`` on free ports; returns what it says when it is ready."""
    folder = tmp_path_factory.mktemp("emulator")
    config = folder / "network.toml"
    config.write_text("udp_port = 0\ntcp_port = 0\ntls_port = 0\n")
    command = ["-m", "dcsdk", "emulator", "--folder", str(folder), "--config", str(config)]
    with running(*command, folder=ROOT) as process:
        yield {**json.loads(read_line(process)), "folder": folder}


def run_program(path: Path, folder: Path) -> str:
    """Run a program that ends by itself, without a complaint; returns what it printed."""
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_every_example_is_run_here() -> None:
    found = {path.name for path in EXAMPLES.glob("*.py")}
    assert found == BY_THEMSELVES | WITH_EMULATOR


@pytest.mark.parametrize("name", sorted(BY_THEMSELVES))
def test_example_ends_well_by_itself(name: str, tmp_path: Path) -> None:
    assert run_program(EXAMPLES / name, tmp_path)


def test_program_of_the_readme_runs(tmp_path: Path) -> None:
    _, _, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition("```python\n")
    program = tmp_path / "program.py"
    program.write_text(rest.partition("```")[0], encoding="utf-8")
    assert "hello" in run_program(program, tmp_path)


async def test_echo_bot_echoes_in_another_process(emulator: dict[str, Any]) -> None:
    folder = emulator["folder"]
    bot = [str(EXAMPLES / "03_echo_bot.py"), str(folder / "bob.toml")]
    with running(*bot, folder=folder) as process:
        assert read_line(process) == "ready\n"
        config = ClientConfig.load(folder / "alice.toml")
        async with asyncio.timeout(TIMEOUT_S), Client(config) as alice:
            await alice.register()
            async with await alice.call("sip:bob@ims.example") as session:
                channel = await session.open(label="echo")
                for message in ("hello", b"\x00" * 100_000):
                    await channel.send(message)
                    assert await channel.receive() == message
