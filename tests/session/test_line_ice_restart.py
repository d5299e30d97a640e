"""A peer that wants a new DTLS association on a line whose path ICE chose."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from dcsdk.datachannel.channel import DataChannel
from dcsdk.errors import CallRejected, LocalProtocolError
from dcsdk.ice.config import IceConfig
from dcsdk.ice.sdp import ATTRIBUTE_NAMES, IceDescription
from dcsdk.interfaces import DatagramPath
from dcsdk.io.capture import ENHANCED_PACKET, Capture
from dcsdk.io.net.ice import IcePath
from dcsdk.io.net.udp import UdpPath
from dcsdk.io.net.udp_socket import UdpSocket
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.session import SessionDescription
from dcsdk.session.line_paths import IceMode

from ..io.test_capture import blocks_of
from ..memory_clients import a_pair, dialog_of, offer_of
from ..memory_signalling import Switchboard
from .ends import End, EndLine
from .test_line_restart import NEW_TLS_ID, answer_restart, line_up, moved, parameters_for
from .test_negotiation import FILE, exchange, talk

pytestmark = pytest.mark.clause("RFC 8842 3.1", "RFC 8842 6", "RFC 8841 9.1", "E13", "D13")

TIMEOUT_S = 10.0
MESSAGES, SIZE = 150, 4_000


@asynccontextmanager
async def ends_with(
    ours: IceMode = "full", theirs: IceMode = "full", *, config: EngineConfig | None = None
) -> AsyncIterator[tuple[End, End]]:
    """Two ends; ``config`` is for the second."""
    alice, bob = End(ours), End(theirs, config=config)
    try:
        async with asyncio.timeout(2 * TIMEOUT_S):
            yield alice, bob
    finally:
        for end in (alice, bob):
            await end.aclose(0.1)


def path_of(line: EndLine) -> DatagramPath:
    """The path under a line."""
    return line.transport._path


def ice_of(line: EndLine) -> IcePath:
    """The same, which is one of ICE."""
    path = path_of(line)
    assert isinstance(path, IcePath)
    return path


def is_closed(path: DatagramPath) -> bool:
    """The sockets of a path are gone."""
    assert isinstance(path, IcePath)
    return path._is_closed and all(
        base.is_closed for base in path._bases.values() if isinstance(base, UdpSocket)
    )


def bind(mode: IceMode = "full") -> IcePath:
    """What a peer binds that allocates a completely new set of candidates."""
    return IcePath.bind("127.0.0.1", config=IceConfig(is_lite=mode == "lite"))


def on_path(
    description: SessionDescription, path: IcePath, tls_id: str = NEW_TLS_ID
) -> SessionDescription:
    """Make of a description one that says another ICE session, and another tls-id."""
    media = description.media[0].without(*ATTRIBUTE_NAMES).replacing("tls-id", tls_id)
    media = media.with_attributes(path.local_description.media_attributes)
    changed = description.replace_media(0, media.with_port(path.local_address[1]))
    return SessionDescription.parse(changed.encode())


def without_ice(description: SessionDescription) -> SessionDescription:
    """Make of a description one of a peer without ICE."""
    media = description.media[0].without(*ATTRIBUTE_NAMES)
    return SessionDescription.parse(description.replace_media(0, media).encode())


def go_over(
    line: EndLine, path: IcePath, answer: SessionDescription, *, is_controlling: bool = True
) -> None:
    """Do as the peer what an answer of ours says."""
    remote = IceDescription.parse(answer.media[0].attributes, answer.attributes)
    assert remote is not None
    path.set_remote_description(remote)
    path.start(is_controlling=is_controlling or remote.is_lite)
    is_client = answer.media[0].effective_setup(answer) is Setup.PASSIVE
    line.restart(path, parameters_for(line, answer, is_client=is_client))


async def up(*lines: EndLine) -> None:
    for line in lines:
        await line.wait_established(TIMEOUT_S)


async def restart(alice: End, bob: End, *, tls_id: str = NEW_TLS_ID) -> None:
    """A whole restart that the first end asks for."""
    (line,), path = alice.made, bind(alice.ice)
    is_controlling = ice_of(line).is_controlling
    answer = await answer_restart(bob, on_path(await alice.negotiation.offer({}), path, tls_id))
    go_over(line, path, answer, is_controlling=is_controlling)
    await up(line, bob.made[0])


async def reoffer(alice: End, bob: End) -> None:
    """One more offer and answer, which start nothing new."""
    assert await exchange(alice, bob, {}) == []


async def keep_talking(
    one: DataChannel, other: DataChannel, during: Callable[[], Awaitable[None]]
) -> None:
    """Send both ways while something happens; all of it arrives, in order, once."""

    def sample(number: int) -> bytes:
        return number.to_bytes(4, "big") * (SIZE // 4)

    async def send(channel: DataChannel) -> None:
        for number in range(MESSAGES):
            await channel.send(sample(number))

    async def receive(channel: DataChannel) -> None:
        for number in range(MESSAGES):
            assert await channel.receive() == sample(number)

    async with asyncio.TaskGroup() as group:
        for channel in (one, other):
            group.create_task(send(channel))
            group.create_task(receive(channel))
        await during()


# --- it works -------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8839 4.4.3", "RFC 8445 9", "RFC 8842 5.3")
@pytest.mark.parametrize(("ours", "theirs"), [("full", "full"), ("full", "lite"), ("lite", "full")])
@pytest.mark.parametrize("is_turned", [False, True])
async def test_data_flows_across_a_restart_onto_a_new_ice_session(
    ours: IceMode, theirs: IceMode, is_turned: bool
) -> None:
    async with ends_with(ours, theirs) as (alice, bob):
        line, answering = await line_up(alice, bob)
        old_paths, before = [ice_of(line), ice_of(answering)], answering.description
        if is_turned:  # the answerer of the first offer makes this one
            alice, bob = bob, alice
            line, answering, before = answering, line, line.description
        roles = ice_of(line).is_controlling, ice_of(answering).is_controlling
        one, other = line.channels[1000], answering.channels[1000]
        await keep_talking(one, other, lambda: restart(alice, bob))
        await talk(one, other)
        after = answering.description
        assert after.port != before.port
        for name in ("tls-id", "ice-ufrag", "ice-pwd", "candidate"):
            assert not set(after.get_all(name)) & set(before.get_all(name)), name
        assert [each.stats().restarts for each in (line, answering)] == [1, 1]
        assert [is_closed(path) for path in old_paths] == [True, True]
        assert (ice_of(line).is_controlling, ice_of(answering).is_controlling) == roles
        assert answering.report.peer_fingerprint == line.report.local_fingerprint


async def test_a_channel_of_the_same_offer_opens_on_the_new_association() -> None:
    async with ends_with() as (alice, bob):
        line, answering = await line_up(alice, bob)
        path = bind()
        offer = on_path(await alice.negotiation.offer({line: [FILE]}), path)
        go_over(line, path, await answer_restart(bob, offer))
        await up(line, answering)
        await talk(line.channels[1000], answering.channels[1000])
        await talk(line.channels[1001], answering.channels[1001])


async def test_it_can_be_done_again_and_again() -> None:
    async with ends_with() as (alice, bob):
        line, answering = await line_up(alice, bob)
        for number in range(3):
            await restart(alice, bob, tls_id=str(number) * 32)
            await talk(line.channels[1000], answering.channels[1000])
        assert answering.stats().restarts == 3


@pytest.mark.clause("RFC 8842 5.5")
async def test_the_next_reoffer_keeps_the_new_association_and_its_ice_session() -> None:
    async with ends_with() as (alice, bob):
        line, answering = await line_up(alice, bob)
        path = bind()
        offer = on_path(await alice.negotiation.offer({}), path)
        answer = await answer_restart(bob, offer)
        go_over(line, path, answer)
        await up(line, answering)
        again = await answer_restart(bob, offer)
        for name in ("tls-id", "ice-ufrag", "ice-pwd"):
            assert again.media[0].get(name) == answer.media[0].get(name)
        assert again.media[0].port == answer.media[0].port
        assert answering.stats().restarts == 1
        await talk(line.channels[1000], answering.channels[1000])


@pytest.mark.clause("RFC 8839 4.4.3", "RFC 8842 3.1")
async def test_an_ice_restart_alone_keeps_the_association_and_the_socket() -> None:
    async with ends_with() as (alice, bob):
        line, answering = await line_up(alice, bob)
        before, path = answering.description, ice_of(answering)
        ice_of(line).prepare_restart()
        await keep_talking(
            line.channels[1000], answering.channels[1000], lambda: reoffer(alice, bob)
        )
        after = answering.description
        assert (after.port, after.tls_id) == (before.port, before.tls_id)
        assert after.get("ice-ufrag") != before.get("ice-ufrag")
        assert ice_of(answering) is path
        assert answering.stats().restarts == 0


async def test_an_ice_restart_and_then_a_new_association_on_top_of_it() -> None:
    async with ends_with() as (alice, bob):
        line, answering = await line_up(alice, bob)
        ice_of(line).prepare_restart()
        await reoffer(alice, bob)
        await restart(alice, bob)
        await talk(line.channels[1000], answering.channels[1000])


async def test_a_session_refuses_it_without_an_ice_restart_and_moves_with_one() -> None:
    async with a_pair(Switchboard(), ice="full") as (session, answered), asyncio.timeout(TIMEOUT_S):
        opening = asyncio.create_task(session.open(label="stays"))
        theirs = await (await anext(answered.incoming())).accept()
        ours = await opening
        with pytest.raises(CallRejected, match="488"):
            await dialog_of(session).reoffer(moved(await offer_of(session)), timeout_s=5)
        await talk(ours, theirs)
        path, line, peer = bind(), EndLine(), EndLine()
        (line.line,), (peer.line,) = session._negotiation.lines, answered._negotiation.lines
        offer = on_path(await offer_of(session), path)
        go_over(line, path, await dialog_of(session).reoffer(offer, timeout_s=5))
        await up(line, peer)
        await talk(ours, theirs)
        assert [stats.restarts for stats in answered.stats().values()] == [1]


# --- with plain UDP before or after ---------------------------------------------------------------
async def test_a_line_that_fell_back_to_plain_udp_restarts_on_plain_udp() -> None:
    async with ends_with("off", "full") as (alice, bob):
        line, answering = await line_up(alice, bob)
        path = UdpPath.bind("127.0.0.1")
        offer = moved(await alice.negotiation.offer({}), port=path.local_address[1])
        answer = await answer_restart(bob, offer)
        assert not answer.media[0].has("ice-ufrag")
        is_client = answer.media[0].effective_setup(answer) is Setup.PASSIVE
        line.restart(path, parameters_for(line, answer, is_client=is_client))
        await up(line, answering)
        await talk(line.channels[1000], answering.channels[1000])


async def test_an_answer_may_move_a_line_that_fell_back_to_plain_udp() -> None:
    async with ends_with("full", "off") as (alice, bob):
        line, answering = await line_up(alice, bob)
        path, address = UdpPath.bind("127.0.0.1"), line.address
        offer = await alice.negotiation.offer({})
        answer = moved(await bob.answer(offer), port=path.local_address[1])
        assert await alice.negotiation.take_answer(answer, {}) == [line]
        is_client = answer.media[0].setup is Setup.ACTIVE
        answering.restart(path, parameters_for(answering, offer, is_client=is_client))
        line.start()
        await up(line, answering)
        await talk(line.channels[1000], answering.channels[1000])
        assert (line.address, line.stats().restarts) == (address, 1)


async def test_a_path_of_ice_shares_its_address_with_no_other() -> None:
    async with ends_with() as (alice, bob):
        line, _ = await line_up(alice, bob)
        with pytest.raises(LocalProtocolError, match="shares its address"):
            ice_of(line).fork()


@pytest.mark.clause("RFC 8839 5.3")
@pytest.mark.parametrize("mode", ["full", "lite"])
async def test_a_peer_may_bring_ice_along_with_the_new_association(mode: IceMode) -> None:
    async with ends_with("off", mode) as (alice, bob):
        line, answering = await line_up(alice, bob)
        path = bind()
        answer = await answer_restart(bob, on_path(await alice.negotiation.offer({}), path))
        names = {attribute.name for attribute in answer.attributes}
        assert ("ice-lite" in names) is (mode == "lite")
        go_over(line, path, answer)
        await up(line, answering)
        await talk(line.channels[1000], answering.channels[1000])
        assert ice_of(answering).selected is not None


async def test_a_peer_may_leave_ice_along_with_the_old_association() -> None:
    async with ends_with() as (alice, bob):
        line, answering = await line_up(alice, bob)
        path = UdpPath.bind("127.0.0.1")
        offer = without_ice(await alice.negotiation.offer({}))
        answer = await answer_restart(bob, moved(offer, port=path.local_address[1]))
        assert not answer.media[0].has("ice-ufrag")
        is_client = answer.media[0].effective_setup(answer) is Setup.PASSIVE
        line.restart(path, parameters_for(line, answer, is_client=is_client))
        await up(line, answering)
        await talk(line.channels[1000], answering.channels[1000])


# --- captures -------------------------------------------------------------------------------------
async def test_a_capture_goes_on_over_the_new_ice_session(tmp_path: Path) -> None:
    file = tmp_path / "call.pcapng"
    with closing(Capture(file)) as capture:
        async with ends_with(config=EngineConfig(capture=capture)) as (alice, bob):
            line, answering = await line_up(alice, bob)
            old = answering.address[1]
            await restart(alice, bob)
            await talk(line.channels[1000], answering.channels[1000])
            new, peer = answering.address[1], ice_of(line).local_address[1]
    packets = [body[20:] for kind, body in blocks_of(file) if kind == ENHANCED_PACKET]
    ports = [struct.unpack_from(">HH", packet, 20) for packet in packets if packet[9] == 17]
    assert any(old in pair for pair in ports)
    assert (new, peer) in ports and (peer, new) in ports
    first_new = next(
        i
        for i, packet in enumerate(packets)
        if packet[9] == 17 and new in struct.unpack_from(">HH", packet, 20)
    )
    plain = b"".join(packet for packet in packets[first_new:] if packet[9] == 132)
    assert b"ping" in plain and b"pong" in plain
