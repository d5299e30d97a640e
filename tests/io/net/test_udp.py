from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dcsdk.errors import ConfigError, TransportError
from dcsdk.interfaces import DatagramReceiver
from dcsdk.io.net.udp import EARLY_BYTES, EARLY_DATAGRAMS, UdpPath
from dcsdk.io.net.udp_socket import LONE_DRAINS, MAX_BACKLOG_BYTES, MAX_BACKLOG_RUNS
from dcsdk.io.sip.transport import _bind

HOSTS = ["127.0.0.1", "::1"]
TIMEOUT_S = 10.0
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="UDP offload is Linux's")


class Sink(DatagramReceiver):
    """Keeps what comes, and lets a test wait for a number of datagrams."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[bytes, int]]] = []
        self.changed = asyncio.Event()
        self.writable = asyncio.Event()

    def datagrams_received(self, batch: Sequence[tuple[bytes, int]]) -> None:
        self.batches.append(list(batch))
        self.changed.set()

    def path_writable(self) -> None:
        self.writable.set()

    @property
    def datagrams(self) -> list[bytes]:
        return [
            data[start : start + size]
            for batch in self.batches
            for data, size in batch
            for start in range(0, len(data), size)
        ]

    async def wait_for(self, count: int) -> list[bytes]:
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.datagrams) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.datagrams


@asynccontextmanager
async def path_pair(
    host: str = "127.0.0.1", **options: bool
) -> AsyncIterator[tuple[UdpPath, Sink, UdpPath, Sink]]:
    one, other = UdpPath.bind(host, **options), UdpPath.bind(host, **options)
    sinks = Sink(), Sink()
    try:
        one.attach(sinks[0])
        other.attach(sinks[1])
        one.set_remote(other.local_address)
        other.set_remote(one.local_address)
        yield one, sinks[0], other, sinks[1]
    finally:
        one.close()
        other.close()


class FakeSocket:
    """A socket whose calls fail as told, and otherwise are those of a real one."""

    def __init__(self, real: socket.socket, **errors: list[OSError | None]) -> None:
        self._real = real
        self._errors = errors

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)

        def call(*arguments: Any) -> Any:
            errors = self._errors.get(name)
            error = errors.pop(0) if errors else None
            if error is not None:
                raise error
            return method(*arguments)

        return call if name in self._errors else method


def fail(path: UdpPath, **errors: list[OSError | None]) -> None:
    udp = path._udp
    udp._socket = FakeSocket(udp._socket, **errors)  # type: ignore[assignment]


# --- both ways ------------------------------------------------------------------------------------
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("offload", [True, False])
async def test_datagrams_arrive_as_they_were_sent(host: str, offload: bool) -> None:
    expected = [bytes([n]) * 1200 for n in range(40)] + [b"tail"]
    async with path_pair(host, use_gso=offload, use_gro=offload) as (one, _, other, sink):
        assert one.local_address[0] == host
        one.send(b"".join(expected), 1200)
        one.send(b"single", 1200)
        assert await sink.wait_for(42) == [*expected, b"single"]
        assert one.stats()["bytes_sent"] == 40 * 1200 + 10
        assert other.stats()["bytes_received"] == 40 * 1200 + 10


@linux_only
async def test_datagrams_that_come_one_by_one_are_soon_taken_together() -> None:
    async with path_pair(use_gso=False) as (one, _, other, sink):
        if not other.is_gro:
            pytest.skip("this kernel has no UDP GRO")
        for number in range(3 * LONE_DRAINS):
            one.send(b"%d" % number, 1200)  # of different sizes, so nothing glues them together
            one.send(b"%d and more" % number, 1200)
        await sink.wait_for(6 * LONE_DRAINS)
        lone, *rest = sink.batches[:LONE_DRAINS], sink.batches[LONE_DRAINS]
        assert [len(batch) for batch in lone] == [1] * LONE_DRAINS
        assert [len(batch) for batch in rest] == [5 * LONE_DRAINS]
        # Whoever is alone again is not looked behind for long.
        for _ in range(2):
            sink.batches.clear()
            one.send(b"request", 1200)
            await sink.wait_for(1)
        assert other._udp._lone_drains == 1


@linux_only
async def test_many_datagrams_cost_one_call_where_the_kernel_can() -> None:
    async with path_pair() as (one, _, other, sink):
        if not (one.is_gso and other.is_gro):
            pytest.skip("this kernel has no UDP GSO or GRO")
        one.send(bytes(1200) * 40, 1200)
        await sink.wait_for(40)
        assert one.stats()["send_calls"] == 1
        assert other.stats()["receive_calls"] < 40


async def test_without_offload_each_datagram_is_its_own() -> None:
    async with path_pair(use_gso=False, use_gro=False) as (one, _, other, sink):
        assert not one.is_gso
        assert not other.is_gro
        one.send(bytes(1200) * 5, 1200)
        await sink.wait_for(5)
        assert other.stats()["receive_calls"] == 5


async def test_one_turn_of_the_loop_takes_a_bounded_number() -> None:
    async with path_pair(use_gro=False) as (one, _, _, sink):
        for _ in range(10):
            one.send(bytes(100) * 60, 100)
        await sink.wait_for(600)
        assert max(len(batch) for batch in sink.batches) <= 256


# --- before the remote end is known -------------------------------------------------------------
@pytest.mark.clause("RFC 8842 5.3")
async def test_early_datagrams_of_the_remote_end_are_kept() -> None:
    path, peer, stranger = (UdpPath.bind("127.0.0.1") for _ in range(3))
    sink, done = Sink(), Sink()
    try:
        for other in (peer, stranger):
            other.set_remote(path.local_address)
        stranger.send(b"stranger", 100)
        peer.send(b"early", 100)
        path.attach(sink)
        path.set_remote(peer.local_address)
        assert await sink.wait_for(1) == [b"early"]
        stranger.send(b"stranger", 100)
        peer.send(b"late", 100)
        assert await sink.wait_for(2) == [b"early", b"late"]
        assert path.stats()["early_dropped"] == 1
    finally:
        for item in (path, peer, stranger):
            item.close()
    assert done.batches == []


@pytest.mark.parametrize("size", [100, EARLY_BYTES // 4])
async def test_what_is_kept_early_is_bounded(size: int) -> None:
    path, peer = UdpPath.bind("127.0.0.1", use_gro=False), UdpPath.bind("127.0.0.1")
    sink = Sink()
    try:
        peer.set_remote(path.local_address)
        for _ in range(100):
            peer.send(bytes(size), size)
        path.attach(sink)
        path.set_remote(peer.local_address)
        kept = min(EARLY_DATAGRAMS, EARLY_BYTES // size)
        assert len(sink.datagrams) == kept
        assert path.stats()["early_dropped"] == 100 - kept
    finally:
        path.close()
        peer.close()


async def test_early_datagrams_without_a_receiver_are_lost() -> None:
    path, peer = UdpPath.bind("127.0.0.1"), UdpPath.bind("127.0.0.1")
    try:
        peer.set_remote(path.local_address)
        peer.send(b"x", 1)
        path.set_remote(peer.local_address)
        path.send(b"y", 1)
    finally:
        path.close()
        peer.close()


async def test_sending_before_the_remote_is_known_loses_the_datagram() -> None:
    path = UdpPath.bind("127.0.0.1")
    try:
        path.send(bytes(30), 10)
        assert path.stats()["datagrams_lost"] == 3
    finally:
        path.close()


# --- errors ---------------------------------------------------------------------------------------
async def test_a_name_is_no_address() -> None:
    with pytest.raises(ConfigError, match="no IP address"):
        UdpPath.bind("localhost")


async def test_a_taken_port_is_a_transport_error() -> None:
    path = UdpPath.bind("127.0.0.1")
    try:
        with pytest.raises(TransportError, match="cannot bind"):
            UdpPath.bind("127.0.0.1", path.local_address[1])
    finally:
        path.close()


async def test_no_socket_left_is_a_transport_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(TransportError, match=r"no socket for .*: Too many open files"):
        UdpPath.bind("127.0.0.1")
    with pytest.raises(TransportError, match="no socket for"):
        _bind("127.0.0.1", 0, is_ipv6=False, kind=socket.SOCK_DGRAM)


async def test_the_remote_must_be_of_the_same_ip_version() -> None:
    path = UdpPath.bind("127.0.0.1")
    try:
        with pytest.raises(ConfigError, match="different IP versions"):
            path.set_remote(("::1", 5000))
    finally:
        path.close()


async def test_a_remote_without_route_is_a_transport_error() -> None:
    path = UdpPath.bind("127.0.0.1")
    try:
        fail(path, connect=[OSError(errno.ENETUNREACH, "Network is unreachable")])
        with pytest.raises(TransportError, match="no way to"):
            path.set_remote(("127.0.0.1", 5000))
    finally:
        path.close()


async def test_closing_is_idempotent_and_final() -> None:
    path = UdpPath.bind("127.0.0.1")
    path.close()
    path.close()
    with pytest.raises(TransportError, match="closed"):
        path.set_remote(("127.0.0.1", 5000))
    path.send(b"x", 1)
    assert path.stats()["datagrams_lost"] == 1


@pytest.mark.parametrize("offload", [True, False])
async def test_an_icmp_refusal_ends_nothing(offload: bool) -> None:
    gone = UdpPath.bind("127.0.0.1")
    address = gone.local_address
    gone.close()
    path, sink = UdpPath.bind("127.0.0.1", use_gso=offload), Sink()
    try:
        path.attach(sink)
        path.set_remote(address)
        for _ in range(5):
            path.send(bytes(300), 100)
        assert path.stats()["datagrams_refused"] > 0
        back = UdpPath.bind("127.0.0.1", address[1])
        back_sink = Sink()
        try:
            back.attach(back_sink)
            back.set_remote(path.local_address)
            path.send(b"again", 100)
            assert (await back_sink.wait_for(1))[-1] == b"again"
        finally:
            back.close()
    finally:
        path.close()


async def test_a_refusal_on_receiving_is_counted_and_reading_goes_on() -> None:
    async with path_pair() as (one, sink, other, _):
        fail(one, recvmsg=[ConnectionRefusedError(), None])
        other.send(b"x", 1)
        assert await sink.wait_for(1) == [b"x"]
        assert one.stats()["datagrams_refused"] == 1


async def test_another_receive_error_ends_the_turn_only() -> None:
    async with path_pair() as (one, sink, other, _):
        fail(one, recvmsg=[OSError(errno.ENOMEM, "no memory")])
        other.send(b"x", 1)
        assert await sink.wait_for(1) == [b"x"]


@linux_only
@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO, errno.EMSGSIZE])
async def test_a_kernel_that_refuses_segmentation_gets_single_datagrams(number: int) -> None:
    async with path_pair() as (one, _, _, sink):
        fail(one, sendmsg=[OSError(number, "no")])
        one.send(bytes(100) * 10, 100)
        assert not one.is_gso
        assert len(await sink.wait_for(10)) == 10
        one.send(bytes(100) * 10, 100)
        assert len(await sink.wait_for(20)) == 20


@pytest.mark.parametrize("offload", [True, False])
async def test_a_datagram_the_network_refuses_is_lost(offload: bool) -> None:
    async with path_pair(use_gso=offload) as (one, _, _, sink):
        unreachable = OSError(errno.ENETUNREACH, "unreachable")
        fail(one, **{"sendmsg" if one.is_gso else "send": [unreachable]})
        one.send(bytes(200), 100)
        one.send(b"next", 100)
        await sink.wait_for(1 if offload else 2)
        assert one.stats()["datagrams_lost"] > 0
        assert sink.datagrams[-1] == b"next"


@pytest.mark.parametrize("offload", [True, False])
async def test_a_datagram_refused_twice_is_lost(offload: bool) -> None:
    async with path_pair(use_gso=offload) as (one, _, _, sink):
        refused: list[OSError | None] = [ConnectionRefusedError(), ConnectionRefusedError()]
        fail(one, **{"sendmsg" if one.is_gso else "send": refused})
        one.send(bytes(200), 100)
        one.send(b"next", 100)
        await sink.wait_for(1 if offload else 2)
        assert one.stats()["datagrams_lost"] > 0
        assert one.stats()["datagrams_refused"] >= 2


@pytest.mark.parametrize("offload", [True, False])
async def test_a_full_socket_holds_datagrams_back_in_order(offload: bool) -> None:
    async with path_pair(use_gso=offload) as (one, own, _, sink):
        fail(one, sendmsg=[BlockingIOError()], send=[None, BlockingIOError(), BlockingIOError()])
        datagrams = [bytes([n]) * 100 for n in range(10)]
        one.send(datagrams[0], 100)
        one.send(b"".join(datagrams[1:9]), 100)
        one.send(datagrams[9], 100)
        assert one.is_blocked
        async with asyncio.timeout(TIMEOUT_S):
            await own.writable.wait()
        assert not one.is_blocked
        assert await sink.wait_for(10) == datagrams


@pytest.mark.parametrize(
    ("size", "bound"), [(1000, MAX_BACKLOG_BYTES // 1000), (1, MAX_BACKLOG_RUNS)]
)
async def test_what_is_held_back_is_bounded(size: int, bound: int) -> None:
    async with path_pair(use_gso=False) as (one, _, _, _):
        fail(one, send=[BlockingIOError()])
        for _ in range(bound + 10):
            one.send(bytes(size), size)
        assert one.stats()["datagrams_lost"] == 10


@linux_only
async def test_a_kernel_without_gro_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket.setsockopt

    def refuse(self: socket.socket, level: int, option: int, value: Any) -> None:
        if level == socket.IPPROTO_UDP:
            raise OSError(errno.ENOPROTOOPT, "no")
        real(self, level, option, value)

    monkeypatch.setattr(socket.socket, "setsockopt", refuse)
    path = UdpPath.bind("127.0.0.1")
    try:
        assert not path.is_gro
    finally:
        path.close()
