"""UEs of the emulated network, with their media watched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from dcsdk import Client, Registry
from dcsdk.emulator import Network
from dcsdk.sip.transactions.timers import PROFILES, SipTimers
from tests.scenarios.calls import Events, Ue, WatchedMedia

MakeUe = Callable[..., Awaitable[Ue]]

QUICK = SipTimers(t1_s=0.02, t2_s=0.08, t4_s=0.1, trying_s=0.01, glare_scale=0.02)
"""SIP timers with which a transaction gives up after 1.3 s."""


@pytest.fixture
def quick_sip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make SIP give up soon, in UEs and network; name it before ``ims_network``."""
    monkeypatch.setitem(PROFILES, "rfc3261", QUICK)


@pytest.fixture
async def make_ue(ims_network: Network) -> AsyncIterator[MakeUe]:
    """``await make_ue("alice", **config)`` gives a registered UE; all are closed at the end."""
    async with AsyncExitStack() as stack:

        async def make(
            name: str, *, register: bool = True, plugins: tuple[object, ...] = (), **overrides: Any
        ) -> Ue:
            media = WatchedMedia()
            events = Events()
            config = ims_network.client_config(name, **{"engine": "watched", **overrides})
            registry = Registry.load(plugins=(media, *plugins))
            client = Client(config, registry=registry, on_event=events.add)
            media.watch(client)
            await stack.enter_async_context(client)
            if register:
                await client.register()
            return Ue(client, media, events)

        yield make


@pytest.fixture
async def alice(make_ue: MakeUe) -> Ue:
    """Alice, registered."""
    return await make_ue("alice")


@pytest.fixture
async def bob(make_ue: MakeUe) -> Ue:
    """Bob, registered."""
    return await make_ue("bob")
