"""Sessions: what happens when offers cross, are taken back, or are answered wrongly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dcsdk import (
    CallRejected,
    ChannelParameters,
    ConfigError,
    DataChannels,
    DcsdkError,
    FingerprintMismatch,
    ProtocolError,
    RemoteProtocolError,
    Session,
    TransportError,
    UnsupportedByPeer,
)
from dcsdk.interfaces import DtlsSctpParameters, Paths, SecureTransport
from dcsdk.io.net.udp import UdpPath
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.session import SessionDescription
from dcsdk.session.decisions import MAX_WAITING_REQUESTS
from dcsdk.session.exchange import New
from dcsdk.session.session import MAX_GLARE_RETRIES
from dcsdk.tls.certificate import Certificate
from tests.memory_clients import a_pair, dialog_of, offer_of
from tests.memory_signalling import Switchboard


@pytest.fixture
def board() -> Switchboard:
    return Switchboard()


async def channel(opener: Session, other: Session, label: str = "") -> None:
    """Open a channel from one side, accept it on the other, and say something on it."""
    opening = asyncio.create_task(opener.open(label=label))
    accepted = await (await anext(other.incoming())).accept()
    opened = await opening
    await opened.send(label)
    assert await accepted.receive() == label


async def test_a_session_knows_its_call(board: Switchboard) -> None:
    async with a_pair(board) as (session, answered):
        assert session.call_id == answered.call_id == "call 1"
        assert session.remote_uri == "sip:callee@ims.example"
        assert answered.asserted_identity == "sip:alice@ims.example"
        assert not session.is_ended and session.streams == ()


# --- hanging up -----------------------------------------------------------------------------------
async def test_hanging_up_is_bounded_when_the_bye_is_stuck(board: Switchboard) -> None:
    async with a_pair(board, close_timeout_s=0.05) as (session, answered):
        await channel(session, answered)
        dialog_of(session).is_stuck = True
        await session.aclose()
        assert session.is_ended and session.streams == ()
        assert await session.wait_ended() == "we hung up"
        await session.aclose()
        assert dialog_of(session).byes == 1 or session.is_ended


async def test_a_bye_that_fails_ends_the_session_all_the_same(board: Switchboard) -> None:
    async with a_pair(board) as (session, _):
        dialog_of(session).bye_error = TransportError("no connection")
        await session.aclose()
        assert session.is_ended


async def test_nothing_is_opened_after_the_end(board: Switchboard) -> None:
    async with a_pair(board) as (session, answered):
        await session.aclose()
        with pytest.raises(TransportError, match="ended"):
            await session.open()
        assert await answered.wait_ended() == "the peer ended the call"
        assert [request async for request in answered.incoming()] == []
        assert [request async for request in answered.incoming()] == [], "for each reader"


# --- offers that cross ----------------------------------------------------------------------------
@pytest.mark.clause("D10", "RFC 3261 14.1")
async def test_491_is_tried_again_with_a_new_offer(board: Switchboard) -> None:
    async with a_pair(board) as (session, answered):
        dialog_of(session).statuses.extend([491] * MAX_GLARE_RETRIES)
        await channel(session, answered)
        assert len(session._negotiation.slots) == 1


@pytest.mark.clause("D10", "RFC 3261 14.1")
async def test_endless_491_is_given_up(board: Switchboard) -> None:
    async with a_pair(board) as (session, answered):
        dialog_of(session).statuses.extend([491] * (MAX_GLARE_RETRIES + 1))
        with pytest.raises(CallRejected) as caught:
            await session.open()
        assert caught.value.status == 491
        assert session._negotiation.slots == []
        await channel(session, answered)


@pytest.mark.clause("RFC 3261 9.1")
async def test_an_offer_that_is_taken_back_leaves_both_sides_as_they_were(
    board: Switchboard,
) -> None:
    async with a_pair(board) as (session, answered):
        await channel(session, answered, "kept")
        for app_id in ("new-line", None):
            opening = asyncio.create_task(session.open(label="withdrawn", app_id=app_id))
            request = await anext(answered.incoming())
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            with pytest.raises(CallRejected):
                await request.accept()
            for end in (session, answered):
                assert len(end._negotiation.slots) == 1
                assert [stream.app.stream_ids for stream in end.streams] == [(1000,)]
        await channel(session, answered, "next")
        await channel(answered, session, "and back")


@pytest.mark.clause("RFC 3261 9.2")
async def test_a_program_that_decides_nothing_holds_up_nobody_who_gave_up(
    board: Switchboard,
) -> None:
    async with a_pair(board, request_timeout_s=3600.0) as (session, answered):
        opening = asyncio.create_task(session.open(label="withdrawn"))
        request = await anext(answered.incoming())
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await channel(session, answered, "next")
        assert not request.is_waiting
        with pytest.raises(CallRejected, match="took its offer back"):
            await request.accept()


@pytest.mark.clause("RFC 8831 6.7", "RFC 8864 6.4")
async def test_refused_channels_take_no_room_from_others(board: Switchboard) -> None:
    async with a_pair(board) as (session, answered):
        await channel(session, answered, "first")
        bound = session._config.profile.max_channels
        for _ in range(bound):
            opening = asyncio.create_task(session.open(label="refused"))
            (await anext(answered.incoming())).refuse()
            with pytest.raises(UnsupportedByPeer):
                await opening
        await channel(session, answered, "last")
        (stream,) = session.streams
        assert stream.app.stream_ids == (
            1000,
            1001 + bound,
        )  # a refused one may still be under reset


# --- answers that are wrong -----------------------------------------------------------------------
def without_fingerprints(answer: SessionDescription) -> SessionDescription:
    for index, media in enumerate(answer.media):
        answer = answer.replace_media(index, media.without("fingerprint"))
    return answer


@pytest.mark.clause("E7", "RFC 3264 8.2")
async def test_after_a_wrong_answer_the_peer_is_told_by_port_0(board: Switchboard) -> None:
    async with a_pair(board) as (session, answered):
        dialog = dialog_of(session)

        def spoil_once(answer: SessionDescription) -> SessionDescription:
            dialog.answers = lambda answer: answer
            return without_fingerprints(answer)

        dialog.answers = spoil_once
        opening = asyncio.create_task(session.open())
        accepting = asyncio.create_task((await anext(answered.incoming())).accept())
        with pytest.raises(DcsdkError, match="fingerprint"):
            await opening
        with pytest.raises(DcsdkError):
            await accepting
        assert session.streams == answered.streams == ()
        await channel(session, answered)


async def test_a_peer_that_cannot_be_told_is_logged(
    board: Switchboard, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_pair(board, media_timeout_s=0.1) as (session, answered):
        dialog = dialog_of(session)

        def spoil(answer: SessionDescription) -> SessionDescription:
            dialog.statuses.append(488)
            return without_fingerprints(answer)

        dialog.answers = spoil
        opening = asyncio.create_task(session.open())
        accepting = asyncio.create_task((await anext(answered.incoming())).accept())
        with pytest.raises(DcsdkError, match="fingerprint"):
            await opening
        with pytest.raises((TimeoutError, ConnectionError)):
            await accepting
    assert "the peer was not told" in caplog.text


@pytest.mark.clause("RFC 3264 6")
async def test_an_answer_that_revives_a_closed_line_is_an_error(board: Switchboard) -> None:
    async with a_pair(board) as (session, answered):
        await channel(session, answered)
        (line,) = session._negotiation.lines
        await line.aclose(2.0)
        dialog = dialog_of(session)

        def revive(answer: SessionDescription) -> SessionDescription:
            dialog.answers = lambda answer: answer
            return answer.replace_media(0, answer.media[1])

        dialog.answers = revive
        opening = asyncio.create_task(session.open())
        accepting = asyncio.create_task((await anext(answered.incoming())).accept())
        with pytest.raises(RemoteProtocolError, match="port 0"):
            await opening
        with pytest.raises(DcsdkError):
            await accepting


# --- offers of the peer ---------------------------------------------------------------------------
@pytest.mark.clause("RFC 3264 8")
async def test_an_offer_with_fewer_lines_than_the_session_is_refused(board: Switchboard) -> None:
    async with a_pair(board) as (session, answered):
        await channel(session, answered)
        empty = SessionDescription.create(
            origin=session._negotiation._origin, connection=None, media=()
        )
        with pytest.raises(CallRejected) as caught:
            await dialog_of(session).reoffer(empty, timeout_s=5)
        assert caught.value.status == 488
        await channel(answered, session)


@pytest.mark.clause("RFC 8841 9.3")
async def test_an_offer_of_a_new_sctp_association_on_a_line_in_use_is_refused(
    board: Switchboard,
) -> None:
    async with a_pair(board) as (session, answered):
        await channel(session, answered)
        offer = await offer_of(session)
        changed = offer.replace_media(0, offer.media[0].replacing("sctp-port", "5001"))
        with pytest.raises(CallRejected) as caught:
            await dialog_of(session).reoffer(changed, timeout_s=5)
        assert caught.value.status == 488
        assert len(answered.streams) == 1
        await channel(answered, session)


def new_parameters(answer: SessionDescription) -> DtlsSctpParameters:
    """What an offer with another tls-id and its answer agree on, for the offering side."""
    media = answer.media[0]
    return DtlsSctpParameters(
        dtls_role="server" if media.setup is Setup.ACTIVE else "client",
        remote_address=("127.0.0.1", media.port),
        remote_fingerprints=media.fingerprints(answer),
        local_tls_id="0" * 32,
        remote_tls_id=media.tls_id,
    )


def go_over(session: Session, path: UdpPath, answer: SessionDescription) -> SecureTransport:
    """Do as the peer what an answer says: a new association on a path of our own."""
    transport, parameters = session._negotiation.lines[0].transport, new_parameters(answer)
    transport.renew(parameters.dtls, Paths(rtp=path))
    path.set_remote(parameters.remote_address)
    transport.start()
    return transport


@pytest.mark.clause("RFC 8842 3.1", "RFC 8841 9.1", "D13")
async def test_an_offer_of_a_new_dtls_association_moves_the_line_and_keeps_its_channels(
    board: Switchboard,
) -> None:
    async with a_pair(board) as (session, answered), asyncio.timeout(10):
        opening = asyncio.create_task(session.open(label="stays"))
        theirs = await (await anext(answered.incoming())).accept()
        ours = await opening
        offer = await offer_of(session)
        path = UdpPath.bind("127.0.0.1")
        media = offer.media[0].replacing("tls-id", "0" * 32)
        moved = media.with_port(path.local_address[1])
        answer = await dialog_of(session).reoffer(offer.replace_media(0, moved), timeout_s=5)
        await go_over(session, path, answer).wait_established(5)
        await ours.send("over the new one")
        assert await theirs.receive() == "over the new one"
        assert [stats.restarts for stats in answered.stats().values()] == [1]
        await channel(answered, session)


@pytest.mark.clause("E6", "RFC 8842 3.1")
async def test_a_wrong_certificate_on_the_new_association_ends_the_line(
    board: Switchboard,
) -> None:
    async with a_pair(board) as (session, answered), asyncio.timeout(10):
        await channel(session, answered)
        offer = await offer_of(session)
        media = offer.media[0]
        nobody = str(Certificate.generate().fingerprint)
        changed = media.replacing("tls-id", "0" * 32).replacing("fingerprint", nobody)
        path = UdpPath.bind("127.0.0.1")
        moved = changed.with_port(path.local_address[1])
        answer = await dialog_of(session).reoffer(offer.replace_media(0, moved), timeout_s=5)
        theirs = answered._negotiation.lines[0].transport
        go_over(session, path, answer)
        assert isinstance(await theirs.wait_closed(), FingerprintMismatch)
        for _ in range(3):
            await asyncio.sleep(0)  # the session hears of it as we did
        assert answered.streams == ()


@pytest.mark.clause("D14", "RFC 8864 6.6.1")
async def test_a_channel_that_the_offer_no_longer_has_is_closed(board: Switchboard) -> None:
    async with a_pair(board) as (session, answered):
        await channel(session, answered, "stays")
        opening = asyncio.create_task(session.open(label="goes"))
        goes = await (await anext(answered.incoming())).accept()
        await opening
        offer = await offer_of(session)
        kept = [value for value in offer.media[0].get_all("dcmap") if "goes" not in value]
        media = offer.media[0].without("dcmap").with_attributes(("dcmap", v) for v in kept)
        await dialog_of(session).reoffer(offer.replace_media(0, media), timeout_s=5)
        assert [message async for message in goes] == []
        assert answered.streams[0].app.stream_ids == (1000,)


@pytest.mark.clause("D14", "RFC 3264 8.2")
async def test_a_line_that_the_offer_closes_is_closed(board: Switchboard) -> None:
    async with a_pair(board) as (session, answered):
        await channel(session, answered)
        offer = await offer_of(session)
        closing = offer.replace_media(0, offer.media[0].rejected())
        await dialog_of(session).reoffer(closing, timeout_s=5)
        assert answered.streams == ()


async def test_more_requests_than_may_wait_are_refused_at_once(board: Switchboard) -> None:
    async with a_pair(board) as (session, answered), asyncio.timeout(10):
        intents = [
            DataChannels(bootstrap=False, channels=(ChannelParameters(),) * 40) for _ in range(2)
        ]
        plans = [New(session._maker.line(intent)) for intent in intents]
        offered = await session._negotiation.offer(plans)
        exchange = asyncio.create_task(
            dialog_of(session).reoffer(offered.description, timeout_s=10)
        )
        for _ in range(MAX_WAITING_REQUESTS):
            (await anext(answered.incoming())).refuse()
        answer = await exchange
        assert [media.is_rejected for media in answer.media] == [True, True]
        await offered.rollback()


@pytest.mark.clause("RFC 3264 8.1")
async def test_the_place_of_a_refused_line_is_used_again(board: Switchboard) -> None:
    async with a_pair(board) as (session, answered):
        for _ in range(3):
            for opener, other in ((session, answered), (answered, session)):
                opening = asyncio.create_task(opener.open())
                (await anext(other.incoming())).refuse()
                with pytest.raises(UnsupportedByPeer):
                    await opening
        await channel(session, answered)
        assert len(session._negotiation.slots) == len(answered._negotiation.slots) == 1


@pytest.mark.clause("RFC 3264 8.1", "RFC 8842 3.1")
async def test_the_place_of_a_line_the_peer_still_has_is_left_alone(board: Switchboard) -> None:
    async with a_pair(board) as (session, answered):
        await channel(session, answered)
        (line,) = session._negotiation.lines
        await line.aclose(2.0)
        await channel(session, answered)
        assert [stream.index for stream in session.streams] == [1]
        assert [stream.index for stream in answered.streams] == [1]


@pytest.mark.clause("D5", "RFC 8864 6.2")
@pytest.mark.parametrize(
    "options",
    [{"max_retr": 1, "max_time_ms": 1}, {"app_id": "not an id"}],
    ids=["both limits", "application"],
)
async def test_a_channel_that_cannot_be_described_is_refused_before_anything_is_sent(
    board: Switchboard, options: dict[str, Any]
) -> None:
    async with a_pair(board) as (session, answered):
        with pytest.raises((ConfigError, ProtocolError)):
            await session.open(**options)
        assert dialog_of(session).pending is None
        assert session._negotiation.slots == []
        await channel(session, answered)


@pytest.mark.clause("RFC 8864 5.1.3", "RFC 8864 5.1.4")
async def test_any_label_arrives_as_it_is(board: Switchboard) -> None:
    async with a_pair(board) as (session, answered):
        for label in ('say "hello"', "two\r\na=lines", "100 %", "%41", "Grüße 👋"):
            opening = asyncio.create_task(session.open(label=label))
            request = await anext(answered.incoming())
            assert request.label == label
            assert (await request.accept()).label == (await opening).label == label
