"""The demonstration, when something in it goes wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dcsdk import DcsdkError, NegotiationError, Session
from dcsdk.cli.demo import Demo, DemoResult, make_sample_file
from dcsdk.cli.demo_view import SilentReporter
from dcsdk.emulator import Network, NetworkConfig

BOUND_S = 20.0


def demo(network: Network, tmp_path: Path, target: Path | None = None) -> Demo:
    source = tmp_path / "source.bin"
    make_sample_file(source, 600_000)
    return Demo(
        network,
        SilentReporter(),
        source=source,
        target=target or tmp_path / "target.bin",
        overrides={},
    )


def test_the_sample_file_has_the_size_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "sample.bin"
    make_sample_file(path, 300_001)
    assert path.stat().st_size == 300_001


async def test_the_file_that_arrives_is_the_file_that_left(
    ims_network: Network, tmp_path: Path
) -> None:
    async with asyncio.timeout(BOUND_S):
        result = await demo(ims_network, tmp_path).run()
    assert result.is_ok
    assert (tmp_path / "target.bin").read_bytes() == (tmp_path / "source.bin").read_bytes()


async def test_a_disk_that_cannot_be_written_fails_the_demo(
    ims_network: Network, tmp_path: Path
) -> None:
    async with asyncio.timeout(BOUND_S):
        with pytest.raises((DcsdkError, OSError)):
            await demo(ims_network, tmp_path, tmp_path / "nowhere" / "target.bin").run()


async def test_a_network_without_applications_fails_the_demo(tmp_path: Path) -> None:
    apps = tmp_path / "apps"
    apps.mkdir()
    async with Network(NetworkConfig.demo(apps=apps)) as network, asyncio.timeout(BOUND_S):
        with pytest.raises(NegotiationError, match="empty"):
            await demo(network, tmp_path).run()


async def test_a_peer_that_fails_first_leaves_nobody_waiting(
    ims_network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: Demo, session: Session, received: object) -> None:
        raise NegotiationError("no thanks")

    monkeypatch.setattr(Demo, "_take_file", fail)
    async with asyncio.timeout(BOUND_S):
        with pytest.raises(DcsdkError):
            await demo(ims_network, tmp_path).run()


def test_nothing_moved_is_no_success() -> None:
    result = DemoResult()
    assert not result.is_ok
    assert result.mb_per_s == 0.0
    assert result.as_dict()["ok"] is False
