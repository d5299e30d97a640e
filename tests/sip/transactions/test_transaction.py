"""The transaction layer: matching, CANCEL, ACK, limits."""

from __future__ import annotations

import pytest

from dcsdk.errors import LocalProtocolError, TransportError
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.transactions.client_transaction import (
    InviteClientTransaction,
    NoResponse,
    SendFailed,
)
from dcsdk.sip.transactions.server_transaction import InviteServerTransaction
from dcsdk.sip.transactions.transaction import (
    AckArrived,
    AckMissing,
    Cancelled,
    ClientUpdate,
    LayerEvent,
    RequestArrived,
    ServerTx,
    ServerUpdate,
    StrayResponse,
    TransactionLayer,
)

from ..messages import answer, counting_entropy, request

Layer = TransactionLayer[str]


def layer(*, detects_merged: bool = False, max_transactions: int = 100) -> Layer:
    return TransactionLayer(
        entropy=counting_entropy(),
        detects_merged=detects_merged,
        max_transactions=max_transactions,
    )


def sent(machine: Layer) -> list[Request | Response]:
    found = []
    while (item := machine.poll_transmit()) is not None:
        found.append(item[0])
    return found


def names(messages: list[Request | Response]) -> list[str]:
    return [m.method if isinstance(m, Request) else str(m.status) for m in messages]


def events(machine: Layer) -> list[LayerEvent[str]]:
    found = []
    while (event := machine.poll_event()) is not None:
        found.append(event)
    return found


def receive(
    machine: Layer, message: Request | Response, *, now: float = 0.0, flow: str = "a"
) -> None:
    machine.receive(message, flow=flow, is_reliable=False, now=now)


def arrived(machine: Layer) -> tuple[Request, ServerTx]:
    (event,) = events(machine)
    assert isinstance(event, RequestArrived) and event.transaction is not None
    return event.request, event.transaction


def invited(machine: Layer) -> InviteServerTransaction:
    receive(machine, request())
    _, transaction = arrived(machine)
    assert isinstance(transaction, InviteServerTransaction)
    return transaction


def calling(machine: Layer) -> InviteClientTransaction:
    transaction = machine.request(request(), flow="a", is_reliable=False, now=0.0)
    assert isinstance(transaction, InviteClientTransaction)
    return transaction


@pytest.mark.clause("RFC 3261 17.1.3")
def test_a_response_finds_its_transaction_by_branch_and_method() -> None:
    machine = layer()
    first = machine.request(
        request("OPTIONS", branch="z9hG4bKa"), flow="a", is_reliable=False, now=0.0
    )
    second = machine.request(
        request("OPTIONS", branch="z9hG4bKb"), flow="b", is_reliable=False, now=0.0
    )
    receive(machine, answer(second.request, 200))
    receive(machine, answer(first.request, 404))
    found = [(e.transaction, e.event) for e in events(machine) if isinstance(e, ClientUpdate)]
    assert [transaction for transaction, _ in found] == [second, first]


@pytest.mark.clause("RFC 3261 18.1.2")
def test_a_response_without_transaction_is_stray() -> None:
    machine = layer()
    stray = answer(request(branch="z9hG4bKother"), 200)
    receive(machine, stray)
    assert events(machine) == [StrayResponse(stray, "a")]


def test_a_response_with_an_unreadable_via_is_dropped() -> None:
    machine = layer()
    response = answer(request(), 200)
    response.headers.set("Via", "nonsense")
    receive(machine, response)
    assert events(machine) == []


@pytest.mark.clause("RFC 3261 8.2.1")
def test_a_request_with_an_unreadable_via_gets_400() -> None:
    machine = layer()
    bad = request("OPTIONS")
    bad.headers.set("CSeq", "x")
    receive(machine, bad)
    assert names(sent(machine)) == ["400"]
    bad.method = "ACK"
    receive(machine, bad)
    assert sent(machine) == [] and events(machine) == []


@pytest.mark.clause("RFC 3261 17.2.3")
def test_a_repeated_request_is_not_handed_up_again() -> None:
    machine = layer()
    receive(machine, request("OPTIONS"))
    got, transaction = arrived(machine)
    machine.respond(transaction, answer(got, 200), now=0.1)
    receive(machine, request("OPTIONS"), now=0.2)
    assert names(sent(machine)) == ["200", "200"]
    assert events(machine) == []


@pytest.mark.clause("RFC 3261 17.2.3")
def test_one_branch_from_two_senders_makes_two_transactions() -> None:
    machine = layer()
    receive(machine, request("OPTIONS"))
    other = request("OPTIONS")
    other.headers.set("Via", "SIP/2.0/UDP 192.0.2.99:5060;branch=z9hG4bK1")
    receive(machine, other)
    assert len(events(machine)) == 2


@pytest.mark.clause("RFC 3261 17.2.3")
def test_a_branch_without_the_magic_cookie_is_matched_by_its_fields() -> None:
    machine = layer()
    receive(machine, request(branch="1"))
    receive(machine, request(branch="1"))
    assert len(events(machine)) == 1
    receive(machine, request(branch="1", call_id="call-2"))
    assert len(events(machine)) == 1


@pytest.mark.clause("RFC 3261 17.2.1")
def test_the_ack_of_a_refusal_is_absorbed() -> None:
    machine = layer()
    transaction = invited(machine)
    machine.respond(transaction, answer(transaction.request, 486), now=0.1)
    receive(machine, request("ACK", to_tag="bob"), now=0.2)
    assert events(machine) == []
    machine.handle_timer(now=6.0)
    assert len(machine) == 0


@pytest.mark.clause("RFC 3261 13.3.1.4", "RFC 6026 7.1")
def test_the_ack_of_our_2xx_is_found_by_dialog_and_its_repetitions_absorbed() -> None:
    machine = layer()
    transaction = invited(machine)
    machine.respond_until_acked(transaction, answer(transaction.request, 200), now=0.0)
    machine.handle_timer(now=0.5)
    ack = request("ACK", branch="z9hG4bKack", to_tag="bob")
    receive(machine, ack, now=0.6)
    receive(machine, request("ACK", branch="z9hG4bKack", to_tag="bob"), now=0.7)
    assert events(machine) == [ServerUpdate(transaction, AckArrived(ack))]
    machine.handle_timer(now=31.0)
    assert names(sent(machine)) == ["200", "200"]


@pytest.mark.clause("RFC 3261 13.3.1.4")
def test_a_2xx_without_ack_is_reported_after_64_t1() -> None:
    machine = layer()
    transaction = invited(machine)
    machine.respond_until_acked(transaction, answer(transaction.request, 200), now=0.0)
    while (deadline := machine.next_timer()) is not None:
        machine.handle_timer(now=deadline)
    assert events(machine) == [ServerUpdate(transaction, AckMissing())]
    assert names(sent(machine)) == ["200"] * 11
    late = request("ACK", branch="z9hG4bKack", to_tag="bob")
    receive(machine, late)
    assert events(machine) == [RequestArrived(late, "a", None)]


@pytest.mark.clause("RFC 6026 7.1")
@pytest.mark.parametrize("branch", ["z9hG4bKack", "z9hG4bK1"])
def test_the_ack_of_a_forwarded_2xx_is_handed_up(branch: str) -> None:
    machine = layer()
    transaction = invited(machine)
    machine.respond(transaction, answer(transaction.request, 200), now=0.0)
    ack = request("ACK", branch=branch, to_tag="bob")
    receive(machine, ack)
    assert events(machine) == [RequestArrived(ack, "a", None)]


@pytest.mark.clause("RFC 3261 9.2")
def test_cancel_is_answered_and_reported_with_the_invites_tag() -> None:
    machine = layer()
    transaction = invited(machine)
    machine.respond(
        transaction, transaction.request.response(180, to_tag=transaction.local_tag), now=0.1
    )
    sent(machine)
    receive(machine, request("CANCEL"), now=0.2)
    (ok,) = sent(machine)
    assert isinstance(ok, Response) and ok.status == 200
    assert ok.cseq.method == "CANCEL" and ok.to.tag == transaction.local_tag
    assert events(machine) == [Cancelled(transaction)]
    machine.respond(transaction, answer(transaction.request, 487), now=0.3)
    assert names(sent(machine)) == ["487"]


@pytest.mark.clause("RFC 3261 9.2")
def test_cancel_after_the_final_response_has_no_effect() -> None:
    machine = layer()
    transaction = invited(machine)
    machine.respond(transaction, answer(transaction.request, 200), now=0.1)
    receive(machine, request("CANCEL"), now=0.2)
    assert names(sent(machine)) == ["200", "200"] and events(machine) == []


@pytest.mark.clause("RFC 3261 9.2")
def test_cancel_of_an_unknown_invite_gets_481() -> None:
    machine = layer()
    receive(machine, request("CANCEL"))
    (refusal,) = sent(machine)
    assert isinstance(refusal, Response) and refusal.status == 481 and refusal.to.tag
    assert events(machine) == []


@pytest.mark.clause("RFC 3261 9.1")
def test_our_cancel_is_a_transaction_of_its_own() -> None:
    machine = layer()
    transaction = calling(machine)
    machine.cancel(transaction, now=0.1)
    assert names(sent(machine)) == ["INVITE"]
    receive(machine, answer(transaction.request, 180), now=0.2)
    (cancel,) = sent(machine)
    assert isinstance(cancel, Request) and cancel.method == "CANCEL"
    machine.handle_timer(now=0.7)
    assert names(sent(machine)) == ["CANCEL"]
    receive(machine, answer(cancel, 200), now=0.8)
    receive(machine, answer(transaction.request, 487), now=0.9)
    assert names(sent(machine)) == ["ACK"]
    responses = [e.event for e in events(machine) if isinstance(e, ClientUpdate)]
    assert len(responses) == 3
    machine.cancel(transaction, now=1.0)
    machine.handle_timer(now=100.0)
    assert len(machine) == 0 and machine.next_timer() is None
    machine.cancel(transaction, now=100.0)
    assert sent(machine) == []


@pytest.mark.clause("RFC 3261 8.2.2.2")
def test_a_request_that_came_by_two_paths_gets_482_from_a_user_agent_only() -> None:
    machine = layer(detects_merged=True)
    invited(machine)
    receive(machine, request(branch="z9hG4bKother"))
    assert names(sent(machine)) == ["482"] and events(machine) == []
    receive(machine, request(branch="z9hG4bKin-dialog", to_tag="bob"))
    assert len(events(machine)) == 1
    proxy = layer()
    invited(proxy)
    receive(proxy, request(branch="z9hG4bKother"))
    assert len(events(proxy)) == 1


@pytest.mark.clause("RFC 3261 8.2.2.2")
def test_the_same_request_later_is_not_merged() -> None:
    machine = layer(detects_merged=True)
    transaction = invited(machine)
    machine.respond(transaction, answer(transaction.request, 486), now=0.0)
    receive(machine, request("ACK", to_tag="bob"), now=0.1)
    machine.handle_timer(now=10.0)
    receive(machine, request(branch="z9hG4bKother"), now=10.0)
    assert len(events(machine)) == 1


def test_too_many_transactions_get_503() -> None:
    machine = layer(max_transactions=1)
    invited(machine)
    receive(machine, request(branch="z9hG4bKother"))
    assert names(sent(machine)) == ["503"] and len(machine) == 1
    with pytest.raises(LocalProtocolError, match="transactions"):
        machine.request(
            request("OPTIONS", branch="z9hG4bKours"), flow="a", is_reliable=False, now=0.0
        )


def test_an_ack_or_a_used_branch_cannot_be_sent_as_a_transaction() -> None:
    machine = layer()
    calling(machine)
    with pytest.raises(LocalProtocolError, match="branch"):
        calling(machine)
    with pytest.raises(LocalProtocolError, match="ACK"):
        machine.request(request("ACK"), flow="a", is_reliable=False, now=0.0)


@pytest.mark.clause("RFC 3261 17.1.4", "RFC 3261 17.2.4")
def test_a_closed_flow_fails_requests_and_cancels_invitations_on_it() -> None:
    machine = layer()
    ours = calling(machine)
    receive(machine, request(branch="z9hG4bKtheirs"))
    _, theirs = arrived(machine)
    other = machine.request(
        request("OPTIONS", branch="z9hG4bKother"), flow="b", is_reliable=False, now=0.0
    )
    error = TransportError("reset")
    machine.close_flow("a", error, now=1.0)
    assert isinstance(theirs, InviteServerTransaction)
    assert events(machine) == [ClientUpdate(ours, SendFailed(error)), Cancelled(theirs)]
    assert len(machine) == 1
    machine.respond(theirs, answer(theirs.request, 487), now=1.0)
    machine.respond_until_acked(theirs, answer(theirs.request, 200), now=1.0)
    assert "487" not in names(sent(machine))
    machine.handle_timer(now=40.0)
    assert events(machine) == [ClientUpdate(other, NoResponse("F"))]


def test_the_timer_heap_stays_small() -> None:
    machine = layer(max_transactions=10_000)
    for number in range(2000):
        transaction = machine.request(
            request("OPTIONS", branch=f"z9hG4bK{number}"), flow="a", is_reliable=True, now=0.0
        )
        machine.receive(answer(transaction.request, 200), flow="a", is_reliable=True, now=0.0)
    assert len(machine) == 0
    assert len(machine._heap) < 200
