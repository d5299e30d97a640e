"""A peer that wants a new DTLS association on a line that has one, by offer and by answer."""

from __future__ import annotations

import re
from unittest.mock import patch

import pytest

from dcsdk.errors import FingerprintMismatch, NegotiationError
from dcsdk.interfaces import DtlsSctpParameters
from dcsdk.io.net.udp import UdpPath
from dcsdk.io.secure.dtls_transport import DtlsTransport
from dcsdk.sdp.session import SessionDescription
from dcsdk.tls.certificate import Certificate

from .ends import End, EndLine
from .test_negotiation import CHAT, FILE, ends, exchange, spoil_answer, talk

__all__ = ["ends"]

pytestmark = pytest.mark.clause("RFC 8842 3.1", "RFC 8841 9.1", "E13", "D13")

NEW_TLS_ID = "n" * 32


def moved(
    description: SessionDescription, *, port: int | None = None, tls_id: str = NEW_TLS_ID
) -> SessionDescription:
    """Give the line of a description another tls-id, and another port."""
    text = description.encode().decode()
    text = re.sub(r"a=tls-id:\S+", f"a=tls-id:{tls_id}", text)
    if port is not None:
        text = re.sub(r"m=application \d+", f"m=application {port}", text)
    return SessionDescription.parse(text)


def parameters_for(
    line: EndLine, description: SessionDescription, *, is_client: bool
) -> DtlsSctpParameters:
    """What a peer makes of a description of ours, or we of a peer's."""
    media = description.media[0]
    return DtlsSctpParameters(
        dtls_role="client" if is_client else "server",
        remote_address=("127.0.0.1", media.port),
        remote_fingerprints=media.fingerprints(description),
        local_tls_id=NEW_TLS_ID,
        remote_tls_id=media.tls_id,
    )


async def line_up(alice: End, bob: End) -> tuple[EndLine, EndLine]:
    line = await alice.line()
    await exchange(alice, bob, {line: [CHAT]})
    await talk(line.channels[1000], bob.made[0].channels[1000])
    return line, bob.made[0]


async def answer_restart(bob: End, offer: SessionDescription) -> SessionDescription:
    """Answer; the lines that are started are those of the restart."""
    answer = await bob.answer(offer)
    assert [line.is_restarting for line in bob.made] == [False], "it is started"
    return answer


async def test_a_reoffer_with_a_new_tls_id_gets_a_new_port_and_tls_id(
    ends: tuple[End, End],
) -> None:
    alice, bob = ends
    line, theirs = await line_up(alice, bob)
    before = theirs.description
    path = UdpPath.bind("127.0.0.1")
    changes = {line: [FILE]}
    offer = moved(await alice.negotiation.offer(changes), port=path.local_address[1])
    await line.channels[1000].send("during, the old way")
    answer = await answer_restart(bob, offer)
    (media,) = answer.media
    assert media.port != before.port
    assert media.tls_id not in (before.tls_id, None)
    is_client = str(media.effective_setup(answer)) == "passive"
    line.restart(path, parameters_for(line, answer, is_client=is_client))
    for each in (line, theirs):
        await each.wait_established(10)
        assert each.stats().restarts == 1
    assert await theirs.channels[1000].receive() == "during, the old way"
    await talk(line.channels[1000], theirs.channels[1000])
    await talk(line.channels[1001], theirs.channels[1001])
    assert theirs.address[1] == media.port
    assert theirs.report.peer_fingerprint == line.report.local_fingerprint


@pytest.mark.clause("RFC 8842 5.5")
async def test_the_next_reoffer_keeps_the_new_association(ends: tuple[End, End]) -> None:
    alice, bob = ends
    line, theirs = await line_up(alice, bob)
    path = UdpPath.bind("127.0.0.1")
    offer = moved(await alice.negotiation.offer({}), port=path.local_address[1])
    answer = await answer_restart(bob, offer)
    line.restart(path, parameters_for(line, answer, is_client=False))
    await theirs.wait_established(10)
    again = await answer_restart(bob, offer)
    assert again.media[0].tls_id == answer.media[0].tls_id
    assert again.media[0].port == answer.media[0].port
    assert theirs.stats().restarts == 1
    await talk(line.channels[1000], theirs.channels[1000])


@pytest.mark.clause("E6")
async def test_a_wrong_fingerprint_on_restart_ends_the_line(ends: tuple[End, End]) -> None:
    alice, bob = ends
    line, theirs = await line_up(alice, bob)
    path, channel = UdpPath.bind("127.0.0.1"), theirs.channels[1000]
    wrong = str(Certificate.generate().fingerprint)
    offer = moved(await alice.negotiation.offer({}), port=path.local_address[1])
    answer = await answer_restart(bob, spoil_answer(offer, "fingerprint", wrong))
    line.restart(path, parameters_for(line, answer, is_client=False))
    with pytest.raises(FingerprintMismatch):
        await theirs.wait_established(10)
    with pytest.raises(FingerprintMismatch):
        await channel.send("over the old association")


async def test_an_answer_may_move_to_a_new_port(ends: tuple[End, End]) -> None:
    alice, bob = ends
    line, theirs = await line_up(alice, bob)
    path = UdpPath.bind("127.0.0.1")
    before = line.description
    offer = await alice.negotiation.offer({})
    answer = moved(await bob.answer(offer), port=path.local_address[1])
    fresh = await alice.negotiation.take_answer(answer, {})
    assert fresh == [line] and line.is_restarting
    is_client = str(answer.media[0].setup) == "active"
    parameters = parameters_for(theirs, offer, is_client=is_client)
    theirs.restart(path, parameters)
    line.start()
    for each in (line, theirs):
        await each.wait_established(10)
    await talk(line.channels[1000], theirs.channels[1000])
    assert line.stats().restarts == 1
    assert (line.description.port, line.description.tls_id) == (before.port, before.tls_id)


async def test_an_answer_on_the_old_port_cannot_be_told_apart(ends: tuple[End, End]) -> None:
    alice, bob = ends
    line, theirs = await line_up(alice, bob)
    answer = moved(await bob.answer(await alice.negotiation.offer({})))
    with pytest.raises(NegotiationError, match="address of the old one"):
        await alice.negotiation.take_answer(answer, {})
    assert not line.is_restarting
    await talk(line.channels[1000], theirs.channels[1000])


@pytest.mark.clause("RFC 3261 14.1")
async def test_a_restart_that_is_not_answered_leaves_the_line_as_it_was(
    ends: tuple[End, End],
) -> None:
    alice, bob = ends
    line, theirs = await line_up(alice, bob)
    before, transport = theirs.description, theirs.transport
    offer = moved(await alice.negotiation.offer({}), port=9)
    prepared = await bob.prepare(offer)
    assert prepared.description.media[0].port != before.port
    await prepared.rollback()
    assert theirs.description == before and theirs.transport is transport
    assert not theirs.is_restarting
    await talk(line.channels[1000], theirs.channels[1000])


@pytest.mark.clause("RFC 8841 9.3")
async def test_a_new_sctp_association_on_a_line_is_refused(ends: tuple[End, End]) -> None:
    alice, bob = ends
    line, theirs = await line_up(alice, bob)
    offer = spoil_answer(await alice.negotiation.offer({}), "sctp-port", "6000")
    with pytest.raises(NegotiationError, match="SCTP"):
        await bob.answer(offer)
    await talk(line.channels[1000], theirs.channels[1000])


async def test_a_transport_that_cannot_move_and_a_path_of_ice_refuse() -> None:
    alice, bob = End("full"), End("full")
    try:
        line, theirs = await line_up(alice, bob)
        offer = moved(await alice.negotiation.offer({}), port=9)
        with pytest.raises(NegotiationError, match="ICE"):
            await bob.answer(offer)
        with (
            patch.object(DtlsTransport, "is_renewable", False),
            pytest.raises(NegotiationError, match="cannot move"),
        ):
            await bob.answer(offer)
        await talk(line.channels[1000], theirs.channels[1000])
    finally:
        for end in (alice, bob):
            await end.aclose()
