"""What each short way of sending and receiving gains.

``python -m benchmarks.short_ways [--rounds N] [NAME ...]`` prints by how much the CPU time of both
ends together grows, in per cent, when one short way is left out and everything goes the general
way: for messages of 16 KiB, 1 KiB and 100 bytes, for each message, and for a round trip of 100
bytes. Both ends are in this process, DTLS associations on UDP sockets. Every figure is the median
of ``N`` rounds; each round measures with, without, without and with, so that what changes slowly is
the same for both. ``nothing`` leaves out nothing: what it prints is what the figures cannot tell
apart.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from benchmarks.engines.base import CHECK_EVERY_BYTES, END, VARIANTS, Sink, messages_of
from benchmarks.engines.ours import Ours, OurSession
from benchmarks.setup_micro import HOST
from dcsdk.io.secure.sctp_driver import SctpDriver
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.sctp.association import SctpAssociation
from dcsdk.sctp.receiving import short_ways as receiving
from dcsdk.sctp.receiving.receiver import Receiver
from dcsdk.sctp.sending import short_ways as sending
from dcsdk.sctp.sending.packetizer import Packetizer
from dcsdk.sctp.sending.scheduler import OutboundStream
from dcsdk.sctp.sending.sender import Sender

LOADS = {"16 KiB": (16_384, 500), "1 KiB": (1024, 4000), "100 B": (100, 10_000)}
"""Size and number of the messages of one measurement."""

ROUND_TRIP = "round trip"
TRIPS = 600
TRIP_BYTES = 100


@dataclass(frozen=True, slots=True)
class ShortWay:
    """One short way.

    Attributes:
        place: where it is.
        without: leaves it out of all associations that begin meanwhile.
        is_for_data: measured against a peer without I-DATA and zero checksums.
    """

    place: str
    without: Callable[[], contextlib.AbstractContextManager[Any]]
    is_for_data: bool = False


def write_one_packet(packetizer: Packetizer, stream: OutboundStream, room: int) -> list[bytes]:
    """Write what fills a packet the general way, to be tried first like the short way."""
    return [packetizer.seal.close(packetizer._write_bundle(b"", 0.0))]


def take_by_receiver(receiver: Receiver, packet: bytes, position: int, end: int) -> int:
    """Take data chunks the general way."""
    return receiver.data(packet, position, end)


def named_events(association: SctpAssociation) -> list[Any]:
    """Return all events, each with a name for its kind, messages too."""
    events: list[Any] = []
    while (event := association.poll_event()) is not None:
        events.append(event)
    return events


@contextlib.contextmanager
def every_message_checked() -> Iterator[None]:
    """Make no size usual."""
    start = Sender.__init__

    def start_strict(sender: Sender, **settings: Any) -> None:
        start(sender, **settings)
        sender._usual_size = 0

    with patch.object(Sender, "__init__", start_strict):
        yield


SHORT_WAYS = {
    "lone message": ShortWay(
        "sending.short_ways.write_lone",
        lambda: patch.object(sending, "write_lone", lambda *_: []),
    ),
    "full packets": ShortWay(
        "sending.short_ways.write_full_packets",
        lambda: patch.object(sending, "write_full_packets", write_one_packet),
    ),
    "small messages": ShortWay(
        "sending.short_ways.write_messages",
        lambda: patch.object(sending, "write_messages", lambda *_: []),
    ),
    "checks of a message together": ShortWay("sending.sender.Sender.send", every_message_checked),
    "acknowledgement without gaps": ShortWay(
        "sending.short_ways.acknowledge_plain",
        lambda: patch.object(sending, "acknowledge_plain", lambda *_: None),
    ),
    "chunks in order": ShortWay(
        "receiving.short_ways.take_data, take_i_data",
        lambda: patch.multiple(receiving, take_data=take_by_receiver, take_i_data=take_by_receiver),
    ),
    "run of fragments": ShortWay(
        "receiving.short_ways.take_run", lambda: patch.object(receiving, "take_run", lambda *_: 0)
    ),
    "next fragment of DATA": ShortWay(
        "receiving.short_ways.take_fragment",
        lambda: patch.object(receiving, "take_fragment", receiving.take_data),
        is_for_data=True,
    ),
    "SACK without gaps": ShortWay(
        "receiving.short_ways.sack", lambda: patch.object(receiving, "sack", lambda _: b"")
    ),
    "messages as bare tuples": ShortWay(
        "association.poll_batch",
        lambda: patch.object(SctpAssociation, "poll_batch", named_events),
    ),
    "first message at once": ShortWay(
        "sctp_driver.message_queued",
        lambda: patch.object(SctpDriver, "message_queued", lambda driver: driver.request_flush()),
    ),
    "nothing": ShortWay("", contextlib.nullcontext),
}


def make_engine(*, is_for_data: bool) -> Ours:
    """Return the engine of both ends."""
    engine = Ours(frozenset(), HOST)
    if is_for_data:
        sctp = replace(
            engine.config.sctp, is_interleaving_offered=False, is_zero_checksum_offered=False
        )
        engine.config = replace(engine.config, sctp=sctp)
        engine.engine = NativeEngine(engine.config)
    return engine


async def send(session: OurSession, size: int, count: int) -> None:
    """Send so many messages, then the end of the run."""
    channel, messages = session.channels[0], messages_of(size)
    step = max(1, CHECK_EVERY_BYTES // size)
    for number in range(count):
        await channel.send(messages[number % VARIANTS])
        if number % step == 0:
            await asyncio.sleep(0)
    await channel.send(END)


async def cost_us(engine: Ours, load: str) -> float:
    """Return microseconds of CPU time for each message, or round trip, over a new association."""
    one, other = engine.session(), engine.session()
    await one.accept(await other.answer(await one.offer()))
    await one.opened()
    await other.opened()

    async def run(share: int) -> int:
        if load == ROUND_TRIP:
            count = TRIPS // share
            async with asyncio.TaskGroup() as group:
                group.create_task(other.echo(count))
                await one.ping(bytes(TRIP_BYTES), count)
            return count
        size, count = LOADS[load][0], LOADS[load][1] // share
        sink = Sink(size)
        async with asyncio.TaskGroup() as group:
            group.create_task(send(one, size, count))
            await other.drain(sink)
        if sink.count != count:
            raise RuntimeError("a message is missing")
        return count

    await run(5)
    gc.collect()
    gc.disable()
    began = time.process_time()
    count = await run(1)
    cost = (time.process_time() - began) / count * 1e6
    gc.enable()
    await one.close()
    await other.close()
    return cost


async def measure(names: list[str], rounds: int) -> None:
    """Print one line for each short way."""
    loads = (*LOADS, ROUND_TRIP)
    engines = {is_for_data: make_engine(is_for_data=is_for_data) for is_for_data in (False, True)}
    growth: dict[tuple[str, str], list[float]] = {(n, w): [] for n in names for w in loads}
    for _ in range(rounds):
        for name in names:
            way = SHORT_WAYS[name]
            engine = engines[way.is_for_data]
            for load in loads:
                costs = []
                for context in (
                    contextlib.nullcontext,
                    way.without,
                    way.without,
                    contextlib.nullcontext,
                ):
                    with context():
                        costs.append(await cost_us(engine, load))
                growth[name, load].append((costs[1] + costs[2]) / (costs[0] + costs[3]) - 1)
    print(f"{'without':30}" + "".join(f"{load:>12}" for load in loads))
    for name in names:
        cells = (f"{statistics.median(growth[name, load]) * 100:+11.1f}%" for load in loads)
        print(f"{name:30}" + "".join(cells) + f"  {SHORT_WAYS[name].place}")


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.short_ways", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SHORT_WAYS))
    options = parser.parse_args()
    for name in options.names:
        if name not in SHORT_WAYS:
            parser.error(f"there is no short way {name!r}")
    asyncio.run(measure(options.names or list(SHORT_WAYS), options.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
