"""A bot that answers every call and echoes every channel.

Start the network in one terminal, the bot in another::

    dcsdk emulator --folder ims
    python examples/03_echo_bot.py ims/bob.toml
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from dcsdk import Client, ClientConfig, DcsdkError, IncomingCall


async def serve(call: IncomingCall) -> None:
    """Answer one call and echo until it ends."""
    try:
        async with await call.accept() as session, asyncio.TaskGroup() as channels:
            async for request in session.incoming():
                channels.create_task(echo(await request.accept()))
    except* DcsdkError as errors:
        print("call ended:", *errors.exceptions)


async def echo(channel) -> None:  # type: ignore[no-untyped-def]
    """Send back whatever comes."""
    async for message in channel:
        await channel.send(message)


async def main(path: str) -> None:
    """Register and answer until Ctrl-C."""
    async with Client(ClientConfig.load(path)) as bot, asyncio.TaskGroup() as calls:
        await bot.register()
        print("ready", flush=True)
        async for call in bot.incoming():
            calls.create_task(serve(call))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1]))
