"""pytest fixtures: an emulated network, and clients registered with it.

pytest finds them by the entry point ``dcsdk_emulator`` (group ``pytest11``); a test just names
them::

    async def test_my_bot(ims_network, ue_factory):
        bob = await ue_factory("bob")
        ...

They need ``dcsdk[emulator]``, and pytest-asyncio or anyio to run asynchronous tests. Nothing of
either is imported before a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # anyio runs plain fixtures
    from pytest import fixture as async_fixture  # type: ignore[no-redef]

if TYPE_CHECKING:
    from dcsdk import Client
    from dcsdk.emulator import Network

UeFactory = Callable[..., Awaitable["Client"]]
"""``await ue_factory(name, register=True, **overrides)`` gives a :class:`dcsdk.Client`."""


@async_fixture
async def ims_network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    """The demonstration network, with subscribers alice and bob, on free ports.

    ``@pytest.mark.parametrize("ims_network", [{"faults": ("E6",)}], indirect=True)`` changes its
    configuration.
    """
    from dcsdk.emulator import Network, NetworkConfig

    overrides: dict[str, Any] = getattr(request, "param", None) or {}
    async with Network(NetworkConfig.demo(**overrides)) as network:
        yield network


@async_fixture
async def ue_factory(ims_network: Network) -> AsyncIterator[UeFactory]:
    """Make clients of ``ims_network``: ``await ue_factory("alice")``.

    A client is registered unless ``register=False`` is given; other keyword arguments are fields
    of its configuration. All are closed at the end.
    """
    from dcsdk import Client

    async with AsyncExitStack() as stack:

        async def make(name: str, *, register: bool = True, **overrides: Any) -> Client:
            client = Client(ims_network.client_config(name, **overrides))
            await stack.enter_async_context(client)
            if register:
                await client.register()
            return client

        yield make
