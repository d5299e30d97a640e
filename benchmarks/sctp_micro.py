"""What SCTP alone costs: two associations in one process, machine to machine, no sockets, no DTLS.

Run ``python benchmarks/sctp_micro.py``; ``--profile`` adds a cProfile of the run. The figure that
counts is the cost per packet and side: both sides together take the whole time of a run.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import time

from dcsdk.sctp import SctpAssociation, SctpConfig

QUEUE_BYTES = 1 << 20
"""The sender stays this far ahead of the network, as a program with backpressure does."""


def make_pair(config: SctpConfig) -> tuple[SctpAssociation, SctpAssociation]:
    """Return two established associations."""
    left = SctpAssociation(config, entropy=os.urandom)
    right = SctpAssociation(config, entropy=os.urandom)
    left.connect(now=0.0)
    right.connect(now=0.0)
    for _ in range(10):
        left.receive(right.poll_packets(), now=0.0)
        right.receive(left.poll_packets(), now=0.0)
    for side in (left, right):
        side.poll_batch()
    return left, right


def run(message_size: int, total_bytes: int, config: SctpConfig, batch: int) -> dict[str, float]:
    """Move ``total_bytes`` one way and return the figures."""
    left, right = make_pair(config)
    message = os.urandom(message_size)
    sent = received = messages = packets = acks = 0
    started = time.perf_counter()
    now = 1.0
    sender_s = 0.0
    while received < total_bytes:
        begin = time.perf_counter()
        while sent < total_bytes and left.total_queued_bytes < QUEUE_BYTES:
            left.send(1, 53, message, now=now)
            sent += message_size
        outgoing = left.poll_packets()
        sender_s += time.perf_counter() - begin
        now += 0.00002
        for index in range(0, len(outgoing), batch):
            part = outgoing[index : index + batch]
            packets += len(part)
            right.receive(part, now=now)
            count = size = 0
            for event in right.poll_batch():
                if type(event) is tuple:
                    size += len(event[2])
                    count += 1
            right.consumed(1, size, count)
            received += size
            messages += count
            back = right.poll_packets()
            acks += len(back)
            begin = time.perf_counter()
            left.receive(back, now=now)
            sender_s += time.perf_counter() - begin
    seconds = time.perf_counter() - started
    return {
        "MB/s": total_bytes / seconds / 1e6,
        "messages/s": messages / seconds,
        "packets": packets,
        "acks": acks,
        "us/packet sender": sender_s / packets * 1e6,
        "us/packet receiver": (seconds - sender_s) / packets * 1e6,
    }


def main() -> None:
    """Print one line per message size and kind of data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true", help="profile every run")
    parser.add_argument("--megabytes", type=float, default=20.0)
    parser.add_argument("--batch", type=int, default=50, help="packets per receive call")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, action="append", help="message size, bytes")
    options = parser.parse_args()
    kinds = {
        "DATA": SctpConfig(is_interleaving_offered=False),
        "I-DATA": SctpConfig(),
        "I-DATA, zero checksum": SctpConfig(is_zero_checksum_offered=True),
    }
    for size in options.size or (16_384, 1024, 100):
        for name, config in kinds.items():
            total = int(options.megabytes * 1e6 * (0.2 if size < 1000 else 1))
            best: dict[str, float] = {}
            profile = cProfile.Profile() if options.profile else None
            for _ in range(options.rounds):
                if profile:
                    profile.enable()
                figures = run(size, total, config, options.batch)
                if profile:
                    profile.disable()
                if not best or figures["MB/s"] > best["MB/s"]:
                    best = figures
            text = "  ".join(f"{key} {value:,.2f}" for key, value in best.items())
            print(f"{size:6d} B {name:22s} {text}")
            if profile:
                pstats.Stats(profile).sort_stats("tottime").print_stats(14)


if __name__ == "__main__":
    main()
