"""A network in user space between two ends: delay, and loss of single datagrams.

Each end sees the relay in place of the other. It takes and gives every datagram by itself, as a
network does: what an end gains by handing the kernel many at once ends here, and a datagram costs
the relay the same whoever sent it. Runs as a process of its own: ``python -m benchmarks.relay``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import socket
import sys
import threading
from collections import deque
from typing import Any

BUFFER_BYTES = 16 << 20
MAX_QUEUED_BYTES = 64 << 20
BATCH = 64
MAX_DATAGRAM = 65_535
_FORCE = {socket.SO_RCVBUF: 33, socket.SO_SNDBUF: 32}
_CANDIDATE = re.compile(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", re.IGNORECASE)


class Relay:
    """Two sockets; what comes to one leaves, later, from the other.

    Attributes:
        ends: the addresses of the two real ends.
        loss: share of datagrams that is lost, 0..1.
        delay_s: one way.
    """

    def __init__(self, host: str, delay_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.delay_s, self.loss = delay_s, 0.0
        self.ends: list[tuple[str, int] | None] = [None, None]
        self.datagrams = self.lost = self.overrun = 0
        self._chance = random.Random(20261122)
        self._sockets = [self._bind(host) for _ in range(2)]
        self._queues: list[deque[tuple[float, bytes]]] = [deque(), deque()]
        self._queued_bytes = [0, 0]
        self._timers: list[asyncio.TimerHandle | None] = [None, None]
        for index, sock in enumerate(self._sockets):
            self._loop.add_reader(sock.fileno(), self._read, index)

    @property
    def ports(self) -> list[int]:
        """Port 0 stands for end 1, as end 0 sees it, and port 1 for end 0."""
        return [int(sock.getsockname()[1]) for sock in self._sockets]

    def _bind(self, host: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        for option, forced in _FORCE.items():
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
        sock.bind((host, 0))
        return sock

    def _read(self, index: int) -> None:
        """Take what end ``index`` sent."""
        queue, receive = self._queues[index], self._sockets[index].recv
        due = self._loop.time() + self.delay_s
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            for _ in range(BATCH):
                data = receive(MAX_DATAGRAM)
                self.datagrams += 1
                if self.loss and self._chance.random() < self.loss:
                    self.lost += 1
                elif self._queued_bytes[index] > MAX_QUEUED_BYTES:
                    self.overrun += 1
                else:
                    self._queued_bytes[index] += len(data)
                    queue.append((due, data))
        if queue and self._timers[index] is None:
            self._timers[index] = self._loop.call_at(queue[0][0], self._deliver, index)

    def _deliver(self, index: int) -> None:
        """Hand what end ``index`` sent to the other end."""
        self._timers[index] = None
        queue, now = self._queues[index], self._loop.time() + 0.0005
        sock, destination = self._sockets[1 - index], self.ends[1 - index]
        while queue and queue[0][0] <= now:
            _, data = queue.popleft()
            self._queued_bytes[index] -= len(data)
            if destination is not None:
                try:
                    sock.sendto(data, destination)
                except BlockingIOError:
                    self.overrun += 1
                except ConnectionRefusedError:
                    self.lost += 1  # that end is gone
        if queue:
            self._timers[index] = self._loop.call_at(queue[0][0], self._deliver, index)


def redirect(description: str, host: str, port: int) -> tuple[str, tuple[str, int] | None]:
    """Put the relay's address into a description.

    Args:
        description: a JSON object with ``address``, or SDP with candidates, or neither.
        host: of the relay.
        port: the relay's.

    Returns:
        What the other end is to read, and where the real end is, when it said so.
    """
    if description.startswith("{"):
        told = json.loads(description)
        real = (str(told["address"][0]), int(told["address"][1]))
        told["address"] = [host, port]
        return json.dumps(told), real
    if not description.startswith("v="):
        return description, None
    real_end: tuple[str, int] | None = None
    lines = []
    for line in description.split("\r\n"):
        if line.startswith("a=candidate:"):
            found = _CANDIDATE.match(line)
            if found is None or found[1] != host or real_end is not None:
                continue
            real_end = (found[1], int(found[2]))
            line = line.replace(f" {found[1]} {found[2]} typ", f" {host} {port} typ")
        lines.append(line)
    return "\r\n".join(lines), real_end


async def _main(host: str, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    relay = Relay(host, delay_s)

    def obey(line: str) -> None:
        order: dict[str, Any] = json.loads(line)
        if order["op"] == "end":
            relay.ends[order["index"]] = (order["address"][0], order["address"][1])
        elif order["op"] == "loss":
            relay.loss = order["loss"]
        counters = {"datagrams": relay.datagrams, "lost": relay.lost, "overrun": relay.overrun}
        print(json.dumps({"id": order["id"], "ports": relay.ports, **counters}), flush=True)

    ended = asyncio.Event()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(obey, line)
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=read, daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", required=True)
    parser.add_argument("--delay", type=float, required=True, help="one way, seconds")
    arguments = parser.parse_args()
    asyncio.run(_main(arguments.host, arguments.delay))
