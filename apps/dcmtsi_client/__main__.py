"""Run the client: ``python -m apps.dcmtsi_client alice.toml``, then type ``help``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from apps.dcmtsi_client.phone import Phone
from dcsdk import Client, ClientConfig, ConfigError, DcsdkError


def show(text: str) -> None:
    """Print one line at once."""
    print(text, flush=True)


async def read_lines() -> asyncio.StreamReader:
    """Return standard input as a stream that can be awaited."""
    reader = asyncio.StreamReader(limit=64 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def run(config: ClientConfig, downloads: Path, auto_answer: bool) -> None:
    """Read commands until the input ends or ``quit`` comes."""
    async with Client(config) as client:
        phone = Phone(client, show, downloads=downloads, auto_answer=auto_answer)
        await phone.start()
        try:
            lines = await read_lines()
            while line := await lines.readline():
                name, _, argument = line.decode(errors="replace").strip().partition(" ")
                if name in ("quit", "exit"):
                    break
                if name in phone.commands:
                    try:
                        await phone.commands[name][1](argument.strip())
                    except (DcsdkError, OSError, ValueError) as exc:
                        show(f"! {exc}")
                elif name:
                    if name != "help":
                        show(f"unknown command {name!r}")
                    for command, (text, _) in phone.commands.items():
                        show(f"  {command} {text}")
                    show("  quit leave")
        finally:
            await phone.aclose()
    show("bye")


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="dcmtsi_client", description=__doc__)
    parser.add_argument("config", type=Path, help="TOML file of the client")
    parser.add_argument("--downloads", type=Path, default=Path("downloads"))
    parser.add_argument("--auto-answer", action="store_true", help="take every call")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.ERROR)
    try:
        config = ClientConfig.load(arguments.config)
        arguments.downloads.mkdir(parents=True, exist_ok=True)
        asyncio.run(run(config, arguments.downloads, arguments.auto_answer))
    except ConfigError as exc:
        print(f"dcmtsi_client: {exc}", file=sys.stderr)
        return 2
    except (DcsdkError, OSError) as exc:
        print(f"dcmtsi_client: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
