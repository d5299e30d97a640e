from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from dcsdk.errors import (
    ConfigError,
    TransportError,
)
from dcsdk.ice import (
    Candidate,
    IceConfig,
    IceDescription,
    IceEvent,
    PairSelected,
)
from dcsdk.interfaces import Address, ChannelParameters, DtlsSctpParameters
from dcsdk.io.net.demux import PacketKind
from dcsdk.io.net.ice import EARLY_DATAGRAMS, MAX_HOSTS, IcePath
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.tls.certificate import Certificate

from .test_udp import HOSTS, TIMEOUT_S, FakeSocket, Sink

DTLS, RTP = b"\x17", b"\x80"


class Events:
    """Keeps the events of a path, and lets a test wait for a kind of them."""

    def __init__(self, path: IcePath) -> None:
        self.seen: list[IceEvent] = []
        self._changed = asyncio.Event()
        path.on_event = self._happened

    def _happened(self, event: IceEvent) -> None:
        self.seen.append(event)
        self._changed.set()

    async def wait_for(self, kind: type[IceEvent], count: int = 1) -> IceEvent:
        async with asyncio.timeout(TIMEOUT_S):
            while len(found := [event for event in self.seen if isinstance(event, kind)]) < count:
                self._changed.clear()
                await self._changed.wait()
        return found[-1]


def introduce(one: IcePath, other: IcePath) -> None:
    """Exchange descriptions as offer and answer do, and start both."""
    other.set_remote_description(one.local_description)
    other.start(is_controlling=False)
    one.set_remote_description(other.local_description)
    one.start(is_controlling=True)


@asynccontextmanager
async def bound(
    *hosts: str | Sequence[str], configs: Sequence[IceConfig | None] = (None, None), **kw: Any
) -> AsyncIterator[tuple[IcePath, Sink, IcePath, Sink]]:
    """Bind two paths with receivers attached."""
    one = IcePath.bind(hosts[0], config=configs[0], **kw)
    other = IcePath.bind(hosts[-1], config=configs[1], **kw)
    with closing(one), closing(other):
        sinks = Sink(), Sink()
        one.attach(sinks[0])
        other.attach(sinks[1])
        yield one, sinks[0], other, sinks[1]


@asynccontextmanager
async def connected(
    *hosts: str | Sequence[str], **kw: Any
) -> AsyncIterator[tuple[IcePath, Sink, IcePath, Sink]]:
    """Connect two paths."""
    async with bound(*(hosts or ("127.0.0.1",)), **kw) as ends:
        one, _, other, _ = ends
        introduce(one, other)
        await one.wait_selected(TIMEOUT_S)
        await other.wait_selected(TIMEOUT_S)
        one.set_remote(other.local_address)
        other.set_remote(one.local_address)
        yield ends


# --- a pair ---------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8445 7", "RFC 8445 8.1.1")
@pytest.mark.parametrize("host", [*HOSTS, ("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
@pytest.mark.parametrize("offload", [True, False])
async def test_datagrams_go_over_the_pair_that_ice_found(
    host: str | Sequence[str], offload: bool
) -> None:
    first = host if isinstance(host, str) else host[0]
    async with connected(host, use_gso=offload, use_gro=offload) as (one, seen, other, sink):
        pair = await one.wait_selected(TIMEOUT_S)
        assert pair == one.selected
        assert (pair.local, pair.remote) == (one.local_address, other.local_address)
        assert pair.local[0] == first
        assert one.is_controlling
        assert not other.is_controlling
        datagrams = [DTLS + bytes([number]) * 1199 for number in range(40)]
        one.send(b"".join(datagrams), 1200)
        assert await sink.wait_for(40) == datagrams
        other.send(DTLS + b"back", 1200)
        assert await seen.wait_for(1) == [DTLS + b"back"]
        stats = one.stats()
        assert stats["ice_checks_sent"] >= 2
        assert stats["bytes_sent"] > 48_000
        assert stats["datagrams_lost"] == 0


async def test_segmentation_is_kept_on_the_selected_pair() -> None:
    async with connected() as (one, _, other, sink):
        base = one._bases[one.local_address]
        assert hasattr(base, "is_gso")
        if not base.is_gso:
            pytest.skip("this kernel has no UDP GSO")
        before = one.stats()["send_calls"], other.stats()["receive_calls"]
        one.send(DTLS * 48_000, 1200)
        await sink.wait_for(40)
        assert one.stats()["send_calls"] == before[0] + 1
        assert other.stats()["receive_calls"] < before[1] + 40


@pytest.mark.clause("RFC 8445 2.5")
async def test_a_lite_agent_is_found() -> None:
    async with connected(configs=(None, IceConfig(is_lite=True))) as (one, _, lite, sink):
        assert lite.local_description.is_lite
        one.send(DTLS, 1)
        await sink.wait_for(1)


@pytest.mark.clause("RFC 8838 11")
async def test_candidates_may_come_late() -> None:
    async with bound("127.0.0.1") as (one, _, other, _):
        theirs = other.local_description
        one.set_remote_description(theirs.with_candidates(()))
        one.start(is_controlling=True)
        other.set_remote_description(one.local_description.with_candidates(()))
        other.start(is_controlling=False)
        one.add_remote_candidates(theirs.candidates)
        pair = await one.wait_selected(TIMEOUT_S)
        assert pair.remote == other.local_address
        selected = await other.wait_selected(TIMEOUT_S)
        assert selected.remote_candidate.type == "prflx"


@pytest.mark.clause("RFC 8445 9")
async def test_a_restart_keeps_data_going() -> None:
    async with connected() as (one, _, other, sink):
        one.restart()
        one.send(DTLS + b"old pair", 20)
        assert await sink.wait_for(1) == [DTLS + b"old pair"]
        events = Events(one)
        assert other.set_remote_description(one.local_description)
        other.start(is_controlling=False)
        assert not one.set_remote_description(other.local_description)
        one.start(is_controlling=True)
        await events.wait_for(PairSelected)
        one.send(DTLS + b"new pair", 20)
        assert (await sink.wait_for(2))[1] == DTLS + b"new pair"
        assert one.remote_description == other.local_description.__class__(
            credentials=other.local_description.credentials,
            candidates=other.local_description.candidates,
            is_complete=True,
            options=("ice2",),
            pacing_ms=5,
        )


# --- what is sent and received before -------------------------------------------------------------
async def test_what_is_sent_before_there_is_a_pair_waits_for_it() -> None:
    async with bound("127.0.0.1") as (one, seen, other, sink):
        for number in range(EARLY_DATAGRAMS + 3):
            one.send(DTLS + bytes([number]), 2)
        assert one.is_blocked
        assert one.stats()["datagrams_lost"] == 3
        other.set_remote(one.local_address)
        introduce(one, other)
        expected = [DTLS + bytes([number]) for number in range(EARLY_DATAGRAMS)]
        assert await sink.wait_for(EARLY_DATAGRAMS) == expected
        assert seen.writable.is_set()
        assert not one.is_blocked


@pytest.mark.clause("RFC 8842 5.3")
async def test_what_comes_before_the_path_is_opened_is_kept() -> None:
    async with bound("127.0.0.1") as (one, _, other, sink):
        introduce(one, other)
        await one.wait_selected(TIMEOUT_S)
        await other.wait_selected(TIMEOUT_S)
        for number in range(EARLY_DATAGRAMS + 1):
            one.send(DTLS + bytes([number]), 2)
        events = Events(other)
        other.restart()  # nothing to do with it, but its checks come after the datagrams
        one.set_remote_description(other.local_description)
        one.start(is_controlling=True)
        other.set_remote_description(one.local_description)
        other.start(is_controlling=False)
        await events.wait_for(PairSelected)
        assert sink.datagrams == []
        other.set_remote(one.local_address)
        assert len(sink.datagrams) == EARLY_DATAGRAMS
        assert other.stats()["early_dropped"] == 1


@pytest.mark.clause("RFC 8842 5.3")
async def test_what_comes_before_the_answer_is_kept() -> None:
    """The answerer has our offer: it checks and sends before its answer is here."""
    async with bound("127.0.0.1") as (one, _, other, sink):
        one.set_remote(other.local_address)
        one.set_remote_description(other.local_description)
        one.start(is_controlling=True)
        await one.wait_selected(TIMEOUT_S)
        one.send(DTLS + b"first", 6)
        other.set_remote(one.local_address)
        other.set_remote_description(one.local_description)
        other.start(is_controlling=False)
        assert await sink.wait_for(1) == [DTLS + b"first"]
        assert other.stats().get("datagrams_unknown", 0) == 0


# --- who is heard ---------------------------------------------------------------------------------
async def test_strangers_are_not_heard() -> None:
    async with connected() as (one, _, other, sink):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(DTLS + b"stranger", other.local_address)
            stranger.sendto(b"\x00\x01" + bytes(18), other.local_address)
        one.send(DTLS + b"friend", 10)
        assert await sink.wait_for(1) == [DTLS + b"friend"]
        assert other.stats()["datagrams_unknown"] == 1
        assert other.stats()["ice_stun_malformed"] == 1


@pytest.mark.clause("RFC 7983 7")
async def test_other_protocols_share_the_path_by_their_first_byte() -> None:
    async with connected() as (one, _, other, dtls):
        rtp = Sink()
        other.attach_kind(PacketKind.RTP, rtp)
        one.send(DTLS + b"a" + RTP + b"b" + b"\xff?" + b"\x40!" + DTLS + b"c", 2)
        one.send(RTP + b"d", 2)
        assert await rtp.wait_for(2) == [RTP + b"b", RTP + b"d"]
        assert await dtls.wait_for(2) == [DTLS + b"a", DTLS + b"c"]
        assert other.stats()["datagrams_unknown"] == 1
        with pytest.raises(ConfigError, match="STUN"):
            other.attach_kind(PacketKind.STUN, rtp)


async def test_a_batch_without_receiver_is_lost() -> None:
    one, other = IcePath.bind("127.0.0.1"), IcePath.bind("127.0.0.1")
    with closing(one), closing(other):
        introduce(one, other)
        await one.wait_selected(TIMEOUT_S)
        await other.wait_selected(TIMEOUT_S)
        one.send(DTLS, 1)
        other.set_remote(one.local_address)
        one.send(DTLS, 1)
        sink = Sink()
        one.attach(sink)
        one.set_remote(other.local_address)
        other.send(DTLS, 1)
        await sink.wait_for(1)


async def test_a_full_socket_holds_the_path_back() -> None:
    async with connected() as (one, seen, _, sink):
        udp: Any = one._bases[one.local_address]
        udp._socket = FakeSocket(udp._socket, sendto=[BlockingIOError()])
        seen.writable.clear()
        one.send(DTLS, 1)
        assert one.is_blocked
        async with asyncio.timeout(TIMEOUT_S):
            await seen.writable.wait()
        assert await sink.wait_for(1) == [DTLS]


async def test_remembered_senders_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcsdk.io.net.ice.MAX_KNOWN_SOURCES", 2)
    async with connected() as (one, _, other, sink):
        for _ in range(5):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.sendto(DTLS, other.local_address)
        one.send(DTLS, 1)
        await sink.wait_for(1)
        assert len(other._known) <= 2


# --- binding --------------------------------------------------------------------------------------
@pytest.mark.parametrize("hosts", [[], ["127.0.0.1"] * (MAX_HOSTS + 1), "0.0.0.0", "localhost"])  # noqa: S104
async def test_hosts_that_cannot_be_are_refused(hosts: str | list[str]) -> None:
    with pytest.raises(ConfigError):
        IcePath.bind(hosts)


async def test_a_taken_port_is_a_transport_error_and_leaves_nothing_open() -> None:
    path = IcePath.bind("127.0.0.1")
    with closing(path), pytest.raises(TransportError, match="cannot bind"):
        IcePath.bind(["::1", "127.0.0.1"], path.local_address[1])


async def test_a_path_without_hosts_has_no_address() -> None:
    path = IcePath()
    with closing(path), pytest.raises(TransportError, match="no address"):
        _ = path.local_address


async def test_the_description_names_every_host() -> None:
    path = IcePath.bind(["127.0.0.1", "::1"])
    with closing(path):
        description = IceDescription.parse(path.local_description.media_attributes)
        assert description is not None
        assert [item.host for item in description.candidates] == ["127.0.0.1", "::1"]
        assert path.local_address == description.candidates[0].address
        assert path.remote_description is None


class Relay:
    """A relay of the test's own: what it is told to send reaches the other path as from it."""

    is_blocked = False

    def __init__(self, address: Address, deliver: Callable[[bytes, int, Address], None]) -> None:
        self._address = address
        self._deliver = deliver
        self.is_closed = False

    def send(self, data: bytes, segment_size: int, destination: Address) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(self._deliver, data, segment_size, self._address)

    def stats(self) -> dict[str, int]:
        return {"relayed": 1}

    def close(self) -> None:
        self.is_closed = True


# --- the seam for relays --------------------------------------------------------------------------
@pytest.mark.clause("RFC 8445 5.1.1.2")
async def test_a_relayed_address_is_one_more_base() -> None:
    paths: list[IcePath] = []
    ours, theirs = ("203.0.113.1", 1), ("203.0.113.2", 2)

    def to(index: int, local: Address) -> Callable[[bytes, int, Address], None]:
        return lambda data, size, source: paths[index].receive_on(local, source, data, size)

    relays = Relay(ours, to(1, theirs)), Relay(theirs, to(0, ours))
    for relay, address in zip(relays, (ours, theirs), strict=True):
        path = IcePath()
        candidate = Candidate(
            foundation="1", priority=1, host=address[0], port=address[1], type="relay"
        )
        path.add_base(candidate, relay)
        paths.append(path)
    one, other = paths
    sink = Sink()
    other.attach(sink)
    with closing(one), closing(other):
        introduce(one, other)
        pair = await one.wait_selected(TIMEOUT_S)
        await other.wait_selected(TIMEOUT_S)
        assert (pair.local, pair.remote) == (ours, theirs)
        assert pair.remote_candidate.type == "relay"
        other.set_remote(ours)
        one.send(DTLS + b"relayed", 10)
        assert await sink.wait_for(1) == [DTLS + b"relayed"]
        assert one.stats()["relayed"] == 1
    assert all(relay.is_closed for relay in relays)


# --- an association on top ------------------------------------------------------------------------
@pytest.mark.clause("RFC 8831 5", "RFC 8842 5.2")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("waits", [True, False])
async def test_a_data_channel_runs_over_an_ice_pair(host: str, waits: bool) -> None:
    engine = NativeEngine()
    certificates = Certificate.generate(), Certificate.generate()
    paths = IcePath.bind(host), IcePath.bind(host)
    ends = [
        engine.create(path, certificate)
        for path, certificate in zip(paths, certificates, strict=True)
    ]
    channels = [end.open_channel(ChannelParameters(stream_id=2)) for end in ends]
    try:
        introduce(*paths)
        if waits:
            await asyncio.gather(*(path.wait_selected(TIMEOUT_S) for path in paths))
        for index, end in enumerate(ends):
            end.start(
                DtlsSctpParameters(
                    dtls_role="client" if index else "server",
                    remote_address=paths[1 - index].local_address,
                    remote_fingerprints=(certificates[1 - index].fingerprint,),
                    local_tls_id=None,
                    remote_tls_id=None,
                )
            )
        await asyncio.gather(*(end.wait_established(TIMEOUT_S) for end in ends))
        sent = bytes(range(256)) * 250
        await channels[0].send(sent)
        assert await channels[1].receive() == sent
    finally:
        for end in ends:
            await end.aclose()
