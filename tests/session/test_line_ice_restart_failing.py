"""New DTLS associations on ICE that are refused, or that never come to work."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from dcsdk.errors import FingerprintMismatch, NegotiationError, PeerUnreachable
from dcsdk.ice.sdp import IceDescription
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.tls.certificate import Certificate

from .test_line_ice_restart import (
    TIMEOUT_S,
    bind,
    ends_with,
    go_over,
    ice_of,
    is_closed,
    on_path,
    path_of,
    restart,
    up,
)
from .test_line_restart import answer_restart, line_up, moved
from .test_negotiation import spoil_answer, talk

pytestmark = pytest.mark.clause("RFC 8842 3.1", "RFC 8842 6", "RFC 8841 9.1", "E13", "D13")


# --- what is refused ------------------------------------------------------------------------------
@pytest.mark.parametrize("is_moved", [False, True])
async def test_a_new_association_without_an_ice_restart_is_refused(is_moved: bool) -> None:
    async with ends_with() as (alice, bob):
        line, answering = await line_up(alice, bob)
        offer = moved(await alice.negotiation.offer({}), port=9 if is_moved else None)
        with pytest.raises(NegotiationError, match=r"does not restart ICE \[RFC 8842 6\]"):
            await bob.answer(offer)
        assert not answering.is_restarting
        await talk(line.channels[1000], answering.channels[1000])
        await restart(alice, bob)
        await talk(line.channels[1000], answering.channels[1000])


@pytest.mark.parametrize("is_ice_new", [False, True])
async def test_an_answer_cannot_begin_a_new_association(is_ice_new: bool) -> None:
    async with ends_with() as (alice, bob):
        line, answering = await line_up(alice, bob)
        with closing(bind()) as path:
            answer = await bob.answer(await alice.negotiation.offer({}))
            answer = on_path(answer, path) if is_ice_new else moved(answer, port=9)
            with pytest.raises(NegotiationError, match="RFC 8842 6"):
                await alice.negotiation.take_answer(answer, {})
        assert not line.is_restarting
        await talk(line.channels[1000], answering.channels[1000])


@pytest.mark.clause("RFC 3261 14.1")
async def test_a_restart_that_is_not_answered_leaves_the_line_and_its_ice_as_they_were() -> None:
    async with ends_with() as (alice, bob):
        line, answering = await line_up(alice, bob)
        before, path = answering.description, ice_of(answering)
        with closing(bind()) as nowhere:
            offer = on_path(await alice.negotiation.offer({}), nowhere)
        prepared = await bob.prepare(offer)
        assert prepared.description.media[0].get("ice-ufrag") != before.get("ice-ufrag")
        await prepared.rollback()
        assert answering.description == before and not answering.is_restarting
        assert ice_of(answering) is path and not is_closed(path)
        await restart(alice, bob)
        await talk(line.channels[1000], answering.channels[1000])


# --- hostile and unlucky peers --------------------------------------------------------------------
@pytest.mark.clause("E6")
async def test_a_wrong_fingerprint_on_the_new_session_ends_the_line() -> None:
    async with ends_with() as (alice, bob):
        line, answering = await line_up(alice, bob)
        path, channel, old = bind(), answering.channels[1000], ice_of(answering)
        wrong = str(Certificate.generate().fingerprint)
        offer = spoil_answer(await alice.negotiation.offer({}), "fingerprint", wrong)
        go_over(line, path, await answer_restart(bob, on_path(offer, path)))
        with pytest.raises(FingerprintMismatch):
            await answering.wait_established(TIMEOUT_S)
        with pytest.raises(FingerprintMismatch):
            await channel.send("over the old association")
        assert is_closed(old)


@pytest.mark.parametrize("is_ice_alive", [False, True])
async def test_a_restart_that_never_completes_ends_the_line(is_ice_alive: bool) -> None:
    config = EngineConfig(handshake_timeout_s=0.4)
    async with ends_with(config=config) as (alice, bob):
        line, answering = await line_up(alice, bob)
        old = ice_of(answering)
        with closing(bind()) as silent:
            answer = await answer_restart(bob, on_path(await alice.negotiation.offer({}), silent))
            if is_ice_alive:  # a pair is found, and then nobody shakes hands on it
                remote = IceDescription.parse(answer.media[0].attributes, answer.attributes)
                assert remote is not None
                silent.set_remote_description(remote)
                silent.start(is_controlling=True)
                await silent.wait_selected(TIMEOUT_S)
            await talk(line.channels[1000], answering.channels[1000])  # meanwhile, the old way
            handshake = answering.transport._handshake
            assert handshake is not None
            with pytest.raises(PeerUnreachable):
                await answering.wait_established(TIMEOUT_S)
        assert is_closed(old) and is_closed(handshake.path)


async def test_a_second_restart_takes_the_place_of_one_that_never_completes() -> None:
    async with ends_with() as (alice, bob):
        line, answering = await line_up(alice, bob)
        forgotten = []
        for tls_id in ("x" * 32, "y" * 32, "z" * 32):
            with closing(bind()) as silent:
                offer = on_path(await alice.negotiation.offer({}), silent, tls_id)
                await answer_restart(bob, offer)
            handshake = answering.transport._handshake
            assert handshake is not None
            forgotten.append(handshake.path)
        await restart(alice, bob)
        await talk(line.channels[1000], answering.channels[1000])
        assert [is_closed(path) for path in forgotten] == [True] * 3
        assert answering.stats().restarts == 1


async def test_a_second_restart_without_new_ice_credentials_is_refused() -> None:
    async with ends_with() as (alice, bob):
        line, answering = await line_up(alice, bob)
        path = bind()
        offer = on_path(await alice.negotiation.offer({}), path)
        answer = await answer_restart(bob, offer)
        with pytest.raises(NegotiationError, match="RFC 8842 6"):
            await bob.answer(moved(offer, tls_id="x" * 32))
        go_over(line, path, answer)
        await up(line, answering)
        await talk(line.channels[1000], answering.channels[1000])


async def test_a_peer_that_vanishes_during_a_restart_ends_the_line() -> None:
    config = EngineConfig(handshake_timeout_s=0.4)
    async with ends_with(config=config) as (alice, bob):
        line, answering = await line_up(alice, bob)
        path, channel = bind(), answering.channels[1000]
        answer = await answer_restart(bob, on_path(await alice.negotiation.offer({}), path))
        go_over(line, path, answer)
        ice_of(line).close()  # without a word
        path.close()
        with pytest.raises(PeerUnreachable):
            await answering.wait_established(TIMEOUT_S)
        with pytest.raises(PeerUnreachable):
            await channel.send("to nobody")


async def test_a_line_can_be_closed_while_a_restart_is_under_way() -> None:
    async with ends_with() as (alice, bob):
        _, answering = await line_up(alice, bob)
        with closing(bind()) as silent:
            await answer_restart(bob, on_path(await alice.negotiation.offer({}), silent))
            handshake = answering.transport._handshake
            assert handshake is not None
            old = ice_of(answering)
            await answering.close(0.1)
        assert is_closed(old) and is_closed(handshake.path)


@pytest.mark.clause("RFC 8445 7.3", "RFC 7983 7")
async def test_who_is_not_in_the_ice_session_cannot_shake_hands_on_the_new_socket() -> None:
    async with ends_with() as (alice, bob):
        line, answering = await line_up(alice, bob)
        path = bind()
        answer = await answer_restart(bob, on_path(await alice.negotiation.offer({}), path))
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as stranger:
            for datagram in (b"\x16\xfe\xfd" + bytes(60), b"\x15\xfe\xfd" + bytes(20), b"\0" * 40):
                stranger.sendto(datagram, ("127.0.0.1", answer.media[0].port))
        go_over(line, path, answer)
        await up(line, answering)
        await talk(line.channels[1000], answering.channels[1000])
        assert path_of(answering).stats()["datagrams_unknown"] == 2
