"""Offer and answer between two real ends: lines, channels, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest

from dcsdk.datachannel.channel import DataChannel
from dcsdk.errors import (
    FingerprintMismatch,
    LocalProtocolError,
    RemoteProtocolError,
    SecurityError,
)
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription
from dcsdk.session.line import RefusedLine
from dcsdk.session.line_paths import IceMode
from dcsdk.tls.certificate import Certificate

from .ends import End, EndLine

CHAT = Dcmap(stream_id=1000, label="chat")
FILE = Dcmap(stream_id=1001, subprotocol="http", label="file")


@pytest.fixture
async def ends() -> AsyncIterator[tuple[End, End]]:
    alice, bob = End(), End()
    yield alice, bob
    for end in (alice, bob):
        await end.aclose()


async def exchange(
    alice: End,
    bob: End,
    changes: dict[EndLine, list[Dcmap]],
    *,
    take: set[int] | None = None,
) -> list[EndLine]:
    """Offer, answer, start; both directions went over the wire as text."""
    offer = await alice.negotiation.offer(changes)
    answer = await bob.answer(SessionDescription.parse(offer.encode()), take=take)
    fresh = await alice.negotiation.take_answer(SessionDescription.parse(answer.encode()), changes)
    for line in fresh:
        line.start()
    for line in fresh:
        await line.wait_established(10)
    return fresh


async def talk(one: DataChannel, other: DataChannel) -> None:
    await one.send("ping")
    assert await other.receive() == "ping"
    await other.send(b"pong")
    assert await one.receive() == b"pong"


@pytest.mark.clause("RFC 8864 6.3", "RFC 8841 10", "TS 33.328 7.2.Y")
async def test_a_line_and_its_channels_come_up_between_two_ends(ends: tuple[End, End]) -> None:
    alice, bob = ends
    line = await alice.line()
    assert await exchange(alice, bob, {line: [CHAT]}) == [line]
    await talk(line.channels[1000], bob.made[0].channels[1000])
    assert line.report.suite == bob.made[0].report.suite != ""
    assert line.report.peer_fingerprint == bob.made[0].report.local_fingerprint


@pytest.mark.clause("D7", "RFC 8445 6.1.1", "RFC 8839 4.2")
@pytest.mark.parametrize(
    ("ours", "theirs", "runs_ice"),
    [
        ("full", "full", True),
        ("full", "lite", True),
        ("lite", "full", True),
        ("lite", "lite", False),
        ("full", "off", False),
        ("off", "full", False),
    ],
)
async def test_ice_runs_where_both_ends_speak_it_and_plain_udp_elsewhere(
    ours: IceMode, theirs: IceMode, runs_ice: bool
) -> None:
    alice, bob = End(ours), End(theirs)
    try:
        line = await alice.line()
        await exchange(alice, bob, {line: [CHAT]})
        await talk(line.channels[1000], bob.made[0].channels[1000])
        await exchange(alice, bob, {line: [FILE]})
        await talk(line.channels[1001], bob.made[0].channels[1001])
        path = line.stats().path
        used = any(count for name, count in path.others.items() if name.startswith("ice_"))
        assert used is runs_ice, path
    finally:
        for end in (alice, bob):
            await end.aclose()


@pytest.mark.clause("RFC 8839 5.4")
async def test_a_malformed_ice_attribute_in_an_answer_is_refused() -> None:
    alice, bob = End("full"), End("full")
    try:
        line = await alice.line()
        changes = {line: [CHAT]}
        answer = await bob.answer(await alice.negotiation.offer(changes))
        with pytest.raises(RemoteProtocolError, match="ice"):
            await alice.negotiation.take_answer(spoil_answer(answer, "ice-pwd", None), changes)
    finally:
        for end in (alice, bob):
            await end.aclose()


@pytest.mark.clause("RFC 8864 6.3", "RFC 8842 5.5")
async def test_a_second_channel_joins_the_line_and_keeps_the_association(
    ends: tuple[End, End],
) -> None:
    alice, bob = ends
    line = await alice.line()
    await exchange(alice, bob, {line: [CHAT]})
    transport = line.transport
    assert await exchange(alice, bob, {line: [FILE]}) == []
    assert line.transport is transport
    await talk(line.channels[1001], bob.made[0].channels[1001])
    await talk(line.channels[1000], bob.made[0].channels[1000])


@pytest.mark.clause("RFC 8864 6.4", "D11")
async def test_a_channel_left_out_of_the_answer_is_refused_and_the_rest_stays(
    ends: tuple[End, End],
) -> None:
    alice, bob = ends
    line = await alice.line()
    await exchange(alice, bob, {line: [CHAT, FILE]}, take={1000})
    assert set(line.channels) == {1000}
    await talk(line.channels[1000], bob.made[0].channels[1000])


@pytest.mark.clause("RFC 3264 6", "RFC 3264 8.1", "D11")
async def test_a_line_whose_channels_are_all_refused_has_port_zero_until_another_takes_its_place(
    ends: tuple[End, End],
) -> None:
    alice, bob = ends
    line = await alice.line()
    await exchange(alice, bob, {line: [CHAT]}, take=set())
    assert line.is_closed
    assert isinstance(bob.negotiation.lines[0], RefusedLine)
    offer = await alice.negotiation.offer({})
    assert [media.port for media in offer.media] == [0]
    other = await alice.line()
    assert await exchange(alice, bob, {other: [FILE]}) == [other]
    assert alice.negotiation.lines == [other]


@pytest.mark.clause("RFC 3264 8.2", "D14")
async def test_a_line_offered_with_port_zero_ends_for_both(ends: tuple[End, End]) -> None:
    alice, bob = ends
    line = await alice.line()
    await exchange(alice, bob, {line: [CHAT]})
    await line.close()
    await exchange(alice, bob, {})
    assert bob.made[0].is_closed


@pytest.mark.clause("RFC 8864 6.6.1")
async def test_a_channel_that_the_next_offer_lacks_is_closed(ends: tuple[End, End]) -> None:
    alice, bob = ends
    line = await alice.line()
    await exchange(alice, bob, {line: [CHAT, FILE]})
    theirs = bob.made[0].channels[1001]
    await line.close_channels([1001])
    await exchange(alice, bob, {})
    assert set(bob.made[0].channels) == {1000}
    with pytest.raises(Exception, match="closed"):
        await theirs.send("too late")


@pytest.mark.clause("RFC 8864 6.6.1")
async def test_a_closed_channel_leaves_the_next_offer_and_its_id_can_be_used_again(
    ends: tuple[End, End],
) -> None:
    alice, bob = ends
    line = await alice.line()
    await exchange(alice, bob, {line: [CHAT, FILE]})
    await line.channels[1001].aclose()
    assert set(line.channels) == {1000}
    await exchange(alice, bob, {line: [FILE]})
    await talk(line.channels[1001], bob.made[0].channels[1001])


@pytest.mark.clause("RFC 3261 14.1", "D12")
async def test_a_refused_offer_leaves_the_session_as_it_was(ends: tuple[End, End]) -> None:
    alice, bob = ends
    line = await alice.line()
    await exchange(alice, bob, {line: [CHAT]})
    other = await alice.line()
    changes = {line: [FILE], other: [Dcmap(stream_id=1002)]}
    await alice.negotiation.offer(changes)
    assert await alice.negotiation.forget_offer(changes) == [other]
    assert set(line.channels) == {1000}
    assert alice.negotiation.lines == [line]
    await talk(line.channels[1000], bob.made[0].channels[1000])


@pytest.mark.clause("RFC 3264 6")
async def test_media_other_than_data_channels_is_refused_in_its_place(
    ends: tuple[End, End],
) -> None:
    alice, bob = ends
    line = await alice.line()
    offer = await alice.negotiation.offer({line: [CHAT]})
    audio = MediaDescription.create(media="audio", port=4000, proto="RTP/AVP", formats=["0"])
    mixed = dataclasses.replace(offer, media=(audio, *offer.media))
    answer = await bob.answer(mixed)
    assert [media.is_rejected for media in answer.media] == [True, False]


def spoil_answer(answer: SessionDescription, name: str, value: str | None) -> SessionDescription:
    media = answer.media[0].without(name)
    return answer.replace_media(0, media if value is None else media.with_attribute(name, value))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        pytest.param("setup", "actpass", RemoteProtocolError, marks=pytest.mark.clause("E12")),
        pytest.param("setup", None, RemoteProtocolError, marks=pytest.mark.clause("E7")),
        pytest.param("tls-id", None, RemoteProtocolError, marks=pytest.mark.clause("E7")),
        pytest.param("fingerprint", None, SecurityError, marks=pytest.mark.clause("E7")),
        pytest.param(
            "fingerprint",
            "md5 " + ":".join(["00"] * 16),
            SecurityError,
            marks=pytest.mark.clause("RFC 8122 5"),
        ),
        pytest.param(
            "dcmap",
            '1002 label="never offered"',
            RemoteProtocolError,
            marks=pytest.mark.clause("D6"),
        ),
        pytest.param(
            "sctp-port", None, RemoteProtocolError, marks=pytest.mark.clause("RFC 8841 5")
        ),
    ],
)
async def test_an_answer_that_breaks_a_rule_is_refused_and_nothing_is_sent(
    ends: tuple[End, End], name: str, value: str | None, error: type[Exception]
) -> None:
    alice, bob = ends
    line = await alice.line()
    changes = {line: [CHAT]}
    answer = await bob.answer(await alice.negotiation.offer(changes))
    paths = alice.negotiation.bound(line)
    with pytest.raises(error):
        await alice.negotiation.take_answer(spoil_answer(answer, name, value), changes)
    assert paths.paths.rtp is not None
    assert paths.paths.rtp.stats()["bytes_sent"] == 0


@pytest.mark.clause("E6")
async def test_a_certificate_that_signalling_did_not_name_is_a_mismatch(
    ends: tuple[End, End],
) -> None:
    alice, bob = ends
    line = await alice.line()
    changes = {line: [CHAT]}
    answer = await bob.answer(await alice.negotiation.offer(changes))
    wrong = spoil_answer(answer, "fingerprint", str(Certificate.generate().fingerprint))
    for fresh in await alice.negotiation.take_answer(wrong, changes):
        fresh.start()
    with pytest.raises(FingerprintMismatch):
        await line.wait_established(10)


@pytest.mark.clause("RFC 3264 8")
async def test_an_offer_with_fewer_lines_than_the_session_is_refused(
    ends: tuple[End, End],
) -> None:
    alice, bob = ends
    line = await alice.line()
    await exchange(alice, bob, {line: [CHAT]})
    offer = await alice.negotiation.offer({})
    with pytest.raises(RemoteProtocolError, match="fewer"):
        await bob.answer(dataclasses.replace(offer, media=()))


async def test_a_stream_id_in_use_cannot_be_offered_again(ends: tuple[End, End]) -> None:
    alice, bob = ends
    line = await alice.line()
    await exchange(alice, bob, {line: [CHAT]})
    with pytest.raises(LocalProtocolError, match="taken"):
        await alice.negotiation.offer({line: [CHAT]})


@pytest.mark.clause("TS 24.275 IMS_DC_configuration")
async def test_a_side_that_may_not_have_data_channels_refuses_every_line(
    ends: tuple[End, End],
) -> None:
    alice, bob = ends[0], End(dc_allowed=False)
    line = await alice.line()
    answer = await bob.answer(await alice.negotiation.offer({line: [CHAT]}))
    assert bob.made == []
    assert answer.media[0].is_rejected
