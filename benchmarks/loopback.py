"""How fast one data channel is between two processes, through the public ``DataChannel``.

    python -m benchmarks.loopback                  # 100 B, 1 KiB, 16 KiB, 64 KiB and round trips
    python -m benchmarks.loopback --sizes 16384 --seconds 5 --profile sender.prof

One process sends with ``await channel.send()``, the other reads with ``async for`` and compares
every message with what it must be. Figures are of the reader's clock.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from dcsdk.datachannel.channel import DataChannel
from dcsdk.interfaces import Association, ChannelParameters, DtlsRole, DtlsSctpParameters
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate

TIMEOUT_S = 20.0
END = b"\x00END"


def cpu_s() -> float:
    """Return the processor time of this process, seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def connect(
    role: DtlsRole, host: str, config: EngineConfig
) -> tuple[Association, DataChannel]:
    """Set up one end; the descriptions cross on standard output and input."""
    engine, certificate = NativeEngine(config), Certificate.generate()
    path = await engine.bind_path(host)
    association = engine.create(path, certificate, config)
    print(json.dumps([*path.local_address, str(certificate.fingerprint)]), flush=True)
    address, port, fingerprint = json.loads(await asyncio.to_thread(sys.stdin.readline))
    channel: DataChannel = association.open_channel(ChannelParameters(stream_id=1000))
    association.start(
        DtlsSctpParameters(
            dtls_role=role,
            remote_address=(address, port),
            remote_fingerprints=(Fingerprint.parse(fingerprint),),
            local_tls_id=None,
            remote_tls_id=None,
            remote_max_message_size=262_144,
        )
    )
    await association.wait_established(TIMEOUT_S)
    return association, channel


async def send_for(channel: DataChannel, message: bytes, seconds: float) -> int:
    """Send one message again and again; return how often."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(64):
            await channel.send(message)
        count += 64
    await channel.send(END)
    return count


async def run_sender(channel: DataChannel, sizes: list[int], seconds: float, pings: int) -> None:
    """Drive the other process."""
    for size in sizes:
        await channel.send(json.dumps({"size": size}))
        await channel.receive()
        before = cpu_s()
        await send_for(channel, bytes(index % 251 for index in range(size)), seconds)
        report = json.loads(str(await channel.receive()))
        report["sender_cpu_s"] = cpu_s() - before
        show(report)
    times = []
    await channel.send(json.dumps({"pings": pings}))
    for _ in range(pings):
        start = time.perf_counter()
        await channel.send(b"ping")
        await channel.receive()
        times.append((time.perf_counter() - start) * 1e6)
    if times:
        times.sort()
        p50, p99 = statistics.median(times), times[int(len(times) * 0.99)]
        print(f"round trip  p50 {p50:7.1f} us   p99 {p99:7.1f} us", file=sys.stderr)
    await channel.send(json.dumps({"done": True}))


async def run_reader(channel: DataChannel) -> None:
    """Do what the sender says."""
    while True:
        order = json.loads(str(await channel.receive()))
        if "done" in order:
            return
        if "pings" in order:
            for _ in range(order["pings"]):
                await channel.send(await channel.receive())
            continue
        expected = bytes(index % 251 for index in range(order["size"]))
        await channel.send("ready")
        count, start, before = 0, 0.0, cpu_s()
        async for message in channel:
            if message != expected:
                break
            if not count:
                start = time.monotonic()
            count += 1
        seconds = time.monotonic() - start
        if message != END:
            raise RuntimeError("a message came damaged")
        await channel.send(
            json.dumps(
                {
                    "size": order["size"],
                    "count": count,
                    "seconds": seconds,
                    "reader_cpu_s": cpu_s() - before,
                }
            )
        )


def show(report: dict[str, Any]) -> None:
    """Print one line."""
    megabytes = report["size"] * report["count"] / 1e6
    cpu = (report["sender_cpu_s"] + report["reader_cpu_s"]) / max(megabytes, 1e-9) * 1e3
    print(
        f"{report['size']:6d} B  {megabytes / report['seconds']:7.1f} MB/s  "
        f"{report['count'] / report['seconds']:9.0f} messages/s  "
        f"CPU {cpu:6.2f} ms/MB both ends  "
        f"(sender {report['sender_cpu_s'] / report['seconds']:4.0%}, "
        f"reader {report['reader_cpu_s'] / report['seconds']:4.0%})",
        file=sys.stderr,
    )


async def run(arguments: argparse.Namespace) -> None:
    """Be one of the two processes."""
    offload = not arguments.no_offload
    config = EngineConfig(use_gso=offload, use_gro=offload)
    role: DtlsRole = "client" if arguments.role == "sender" else "server"
    association, channel = await connect(role, arguments.host, config)
    if arguments.role == "sender":
        await run_sender(channel, arguments.sizes, arguments.seconds, arguments.pings)
    else:
        await run_reader(channel)
    if arguments.stats:
        print(arguments.role, association.stats(), file=sys.stderr)
    await association.aclose()


def main() -> None:
    """Start both processes and introduce them to each other, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--role", choices=["sender", "reader"], help=argparse.SUPPRESS)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1024, 16_384, 65_536])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each size")
    parser.add_argument("--pings", type=int, default=2000)
    parser.add_argument("--no-offload", action="store_true", help="without UDP GSO and GRO")
    parser.add_argument("--stats", action="store_true")
    parser.add_argument("--profile", metavar="FILE", help="profile both ends into FILE.<role>")
    arguments = parser.parse_args()
    if arguments.role:
        if arguments.profile:
            with cProfile.Profile() as profile:
                asyncio.run(run(arguments))
            profile.dump_stats(f"{arguments.profile}.{arguments.role}")
        else:
            asyncio.run(run(arguments))
        return
    command = [sys.executable, "-m", "benchmarks.loopback", *sys.argv[1:], "--role"]
    ends = [
        subprocess.Popen(
            [*command, role], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        for role in ("sender", "reader")
    ]
    lines = [end.stdout.readline() for end in ends if end.stdout]
    for end, line in zip(ends, reversed(lines), strict=True):
        if end.stdin:
            end.stdin.write(line)
            end.stdin.flush()
    sys.exit(max(end.wait() for end in ends))


if __name__ == "__main__":
    main()
