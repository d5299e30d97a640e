"""Register with the emulated network and show what both sides support."""

from __future__ import annotations

import asyncio

from dcsdk import Client
from dcsdk.emulator import Network, NetworkConfig


async def main() -> None:
    """Register over TLS, print the capability table, de-register."""
    async with (
        Network(NetworkConfig.demo()) as network,
        Client(network.client_config("alice")) as alice,
    ):
        registration = await alice.register()
        print(f"registered for {registration.expires_s} s")
        print(registration.capabilities)


if __name__ == "__main__":
    asyncio.run(main())
