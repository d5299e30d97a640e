"""What it means to wait for several pieces of work."""

from __future__ import annotations

import asyncio
import logging

import pytest

from dcsdk.io.tasks import finish_all


async def test_work_that_goes_on_is_waited_for_though_other_work_has_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[str] = []

    async def fail(error: Exception) -> None:
        raise error

    async def take_turns(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)
        done.append("slow")

    first, second = ValueError("first"), KeyError("second")
    with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match="first") as raised:
        await finish_all([fail(first), take_turns(9), fail(second)])
    assert raised.value is first
    assert done == ["slow"]
    (record,) = caplog.records
    assert record.exc_info is not None and record.exc_info[1] is second


async def test_nothing_to_wait_for_is_done() -> None:
    await finish_all(())
