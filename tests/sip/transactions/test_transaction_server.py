"""Server transactions on a virtual clock."""

from __future__ import annotations

import pytest

from dcsdk.errors import LocalProtocolError
from dcsdk.sip.syntax.message import Response
from dcsdk.sip.transactions.server_transaction import (
    AckArrived,
    AckMissing,
    AnswerMissing,
    InviteServerTransaction,
    NonInviteServerTransaction,
    ServerEvent,
    ServerState,
)
from dcsdk.sip.transactions.timers import RFC3261_TIMERS

from ..messages import answer, request

Tx = InviteServerTransaction | NonInviteServerTransaction


def invite(*, is_reliable: bool = False) -> InviteServerTransaction:
    transaction = InviteServerTransaction(
        request(), is_reliable=is_reliable, timers=RFC3261_TIMERS, local_tag="bob"
    )
    transaction.start(now=0.0)
    return transaction


def options(*, is_reliable: bool = False) -> NonInviteServerTransaction:
    transaction = NonInviteServerTransaction(
        request("OPTIONS"), is_reliable=is_reliable, timers=RFC3261_TIMERS
    )
    transaction.start(now=0.0)
    return transaction


def sent(transaction: Tx) -> list[int]:
    found: list[Response] = []
    while (message := transaction.poll_transmit()) is not None:
        found.append(message)
    return [response.status for response in found]


def events(transaction: Tx) -> list[ServerEvent]:
    found = []
    while (event := transaction.poll_event()) is not None:
        found.append(event)
    return found


def run(transaction: Tx, until: float) -> list[float]:
    """Run all timers up to ``until``; returns when something was sent."""
    log: list[float] = []
    while (deadline := transaction.next_timer()) is not None and deadline <= until:
        transaction.handle_timer(now=deadline)
        log += [deadline] * len(sent(transaction))
    return log


@pytest.mark.clause("RFC 3261 17.2.1")
def test_100_goes_out_after_200_ms_without_a_response() -> None:
    transaction = invite()
    assert run(transaction, 0.19) == []
    transaction.handle_timer(now=0.2)
    assert sent(transaction) == [100]
    assert transaction.state is ServerState.PROCEEDING


@pytest.mark.clause("RFC 3261 17.2.1")
def test_an_early_response_makes_100_unnecessary() -> None:
    transaction = invite()
    transaction.respond(answer(transaction.request, 180), now=0.1)
    assert sent(transaction) == [180]
    assert run(transaction, 10) == []


@pytest.mark.clause("RFC 3261 17.2.1")
def test_a_repeated_invite_gets_the_last_provisional_response() -> None:
    transaction = invite()
    transaction.receive(transaction.request, now=0.05)
    assert sent(transaction) == []
    transaction.respond(answer(transaction.request, 180), now=0.1)
    transaction.receive(transaction.request, now=0.5)
    assert sent(transaction) == [180, 180]


@pytest.mark.clause("RFC 3261 17.2.1")
def test_timer_g_repeats_a_refusal_up_to_t2_until_timer_h() -> None:
    transaction = invite()
    transaction.respond(answer(transaction.request, 486), now=0.0)
    sent(transaction)
    assert run(transaction, 100) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert events(transaction) == [AckMissing()]
    assert transaction.is_terminated


@pytest.mark.clause("RFC 3261 17.2.1")
def test_a_reliable_transport_has_no_timer_g_but_timer_h() -> None:
    transaction = invite(is_reliable=True)
    transaction.respond(answer(transaction.request, 486), now=0.0)
    sent(transaction)
    assert run(transaction, 100) == []
    assert events(transaction) == [AckMissing()]


@pytest.mark.clause("RFC 3261 17.2.1")
def test_timer_i_absorbs_repeated_acks() -> None:
    transaction = invite()
    transaction.respond(answer(transaction.request, 486), now=0.0)
    transaction.receive(transaction.request, now=0.1)
    assert sent(transaction) == [486, 486]
    ack = request("ACK")
    transaction.receive(ack, now=0.2)
    transaction.receive(ack, now=0.3)
    transaction.receive(transaction.request, now=0.3)
    assert transaction.state is ServerState.CONFIRMED
    assert sent(transaction) == [] and transaction.next_timer() == 5.2
    transaction.handle_timer(now=5.2)
    assert transaction.is_terminated and events(transaction) == []


@pytest.mark.clause("RFC 3261 17.2.1")
def test_timer_i_is_zero_over_a_reliable_transport() -> None:
    transaction = invite(is_reliable=True)
    transaction.respond(answer(transaction.request, 486), now=0.0)
    transaction.receive(request("ACK"), now=0.2)
    assert transaction.is_terminated


@pytest.mark.clause("RFC 6026 7.1")
def test_timer_l_absorbs_repeated_invites_after_a_2xx() -> None:
    transaction = invite()
    transaction.respond(answer(transaction.request, 200), now=1.0)
    transaction.respond(answer(transaction.request, 200, tag="fork"), now=1.5)
    transaction.receive(transaction.request, now=2.0)
    assert sent(transaction) == [200, 200]
    assert transaction.next_timer() == 33.0
    transaction.handle_timer(now=33.0)
    assert transaction.is_terminated and events(transaction) == []


@pytest.mark.clause("RFC 3261 13.3.1.4")
@pytest.mark.parametrize("is_reliable", [False, True])
def test_a_user_agent_repeats_its_2xx_over_any_transport_until_64_t1(is_reliable: bool) -> None:
    transaction = invite(is_reliable=is_reliable)
    transaction.respond_until_acked(answer(transaction.request, 200), now=0.0)
    sent(transaction)
    assert run(transaction, 100) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert events(transaction) == [AckMissing()]
    assert transaction.is_terminated


@pytest.mark.clause("RFC 3261 13.3.1.4")
def test_the_ack_ends_the_repetition_of_a_2xx_and_is_told_once() -> None:
    transaction = invite()
    transaction.respond_until_acked(answer(transaction.request, 200), now=0.0)
    run(transaction, 1.0)
    ack = request("ACK", branch="z9hG4bK2", to_tag="bob")
    transaction.receive(ack, now=1.2)
    transaction.receive(ack, now=1.3)
    assert events(transaction) == [AckArrived(ack)]
    sent(transaction)
    assert run(transaction, 100) == []
    assert transaction.is_terminated and events(transaction) == []


@pytest.mark.clause("RFC 3261 17.2.1")
def test_a_second_final_response_is_our_own_mistake() -> None:
    transaction = invite()
    transaction.respond(answer(transaction.request, 486), now=0.0)
    with pytest.raises(LocalProtocolError):
        transaction.respond(answer(transaction.request, 200), now=0.1)


def test_an_invite_nobody_answers_ends_with_408() -> None:
    transaction = invite()
    run(transaction, 1.0)
    transaction.handle_timer(now=600.0)
    assert sent(transaction) == [408]
    assert events(transaction) == [AnswerMissing()]


@pytest.mark.clause("RFC 3261 17.2.2")
def test_timer_j_repeats_the_final_response_to_a_repeated_request() -> None:
    transaction = options()
    transaction.receive(transaction.request, now=0.1)
    assert sent(transaction) == []
    transaction.respond(answer(transaction.request, 100), now=0.2)
    transaction.receive(transaction.request, now=0.5)
    transaction.respond(answer(transaction.request, 200), now=1.0)
    transaction.receive(transaction.request, now=1.5)
    assert sent(transaction) == [100, 100, 200, 200]
    assert transaction.next_timer() == 33.0
    transaction.handle_timer(now=33.0)
    assert transaction.is_terminated


@pytest.mark.clause("RFC 3261 17.2.2")
def test_timer_j_is_zero_over_a_reliable_transport() -> None:
    transaction = options(is_reliable=True)
    transaction.respond(answer(transaction.request, 200), now=1.0)
    assert transaction.is_terminated
    with pytest.raises(LocalProtocolError):
        transaction.respond(answer(transaction.request, 200), now=1.1)


@pytest.mark.clause("RFC 4320 4.2")
def test_an_unanswered_request_is_dropped_without_408() -> None:
    transaction = options()
    transaction.handle_timer(now=32.0)
    assert sent(transaction) == [] and events(transaction) == [AnswerMissing()]
    assert transaction.is_terminated


def test_a_lost_connection_ends_a_server_transaction() -> None:
    transaction = options()
    transaction.terminate()
    assert transaction.is_terminated and transaction.next_timer() is None
