"""Two UEs call each other through the emulated network and say hello on a data channel."""

from __future__ import annotations

import asyncio

from dcsdk import Client
from dcsdk.emulator import Network, NetworkConfig


async def answer(bob: Client) -> None:
    """Take one call and one channel, greet back, wait for the end."""
    async for call in bob.incoming():
        async with await call.accept() as session:
            async for request in session.incoming():
                channel = await request.accept()
                print("bob heard:", await channel.receive())
                await channel.send("hello alice")
                await session.wait_ended()
        return


async def main() -> None:
    """Call, list the mini-apps, open a channel, talk."""
    async with (
        Network(NetworkConfig.demo()) as network,
        Client(network.client_config("alice")) as alice,
        Client(network.client_config("bob")) as bob,
        asyncio.TaskGroup() as tasks,
    ):
        await alice.register()
        await bob.register()
        tasks.create_task(answer(bob))
        async with await alice.call("sip:bob@ims.example") as session:
            for app in await session.bootstrap.applications():
                print("mini-app:", app.app_id, app.name)
            channel = await session.open(label="chat")
            await channel.send("hello bob")
            print("alice heard:", await channel.receive())
            print("protected:", channel.security.scope.value, channel.security.suite)


if __name__ == "__main__":
    asyncio.run(main())
