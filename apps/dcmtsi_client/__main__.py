"""Run the client: ``python -m apps.dcmtsi_client alice.toml``, then type ``help``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import stat
import sys
from pathlib import Path

from apps.dcmtsi_client.phone import Phone
from dcsdk import Client, ClientConfig, ConfigError, DcsdkError

MAX_LINE_BYTES = 64 * 1024
MAX_SCRIPT_BYTES = 1024 * 1024


def show(text: str) -> None:
    """Print one line at once; what others wrote cannot steer the terminal."""
    print("".join(c if c.isprintable() else repr(c)[1:-1] for c in text), flush=True)


async def read_lines() -> asyncio.StreamReader:
    """Return standard input as a stream that can be awaited."""
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or sys.stdin.isatty()):
        reader.feed_data(sys.stdin.buffer.read(MAX_SCRIPT_BYTES))  # a file: it is there at once
        reader.feed_eof()
        return reader
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def read_line(lines: asyncio.StreamReader) -> bytes:
    """Return the next line, empty at the end."""
    while True:
        try:
            return await lines.readline()
        except ValueError:
            show(f"! a line of more than {MAX_LINE_BYTES} bytes is ignored")


async def run(config: ClientConfig, downloads: Path, auto_answer: bool) -> None:
    """Read commands until the input ends or ``quit`` comes."""
    async with Client(config) as client:
        phone = Phone(client, show, downloads=downloads, auto_answer=auto_answer)
        await phone.start()
        try:
            lines = await read_lines()
            while line := await read_line(lines):
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
                        show(f"unknown command {name[:40]!r}")
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
