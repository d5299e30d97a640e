"""Client transactions on a virtual clock."""

from __future__ import annotations

import pytest

from dcsdk.errors import TransportError
from dcsdk.sip.syntax.message import Request
from dcsdk.sip.transactions.client_transaction import (
    ClientEvent,
    ClientState,
    InviteClientTransaction,
    NonInviteClientTransaction,
    NoResponse,
    ResponseArrived,
    SendFailed,
)
from dcsdk.sip.transactions.timers import IMS_TIMERS, RFC3261_TIMERS, SipTimers

from ..messages import answer, request

Tx = InviteClientTransaction | NonInviteClientTransaction


def invite(*, is_reliable: bool = False, timers: SipTimers = RFC3261_TIMERS) -> Tx:
    transaction = InviteClientTransaction(request(), is_reliable=is_reliable, timers=timers)
    transaction.start(now=0.0)
    return transaction


def options(*, is_reliable: bool = False, timers: SipTimers = RFC3261_TIMERS) -> Tx:
    transaction = NonInviteClientTransaction(
        request("OPTIONS"), is_reliable=is_reliable, timers=timers
    )
    transaction.start(now=0.0)
    return transaction


def sent(transaction: Tx) -> list[Request]:
    found = []
    while (message := transaction.poll_transmit()) is not None:
        found.append(message)
    return found


def events(transaction: Tx) -> list[ClientEvent]:
    found = []
    while (event := transaction.poll_event()) is not None:
        found.append(event)
    return found


def statuses(transaction: Tx) -> list[int]:
    return [e.response.status for e in events(transaction) if isinstance(e, ResponseArrived)]


def run(transaction: Tx, until: float) -> list[tuple[float, str]]:
    """Run all timers up to ``until``; returns when what was sent."""
    log = [(0.0, message.method) for message in sent(transaction)]
    while (deadline := transaction.next_timer()) is not None and deadline <= until:
        transaction.handle_timer(now=deadline)
        log += [(deadline, message.method) for message in sent(transaction)]
    return log


@pytest.mark.clause("RFC 3261 17.1.1.2")
def test_timer_a_doubles_without_limit_until_timer_b() -> None:
    transaction = invite()
    times = [when for when, _ in run(transaction, 100)]
    assert times == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert events(transaction) == [NoResponse("B")]
    assert transaction.is_terminated


@pytest.mark.clause("TS 24.229 7.7")
def test_the_ims_timers_stretch_retransmission_and_give_up() -> None:
    transaction = invite(timers=IMS_TIMERS)
    assert [when for when, _ in run(transaction, 127)] == [0.0, 2, 6, 14, 30, 62, 126]
    run(transaction, 128)
    assert events(transaction) == [NoResponse("B")]


@pytest.mark.clause("RFC 3261 17.1.1.2")
def test_an_invite_over_a_reliable_transport_is_sent_once() -> None:
    transaction = invite(is_reliable=True)
    assert run(transaction, 31.9) == [(0.0, "INVITE")]
    transaction.handle_timer(now=32.0)
    assert events(transaction) == [NoResponse("B")]


@pytest.mark.clause("RFC 3261 17.1.1.2")
def test_a_provisional_response_stops_timers_a_and_b() -> None:
    transaction = invite()
    sent(transaction)
    transaction.receive(answer(transaction.request, 180), now=0.1)
    assert transaction.state is ClientState.PROCEEDING
    assert run(transaction, 100) == []
    assert statuses(transaction) == [180]


@pytest.mark.clause("RFC 3261 16.6 item 11")
def test_timer_c_cancels_an_invite_that_rings_too_long() -> None:
    transaction = invite()
    sent(transaction)
    transaction.receive(answer(transaction.request, 180), now=1.0)
    transaction.receive(answer(transaction.request, 180), now=101.0)
    assert isinstance(transaction, InviteClientTransaction)
    assert transaction.next_timer() == 282.0
    transaction.handle_timer(now=282.0)
    cancel = transaction.take_cancel()
    assert cancel is not None and cancel.method == "CANCEL"
    transaction.handle_timer(now=282.0 + 32.0)
    assert NoResponse("cancel") in events(transaction)


@pytest.mark.clause("RFC 3261 17.1.1.3")
def test_the_ack_of_a_refusal_belongs_to_the_transaction() -> None:
    transaction = InviteClientTransaction(
        request(extra=(("Route", "<sip:p1.example;lr>"), ("Route", "<sip:p2.example;lr>"))),
        is_reliable=False,
        timers=RFC3261_TIMERS,
    )
    transaction.start(now=0.0)
    sent(transaction)
    transaction.receive(answer(transaction.request, 486), now=0.1)
    (ack,) = sent(transaction)
    assert ack.method == "ACK" and ack.uri == transaction.request.uri
    assert str(ack.cseq) == "1 ACK"
    assert ack.to.tag == "bob" and ack.from_ == transaction.request.from_
    assert ack.vias == transaction.request.vias
    assert ack.headers.get_all("Route") == ["<sip:p1.example;lr>", "<sip:p2.example;lr>"]


@pytest.mark.clause("RFC 3261 17.1.1.2")
def test_timer_d_absorbs_repeated_refusals_and_acks_each() -> None:
    transaction = invite()
    sent(transaction)
    refusal = answer(transaction.request, 486)
    transaction.receive(refusal, now=1.0)
    transaction.receive(refusal, now=1.5)
    transaction.receive(answer(transaction.request, 180), now=1.6)
    assert [message.method for message in sent(transaction)] == ["ACK", "ACK"]
    assert statuses(transaction) == [486]
    assert transaction.next_timer() == 33.0
    transaction.handle_timer(now=33.0)
    assert transaction.is_terminated and events(transaction) == []


@pytest.mark.clause("RFC 3261 17.1.1.2")
def test_timer_d_is_zero_over_a_reliable_transport() -> None:
    transaction = invite(is_reliable=True)
    transaction.receive(answer(transaction.request, 486), now=1.0)
    assert transaction.is_terminated


@pytest.mark.clause("RFC 6026 7.2")
def test_timer_m_keeps_the_accepted_state_for_more_2xx() -> None:
    transaction = invite()
    sent(transaction)
    transaction.receive(answer(transaction.request, 200), now=1.0)
    assert transaction.state is ClientState.ACCEPTED
    transaction.receive(answer(transaction.request, 200), now=1.5)
    transaction.receive(answer(transaction.request, 200, tag="fork"), now=2.0)
    transaction.receive(answer(transaction.request, 486), now=2.0)
    transaction.receive(answer(transaction.request, 180), now=2.0)
    assert statuses(transaction) == [200, 200, 200]
    assert sent(transaction) == []
    assert transaction.next_timer() == 33.0
    transaction.handle_timer(now=33.0)
    assert transaction.is_terminated


@pytest.mark.clause("RFC 3261 9.1")
def test_cancel_waits_for_a_provisional_response() -> None:
    transaction = invite()
    assert isinstance(transaction, InviteClientTransaction)
    transaction.cancel(now=0.1)
    assert transaction.take_cancel() is None
    transaction.receive(answer(transaction.request, 100), now=0.2)
    cancel = transaction.take_cancel()
    assert cancel is not None
    assert cancel.vias == transaction.request.vias[:1]
    assert str(cancel.cseq) == "1 CANCEL" and cancel.to.tag is None
    transaction.cancel(now=0.3)
    transaction.receive(answer(transaction.request, 180), now=0.3)
    assert transaction.take_cancel() is None
    transaction.receive(answer(transaction.request, 487), now=0.4)
    assert statuses(transaction) == [100, 180, 487]


@pytest.mark.clause("RFC 3261 9.1")
def test_cancel_after_the_final_response_does_nothing() -> None:
    transaction = invite()
    assert isinstance(transaction, InviteClientTransaction)
    transaction.receive(answer(transaction.request, 200), now=0.2)
    transaction.cancel(now=0.3)
    assert transaction.take_cancel() is None


@pytest.mark.clause("RFC 3261 9.1")
def test_an_invite_that_stays_silent_after_cancel_is_given_up() -> None:
    transaction = invite()
    assert isinstance(transaction, InviteClientTransaction)
    transaction.receive(answer(transaction.request, 180), now=1.0)
    transaction.cancel(now=2.0)
    assert transaction.next_timer() == 34.0
    transaction.handle_timer(now=34.0)
    assert NoResponse("cancel") in events(transaction)
    assert transaction.is_terminated


@pytest.mark.clause("RFC 3261 17.1.2.2")
def test_timer_e_doubles_up_to_t2_until_timer_f() -> None:
    transaction = options()
    times = [when for when, _ in run(transaction, 100)]
    assert times == [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert events(transaction) == [NoResponse("F")]


@pytest.mark.clause("RFC 3261 17.1.2.2")
def test_after_a_provisional_timer_e_goes_by_t2() -> None:
    transaction = options()
    transaction.receive(answer(transaction.request, 100), now=0.1)
    times = [when for when, _ in run(transaction, 13)]
    assert times == [0.0, 0.5, 4.5, 8.5, 12.5]
    assert transaction.state is ClientState.PROCEEDING


@pytest.mark.clause("RFC 3261 17.1.2.2")
def test_timer_k_absorbs_repeated_final_responses() -> None:
    transaction = options()
    transaction.receive(answer(transaction.request, 200), now=1.0)
    transaction.receive(answer(transaction.request, 200), now=1.1)
    assert statuses(transaction) == [200]
    assert transaction.state is ClientState.COMPLETED
    assert transaction.next_timer() == 6.0
    transaction.handle_timer(now=6.0)
    assert transaction.is_terminated


@pytest.mark.clause("RFC 3261 17.1.2.2")
def test_timer_k_is_zero_over_a_reliable_transport() -> None:
    transaction = options(is_reliable=True)
    assert run(transaction, 31) == [(0.0, "OPTIONS")]
    transaction.receive(answer(transaction.request, 200), now=31.5)
    assert transaction.is_terminated


@pytest.mark.clause("RFC 3261 17.1.4")
def test_a_transport_error_ends_a_waiting_transaction() -> None:
    transaction = invite()
    error = TransportError("connection reset")
    transaction.fail(error)
    assert events(transaction) == [SendFailed(error)]
    assert transaction.is_terminated


@pytest.mark.clause("RFC 3261 17.1.4")
def test_a_transport_error_after_the_final_response_is_silent() -> None:
    transaction = options()
    transaction.receive(answer(transaction.request, 200), now=1.0)
    events(transaction)
    transaction.fail(TransportError("connection reset"))
    assert events(transaction) == [] and transaction.is_terminated
