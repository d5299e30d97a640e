"""What tests of several plug-ins share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from dcsdk.plugins.engines.aiortc import AiortcEngine


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Closed at the end of the test, with all that was put on it."""
    async with AsyncExitStack() as exit_stack:
        yield exit_stack


@pytest.fixture
def _quick_retransmissions(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiortc's time-out has a floor of a second, which is a constant of its module."""
    if AiortcEngine.is_available():
        monkeypatch.setattr("aiortc.rtcsctptransport.SCTP_RTO_MIN", 0.05)
        monkeypatch.setattr("aiortc.rtcsctptransport.SCTP_RTO_INITIAL", 0.1)
