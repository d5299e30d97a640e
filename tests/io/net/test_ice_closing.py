"""How paths with ICE end: consent, time, and closing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing

import pytest

from dcsdk.errors import (
    ChannelClosed,
    OperationTimeout,
    PeerUnreachable,
    TransportError,
)
from dcsdk.ice import (
    ConsentLost,
    IceConfig,
    IceFailed,
)
from dcsdk.io.net.demux import PacketKind
from dcsdk.io.net.ice import IcePath

from .test_ice import DTLS, RTP, Events, bound, connected, introduce
from .test_udp import TIMEOUT_S, Sink

QUICK = IceConfig(
    rto_s=0.02,
    max_transmissions=2,
    last_wait=1,
    patience_s=0.05,
    consent_interval_s=0.02,
    consent_expiry_s=0.15,
)


@pytest.mark.clause("RFC 7675 5.1")
async def test_nothing_is_sent_after_consent_is_lost() -> None:
    async with connected(configs=(QUICK, None)) as (one, _, other, _):
        events = Events(one)
        before = one.stats()["ice_checks_sent"]
        local, remote = one.local_address, other.local_address
        other.close()
        assert await events.wait_for(ConsentLost) == ConsentLost(local=local, remote=remote)
        assert one.stats()["ice_checks_sent"] > before
        sent = one.stats()["bytes_sent"]
        one.send(DTLS, 1)
        assert not one.is_blocked  # who sends finds out by the silence
        assert one.selected is None
        assert one.stats()["datagrams_lost"] > 0
        assert one.stats()["bytes_sent"] == sent
        with pytest.raises(PeerUnreachable, match="consent"):
            await one.wait_selected(TIMEOUT_S)
        other = IcePath.bind("127.0.0.1")
        with closing(other):
            one.restart()
            introduce(one, other)
            pair = await one.wait_selected(TIMEOUT_S)
            assert pair.remote == other.local_address


@pytest.mark.clause("RFC 7675 5.1", "RFC 8445 9")
async def test_consent_lost_during_a_restart_ends_nothing() -> None:
    async with connected(configs=(QUICK, None)) as (one, _, other, _):
        events = Events(one)
        one.restart()
        other.close()
        await events.wait_for(ConsentLost)
        assert one.is_blocked
        one.send(DTLS + b"waits", 6)
        other = IcePath.bind("127.0.0.1")
        with closing(other):
            sink = Sink()
            other.attach(sink)
            other.set_remote(one.local_address)
            introduce(one, other)
            assert await sink.wait_for(1) == [DTLS + b"waits"]


@pytest.mark.clause("RFC 8863 4")
async def test_no_pair_at_all_is_an_unreachable_peer() -> None:
    async with bound("127.0.0.1", configs=(QUICK, None)) as (one, _, other, _):
        events = Events(one)
        theirs = other.local_description
        other.close()
        one.set_remote_description(theirs)
        one.start(is_controlling=True)
        one.send(DTLS, 1)
        with pytest.raises(PeerUnreachable, match="candidate pairs"):
            await one.wait_selected(TIMEOUT_S)
        await events.wait_for(IceFailed)
        assert one.stats()["datagrams_lost"] >= 1


async def test_waiting_is_bounded_and_cancellable() -> None:
    async with bound("127.0.0.1") as (one, _, _, _):
        with pytest.raises(OperationTimeout):
            await one.wait_selected(0.01)
        waiting = asyncio.create_task(one.wait_selected(TIMEOUT_S))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not one._waiters


async def test_closing_is_idempotent_and_wakes_who_waits() -> None:
    async with bound("127.0.0.1") as (one, _, _, _):
        waiting = asyncio.create_task(one.wait_selected(TIMEOUT_S))
        await asyncio.sleep(0)
        one.close()
        one.close()
        with pytest.raises(ChannelClosed):
            await waiting
        with pytest.raises(ChannelClosed):
            await one.wait_selected(TIMEOUT_S)
        with pytest.raises(TransportError, match="closed"):
            one.set_remote(("127.0.0.1", 5000))
        one.send(DTLS, 1)
        assert one.stats()["datagrams_lost"] == 1


async def test_a_receiver_may_close_the_path() -> None:
    async with connected() as (one, _, other, sink):

        class Closer(Sink):
            def datagrams_received(self, batch: Sequence[tuple[bytes, int]]) -> None:
                super().datagrams_received(batch)
                other.close()

        closer = Closer()
        other.attach_kind(PacketKind.RTP, closer)
        one.send(RTP + b"a" + DTLS + b"b" + RTP + b"c", 2)
        one.send(RTP + b"d", 2)
        await closer.wait_for(1)
        del sink
