"""Which line of one leg is which line of the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.emulator.app_server.dc_lines import read_media, write_media
from dcsdk.emulator.app_server.session_model import (
    MAX_LINES,
    PassingOffer,
    SessionModel,
    Side,
    SlotKind,
)
from dcsdk.emulator.sbi.dc_control import Decision, Verdict
from dcsdk.errors import LocalProtocolError, RemoteProtocolError
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription
from tests.emulator.sdp import MF_FINGERPRINT, audio, description, line, mf_media

FORWARD = Decision(verdict=Verdict.FORWARD)
REJECT = Decision(verdict=Verdict.REJECT)


def terminate(*stream_ids: int) -> Decision:
    return Decision(verdict=Verdict.TERMINATE, media=mf_media(*stream_ids))


def originate(*stream_ids: int) -> Decision:
    media = mf_media(*stream_ids, port=41_002, setup=Setup.ACTPASS)
    return Decision(verdict=Verdict.ORIGINATE, media=media)


def model(*, dc_allowed: bool = True, marks_e2dce: bool = False) -> SessionModel:
    return SessionModel(
        origin_host="127.0.0.1", origin_id=7, dc_allowed=dc_allowed, marks_e2dce=marks_e2dce
    )


def offer(
    session: SessionModel, side: Side, sdp: SessionDescription, *decisions: Decision
) -> tuple[PassingOffer, SessionDescription]:
    """Pass an offer through; decisions go to the questions in order, then to lines of the MF."""
    exchange = session.begin(side, sdp)
    ids = [*exchange.changes, *(f"o{number}" for number in range(len(decisions)))]
    return exchange, session.decide(exchange, dict(zip(ids, decisions, strict=False)))


def accepted(media: MediaDescription) -> MediaDescription:
    """Answer a line as a user does."""
    return media.replacing("setup", "active") if media.is_data_channel else media


@pytest.mark.clause("TS 24.186 9.3.2.2")
def test_a_local_bootstrap_line_ends_in_the_mf_and_the_callee_never_sees_it() -> None:
    session = model()
    exchange, outgoing = offer(
        session, Side.SERVED, description(audio(), line(0, 10)), terminate(0)
    )
    assert outgoing.media == (audio(),)
    result = session.finish(exchange, description(audio(30_002)))
    assert result.answer.media[0].port == 30_002
    bootstrap = result.answer.media[1]
    assert bootstrap.fingerprints() == (MF_FINGERPRINT,)
    assert bootstrap.setup is Setup.PASSIVE
    assert [entry.stream_id for entry in bootstrap.dcmaps] == [0]
    assert session.mf_ids == {"m1"} and result.dropped_ids == ()


@pytest.mark.clause("RFC 3264 5")
def test_a_standalone_bootstrap_call_offers_the_callee_no_line_at_all() -> None:
    session = model()
    exchange, outgoing = offer(session, Side.SERVED, description(line(0)), terminate(0))
    assert outgoing.media == ()
    assert len(session.finish(exchange, description()).answer.media) == 1


@pytest.mark.clause("TS 24.186 9.3.3.2.1")
def test_the_called_user_is_given_a_bootstrap_line_and_its_answer_goes_to_the_mf() -> None:
    session = model()
    exchange, outgoing = offer(session, Side.REMOTE, description(audio()), originate(0, 10))
    assert outgoing.media[0] == audio()
    assert outgoing.media[1].setup is Setup.ACTPASS
    answer = line(0, setup="active", port=50_000)
    result = session.finish(exchange, description(audio(), answer))
    assert result.answer.media == (audio(),)
    assert result.answered["o0"].address == ("192.0.2.10", 50_000)
    (slot,) = [slot for slot in session.slots(Side.SERVED) if slot.kind is SlotKind.MF]
    assert slot.mf is not None and slot.mf.setup is Setup.PASSIVE


def test_a_bootstrap_line_the_called_user_refuses_is_given_up() -> None:
    session = model()
    exchange, outgoing = offer(session, Side.REMOTE, description(audio()), originate(0))
    result = session.finish(exchange, description(audio(), outgoing.media[1].rejected()))
    assert result.dropped_ids == ("o0",) and session.mf_ids == frozenset()


@pytest.mark.parametrize("bad", [line(0, setup="actpass"), line(0).without("fingerprint")])
@pytest.mark.clause("E12")
@pytest.mark.clause("E7")
def test_an_answer_the_mf_cannot_use_gives_its_line_up(bad: MediaDescription) -> None:
    session = model()
    exchange, _ = offer(session, Side.REMOTE, description(), originate(0))
    result = session.finish(exchange, description(bad))
    assert result.dropped_ids == ("o0",) and not result.answered


@pytest.mark.clause("TS 33.328 7.2.Y")
@pytest.mark.parametrize("side", list(Side))
def test_an_application_line_passes_unchanged_in_either_direction(side: Side) -> None:
    session = model()
    exchange, _ = offer(session, Side.SERVED, description(line(0)), terminate(0))
    session.finish(exchange, description())
    app = line(1000, port=45_000, extra=[("3gpp-req-app", "chat")])
    before = [line(0)] if side is Side.SERVED else []
    exchange, outgoing = offer(session, side, description(*before, app), FORWARD)
    assert outgoing.media[-1] == app
    answer_line = line(1000, setup="active", port=46_000)
    lines = [accepted(media) for media in outgoing.media[:-1]]
    answer = session.finish(exchange, description(*lines, answer_line)).answer
    assert answer.media[-1] == answer_line
    assert len(answer.media) == len(exchange.offer.media)


@pytest.mark.clause("E8")
@pytest.mark.clause("TS 33.328 7.3.1")
def test_an_indication_of_somebody_else_does_not_pass() -> None:
    session = model(marks_e2dce=True)
    forged = line(1000, extra=[("3ge2dce", "applied")])
    exchange, outgoing = offer(session, Side.REMOTE, description(forged), FORWARD)
    assert not outgoing.media[0].has("3ge2dce")
    assert not session.finish(exchange, description(forged)).answer.media[0].has("3ge2dce")


@pytest.mark.clause("TS 33.328 7.3.X")
def test_lines_of_the_mf_are_marked_when_the_network_has_the_tokens() -> None:
    session = model(marks_e2dce=True)
    exchange, outgoing = offer(session, Side.REMOTE, description(), originate(0))
    assert outgoing.media[0].get("3ge2dce") == "applied"
    session.undo(exchange)
    plain = model()
    _, outgoing = offer(plain, Side.REMOTE, description(), originate(0))
    assert not outgoing.media[0].has("3ge2dce")


@pytest.mark.clause("TS 24.186 9.3.2.2.1")
def test_a_user_without_data_channels_has_them_refused_and_keeps_the_call() -> None:
    session = model(dc_allowed=False)
    exchange, outgoing = offer(
        session, Side.SERVED, description(audio(), line(0), line(1000)), terminate(0), FORWARD
    )
    assert outgoing.media == (audio(),)
    answer = session.finish(exchange, description(audio())).answer
    assert [media.port for media in answer.media] == [30_000, 0, 0]


@pytest.mark.clause("TS 24.186 9.3.2.2.1")
def test_an_offer_of_which_nothing_is_left_is_not_acceptable() -> None:
    session = model(dc_allowed=False)
    exchange = session.begin(Side.SERVED, description(line(0)))
    with pytest.raises(RemoteProtocolError) as caught:
        session.decide(exchange, {})
    assert caught.value.sip_status_hint == 488
    session.undo(exchange)
    assert not session.is_pending


def test_a_called_user_without_data_channels_is_given_no_line() -> None:
    session = model(dc_allowed=False)
    exchange, outgoing = offer(session, Side.REMOTE, description(audio()), originate(0))
    assert outgoing.media == (audio(),)
    assert session.finish(exchange, description(audio())).dropped_ids == ("o0",)


def established() -> SessionModel:
    """A call whose served user has a bootstrap line; the other side has audio only."""
    session = model()
    exchange, _ = offer(session, Side.SERVED, description(audio(), line(0)), terminate(0))
    session.finish(exchange, description(audio()))
    return session


@pytest.mark.clause("D12")
def test_a_refused_line_that_is_all_a_reoffer_adds_refuses_the_reoffer() -> None:
    session = established()
    exchange = session.begin(Side.SERVED, description(audio(), line(0), line(1000)))
    with pytest.raises(RemoteProtocolError) as caught:
        session.decide(exchange, {"m2": REJECT})
    assert caught.value.sip_status_hint == 488
    session.undo(exchange)
    assert len(session.slots(Side.SERVED)) == 2


def test_a_refused_line_beside_another_change_is_answered_with_port_0() -> None:
    session = established()
    exchange, outgoing = offer(
        session, Side.SERVED, description(audio(30_100), line(0), line(1000)), REJECT
    )
    assert len(outgoing.media) == 1
    answer = session.finish(exchange, description(audio())).answer
    assert [media.port for media in answer.media] == [30_000, 41_000, 0]


def test_a_line_that_cannot_be_read_is_refused_without_asking() -> None:
    session = model()
    exchange = session.begin(
        Side.SERVED, description(audio(), line(1000).without("fingerprint"), line(1001))
    )
    assert list(exchange.questions) == ["m2"]
    outgoing = session.decide(exchange, {"m1": FORWARD, "m2": FORWARD})
    assert outgoing.media == (audio(), line(1001))


def test_a_reoffer_with_the_same_bootstrap_line_asks_nothing_and_repeats_its_answer() -> None:
    session = established()
    exchange = session.begin(Side.SERVED, description(audio(), line(0), version=2))
    assert exchange.questions == {}
    assert session.decide(exchange, {}).media == (audio(),)
    result = session.finish(exchange, description(audio()))
    assert result.answer.media[1].tls_id == mf_media().tls_id
    assert result.answer.media[1].setup is Setup.PASSIVE
    assert result.dropped_ids == ()


@pytest.mark.clause("RFC 8842 5.5")
def test_a_reoffer_of_the_far_side_offers_the_served_user_its_mf_line_again() -> None:
    session = established()
    exchange, outgoing = offer(session, Side.REMOTE, description(audio(30_004)))
    assert outgoing.media[1].setup is Setup.ACTPASS
    assert outgoing.media[1].tls_id == mf_media().tls_id
    result = session.finish(exchange, description(audio(), line(0, setup="active")))
    assert result.answered == {} and result.dropped_ids == ()
    assert len(result.answer.media) == 1


def test_a_bootstrap_line_with_a_new_tls_id_gets_a_new_context_and_the_old_one_goes() -> None:
    session = established()
    changed = line(0, tls_id="f" * 32)
    exchange, _ = offer(session, Side.SERVED, description(audio(), changed), terminate(0))
    assert session.finish(exchange, description(audio())).dropped_ids == ("m1",)
    assert session.mf_ids == {"m2"}


def test_a_failed_reoffer_leaves_everything_as_it_was_and_names_what_was_made_for_it() -> None:
    session = established()
    before = session.slots(Side.SERVED), session.slots(Side.REMOTE)
    changed = line(0, tls_id="f" * 32)
    exchange, _ = offer(session, Side.SERVED, description(audio(), changed), terminate(0))
    assert session.undo(exchange) == ("m2",)
    assert (session.slots(Side.SERVED), session.slots(Side.REMOTE)) == before
    assert not session.is_pending


@pytest.mark.clause("D14")
def test_a_bootstrap_line_taken_back_is_given_up_and_stays_refused() -> None:
    session = established()
    exchange, outgoing = offer(session, Side.SERVED, description(audio(), line(0, port=0)))
    assert exchange.closed_ids == ["m1"]
    assert outgoing.media == (audio(),)
    result = session.finish(exchange, description(audio()))
    assert result.dropped_ids == ("m1",)
    assert result.answer.media[1].port == 0
    exchange, outgoing = offer(session, Side.REMOTE, description(audio()))
    assert [media.port for media in outgoing.media] == [30_000, 0]
    session.finish(exchange, description(audio(), outgoing.media[1]))


@pytest.mark.clause("RFC 3264 8.1")
def test_the_place_of_a_dead_line_may_be_used_again() -> None:
    session = established()
    exchange, _ = offer(session, Side.SERVED, description(audio(), line(0, port=0)))
    session.finish(exchange, description(audio()))
    exchange, outgoing = offer(session, Side.SERVED, description(audio(), line(1000)), FORWARD)
    assert outgoing.media == (audio(), line(1000))
    answer = session.finish(exchange, description(audio(), line(1000, setup="active"))).answer
    assert answer.media[1].setup is Setup.ACTIVE


def test_an_application_line_the_far_side_refuses_is_dead_on_both_legs() -> None:
    session = established()
    exchange, outgoing = offer(
        session, Side.SERVED, description(audio(), line(0), line(1000)), FORWARD
    )
    answer = session.finish(exchange, description(audio(), outgoing.media[1].rejected())).answer
    assert answer.media[2].port == 0
    assert session.slots(Side.SERVED)[2].kind is SlotKind.DEAD
    assert session.slots(Side.REMOTE)[1].kind is SlotKind.DEAD


def test_a_changed_application_line_that_is_refused_dies_on_both_legs() -> None:
    session = established()
    lines = (audio(), line(0), line(1000))
    exchange, _ = offer(session, Side.SERVED, description(*lines), FORWARD)
    session.finish(exchange, description(audio(), line(1000, setup="active")))
    more = (audio(30_006), line(0), line(1000, 1001))
    exchange, outgoing = offer(session, Side.SERVED, description(*more), REJECT)
    assert [media.port for media in outgoing.media] == [30_006, 0]
    answer = session.finish(exchange, description(audio(), outgoing.media[1].rejected())).answer
    assert [media.port for media in answer.media] == [30_000, 41_000, 0]


@pytest.mark.clause("RFC 3264 8")
def test_lines_never_get_fewer() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        established().begin(Side.SERVED, description(audio()))
    assert caught.value.sip_status_hint == 488


def test_the_number_of_lines_is_bounded() -> None:
    session = model()
    with pytest.raises(RemoteProtocolError):
        session.begin(Side.SERVED, description(*[audio()] * (MAX_LINES + 1)))
    exchange = session.begin(Side.REMOTE, description(*[audio()] * MAX_LINES))
    with pytest.raises(RemoteProtocolError):
        session.decide(exchange, {"o0": originate(0)})


@pytest.mark.clause("D10")
def test_a_second_offer_meanwhile_is_glare() -> None:
    session = model()
    session.begin(Side.SERVED, description(audio()))
    with pytest.raises(RemoteProtocolError) as caught:
        session.begin(Side.REMOTE, description(audio()))
    assert caught.value.sip_status_hint == 491


def test_an_answer_with_another_number_of_lines_changes_nothing() -> None:
    session = established()
    exchange, _ = offer(session, Side.SERVED, description(audio(), line(0), line(1000)), FORWARD)
    with pytest.raises(RemoteProtocolError):
        session.finish(exchange, description(audio()))
    session.undo(exchange)
    assert len(session.slots(Side.SERVED)) == 2


def test_an_exchange_that_is_over_cannot_go_on() -> None:
    session = model()
    exchange = session.begin(Side.SERVED, description(audio()))
    session.undo(exchange)
    with pytest.raises(LocalProtocolError):
        session.decide(exchange, {})


@pytest.mark.clause("RFC 3264 8")
def test_the_version_of_a_leg_counts_the_changes_on_that_leg() -> None:
    session = established()
    exchange, outgoing = offer(session, Side.SERVED, description(audio(), line(0), version=9))
    same = session.finish(exchange, description(audio()))
    assert (outgoing.origin.version, same.answer.origin.version) == (0, 0)
    exchange, outgoing = offer(session, Side.SERVED, description(audio(30_008), line(0)))
    assert outgoing.origin.version == 1
    assert outgoing.origin.session_id == "7" and outgoing.origin.address == "127.0.0.1"
    session.undo(exchange)


# --- whatever the two users and the DCSF do ------------------------------------------------------
@dataclass
class User:
    """One end of a leg: the lines it has, with a label each."""

    lines: list[MediaDescription] = field(default_factory=list)


STEP = st.tuples(
    st.sampled_from(list(Side)),
    st.sampled_from(["add audio", "add dc", "close", "nothing"]),
    st.integers(0, 5),
    st.sampled_from([Verdict.TERMINATE, Verdict.FORWARD, Verdict.REJECT]),
    st.booleans(),  # the DCSF adds a line for the served user
    st.sampled_from(["accept", "refuse last", "fail"]),
)


@given(st.lists(STEP, max_size=8))
def test_whatever_happens_lines_keep_their_places_and_contexts_are_counted(steps: list) -> None:  # type: ignore[type-arg]
    session = model()
    users = {Side.SERVED: User(), Side.REMOTE: User()}
    contexts: set[str] = set()
    for number, (side, action, which, verdict, is_adding, outcome) in enumerate(steps):
        lines = list(users[side].lines)
        label = ("label", f"l{number}")
        if action == "add audio":
            lines.append(audio(30_000 + number).with_attribute(*label))
        elif action == "add dc":
            lines.append(line(1000 + number, port=40_000 + number, extra=[label]))
        elif action == "close" and lines:
            lines[which % len(lines)] = lines[which % len(lines)].rejected()
        exchange = session.begin(side, description(*lines, version=number))
        decisions = {
            key: Decision(
                verdict=verdict, media=mf_media(0) if verdict is Verdict.TERMINATE else None
            )
            for key in exchange.questions
        }
        if is_adding and side is Side.REMOTE:
            decisions[f"o{number}"] = originate(0)
        contexts |= {
            key
            for key, decision in decisions.items()
            if decision.verdict in (Verdict.TERMINATE, Verdict.ORIGINATE)
        }
        other = users[side.other]
        try:
            outgoing = session.decide(exchange, decisions)
        except RemoteProtocolError as exc:
            assert exc.sip_status_hint == 488
            contexts -= set(session.undo(exchange))
            continue
        assert len(outgoing.media) >= len(other.lines)
        for place, media in enumerate(outgoing.media):
            old = other.lines[place] if place < len(other.lines) else None
            if old is not None and not (media.is_rejected or old.is_rejected):
                is_mf_line = media.fingerprints() == (MF_FINGERPRINT,)
                assert is_mf_line or media.get("label") == old.get("label")
        if outcome == "fail":
            contexts -= set(session.undo(exchange))
            continue
        answer_lines = [accepted(media) for media in outgoing.media]
        if outcome == "refuse last" and answer_lines:
            answer_lines[-1] = answer_lines[-1].rejected()
        result = session.finish(exchange, description(*answer_lines))
        contexts -= set(result.dropped_ids)
        assert len(result.answer.media) == len(lines)
        for mine, media in zip(lines, result.answer.media, strict=True):
            assert media.is_rejected or not mine.is_rejected
            is_mf_line = media.fingerprints() == (MF_FINGERPRINT,)
            assert media.is_rejected or is_mf_line or media.get("label") == mine.get("label")
        users[side].lines = [
            mine.rejected() if media.is_rejected else mine
            for mine, media in zip(lines, result.answer.media, strict=True)
        ]
        other.lines = [
            media.rejected() if mine.is_rejected else media
            for mine, media in zip(answer_lines, outgoing.media, strict=True)
        ]
        assert contexts == session.mf_ids


def test_what_the_mf_says_stands_in_the_line_it_ends() -> None:
    media = replace(mf_media(1000, setup=Setup.ACTIVE), tls_id=None, app_binding="chat")
    written = write_media(media, Setup.PASSIVE)
    assert written.tls_id is None and written.setup is Setup.PASSIVE
    again = read_media(written.with_attribute("tls-id", "0" * 32), description())
    assert again == replace(media, tls_id="0" * 32, setup=Setup.PASSIVE)


@pytest.mark.parametrize("bad", [line(0, port=0), line(0).without("sctp-port")])
def test_a_closed_or_broken_line_cannot_be_read(bad: MediaDescription) -> None:
    with pytest.raises(RemoteProtocolError):
        read_media(bad, description())
