"""The transaction layer: finds the transaction of each message, and runs them all.

It performs no I/O. A *flow* is whatever value its owner uses for "where this came from and goes
to"; the layer only hands it back.

Source: RFC 3261 17, 9.2 (CANCEL), 8.2.2.2 (merged requests); RFC 6026.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Hashable
from typing import Generic

from dcsdk.errors import DcsdkError, LocalProtocolError, ParseError
from dcsdk.sip.syntax.identifiers import Entropy, new_tag
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.transactions.client_transaction import (
    InviteClientTransaction,
    NonInviteClientTransaction,
    NoResponse,
    ResponseArrived,
    SendFailed,
)
from dcsdk.sip.transactions.server_transaction import (
    AckArrived,
    AckMissing,
    AnswerMissing,
    InviteServerTransaction,
    NonInviteServerTransaction,
)
from dcsdk.sip.transactions.timers import RFC3261_TIMERS, SipTimers
from dcsdk.sip.transactions.transaction_events import (
    Cancelled,
    ClientTx,
    ClientUpdate,
    FlowT,
    LayerEvent,
    RequestArrived,
    ServerTx,
    ServerUpdate,
    StrayResponse,
    ack_key,
    client_key,
    server_key,
)

MAX_TRANSACTIONS = 65_536
"""Transactions alive at once; a request beyond gets 503."""

_HEAP_SLACK = 64
"""Outdated timer entries tolerated beyond twice the live ones."""

__all__ = [
    "MAX_TRANSACTIONS",
    "AckArrived",
    "AckMissing",
    "AnswerMissing",
    "Cancelled",
    "ClientTx",
    "ClientUpdate",
    "LayerEvent",
    "NoResponse",
    "RequestArrived",
    "ResponseArrived",
    "SendFailed",
    "ServerTx",
    "ServerUpdate",
    "StrayResponse",
    "TransactionLayer",
]


class _Entry(Generic[FlowT]):
    """A live transaction, its flow, and when its timer is due."""

    __slots__ = ("ack_key", "deadline", "flow", "merge_key", "transaction")

    def __init__(self, transaction: ClientTx | ServerTx, flow: FlowT) -> None:
        self.transaction = transaction
        self.flow = flow
        self.deadline: float | None = None
        self.ack_key: Hashable | None = None
        self.merge_key: Hashable | None = None


class TransactionLayer(Generic[FlowT]):
    """All transactions of one SIP element.

    After each call that changes it, take everything from ``poll_transmit``, ``poll_event`` and
    ``poll_ended``.

    Args:
        entropy: random bytes for To tags.
        timers: base timer values.
        detects_merged: answer 482 when one request arrives by two paths; for user agents only,
            since a proxy legitimately sees a request twice.
        max_transactions: bound on live transactions.
    """

    def __init__(
        self,
        *,
        entropy: Entropy,
        timers: SipTimers = RFC3261_TIMERS,
        detects_merged: bool = False,
        max_transactions: int = MAX_TRANSACTIONS,
    ) -> None:
        self._entropy = entropy
        self._timers = timers
        self._detects_merged = detects_merged
        self._max_transactions = max_transactions
        self._entries: dict[Hashable, _Entry[FlowT]] = {}
        self._awaiting_ack: dict[Hashable, _Entry[FlowT]] = {}
        self._merge_keys: dict[Hashable, Hashable] = {}
        self._heap: list[tuple[float, int, _Entry[FlowT]]] = []
        self._sequence = itertools.count()
        self._transmits: deque[tuple[Request | Response, FlowT]] = deque()
        self._events: deque[LayerEvent[FlowT]] = deque()
        self._ended: deque[ClientTx | ServerTx] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    # --- our requests ----------------------------------------------------------------------------
    def request(self, request: Request, *, flow: FlowT, is_reliable: bool, now: float) -> ClientTx:
        """Send a request whose top Via carries a fresh branch.

        Raises:
            LocalProtocolError: an ACK, a branch in use, or too many transactions.
        """
        if request.method == "ACK":
            raise LocalProtocolError("an ACK has no transaction", source="RFC 3261 17")
        key = client_key(request)
        if key in self._entries:
            raise LocalProtocolError("the branch is in use", source="RFC 3261 8.1.1.7")
        if len(self._entries) >= self._max_transactions:
            raise LocalProtocolError(f"more than {self._max_transactions} transactions")
        transaction: ClientTx
        if request.method == "INVITE":
            transaction = InviteClientTransaction(
                request, is_reliable=is_reliable, timers=self._timers
            )
        else:
            transaction = NonInviteClientTransaction(
                request, is_reliable=is_reliable, timers=self._timers
            )
        transaction.key = key
        entry = self._entries[key] = _Entry(transaction, flow)
        transaction.start(now=now)
        self._settle(entry, now)
        return transaction

    def cancel(self, transaction: InviteClientTransaction, *, now: float) -> None:
        """Cancel an INVITE: at once after a provisional response, else when one comes."""
        entry = self._entries.get(transaction.key)
        if entry is not None:
            transaction.cancel(now=now)
            self._settle(entry, now)

    # --- their requests --------------------------------------------------------------------------
    def respond(self, transaction: ServerTx, response: Response, *, now: float) -> None:
        """Send a response. A transaction whose connection is gone swallows it.

        Raises:
            LocalProtocolError: a final response was given before.
        """
        entry = self._entries.get(transaction.key)
        if entry is None:
            return
        transaction.respond(response, now=now)
        self._settle(entry, now)

    def respond_until_acked(
        self, transaction: InviteServerTransaction, response: Response, *, now: float
    ) -> None:
        """Send a 2xx and repeat it until its ACK comes; then ``AckArrived`` or ``AckMissing``.

        Raises:
            LocalProtocolError: a final response was given before.
        """
        entry = self._entries.get(transaction.key)
        if entry is None:
            return
        transaction.respond_until_acked(response, now=now)
        entry.ack_key = ack_key(response)
        self._awaiting_ack[entry.ack_key] = entry
        self._settle(entry, now)

    # --- input -----------------------------------------------------------------------------------
    def receive(
        self, message: Request | Response, *, flow: FlowT, is_reliable: bool, now: float
    ) -> None:
        """Take a message. A request whose routing fields are unreadable is answered with 400."""
        if isinstance(message, Response):
            self._receive_response(message, flow, now)
            return
        try:
            self._receive_request(message, flow, is_reliable, now)
        except ParseError:
            if message.method != "ACK":
                self._transmits.append((message.response(400), flow))

    def handle_timer(self, *, now: float) -> None:
        """Run everything that is due."""
        while (deadline := self.next_timer()) is not None and deadline <= now:
            _, _, entry = heapq.heappop(self._heap)
            entry.deadline = None
            entry.transaction.handle_timer(now=now)
            self._settle(entry, now)

    def close_flow(self, flow: FlowT, error: DcsdkError, *, now: float) -> None:
        """A connection is gone: its requests fail, its unanswered INVITEs count as cancelled."""
        for entry in [entry for entry in self._entries.values() if entry.flow == flow]:
            transaction = entry.transaction
            if isinstance(transaction, InviteClientTransaction | NonInviteClientTransaction):
                transaction.fail(error)
            else:
                if isinstance(transaction, InviteServerTransaction) and not transaction.is_answered:
                    self._events.append(Cancelled(transaction))
                transaction.terminate()
            self._settle(entry, now)

    def send_failed(self, message: Request | Response, error: DcsdkError, *, now: float) -> None:
        """A message could not be sent. A request's transaction fails (RFC 3261 17.1.4)."""
        entry = self._entries.get(client_key(message)) if isinstance(message, Request) else None
        if entry is None:
            return  # a response or an ACK: the peer's retransmissions and our timers take over
        transaction = entry.transaction
        if isinstance(transaction, InviteClientTransaction | NonInviteClientTransaction):
            transaction.fail(error)
            self._settle(entry, now)

    # --- output ----------------------------------------------------------------------------------
    def next_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called."""
        while self._heap and self._heap[0][2].deadline != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def poll_transmit(self) -> tuple[Request | Response, FlowT] | None:
        """The next message to send and where, or ``None``."""
        return self._transmits.popleft() if self._transmits else None

    def poll_event(self) -> LayerEvent[FlowT] | None:
        """The next event, or ``None``."""
        return self._events.popleft() if self._events else None

    def poll_ended(self) -> ClientTx | ServerTx | None:
        """The next transaction that is over, or ``None``; to be asked after the events."""
        return self._ended.popleft() if self._ended else None

    # --- inside ----------------------------------------------------------------------------------
    def _receive_response(self, response: Response, flow: FlowT, now: float) -> None:
        try:
            entry = self._entries.get(client_key(response))
        except ParseError:
            return  # nothing to answer: a response is never answered (RFC 3261 8.1.3)
        if entry is None:
            self._events.append(StrayResponse(response, flow))
            return
        transaction = entry.transaction
        if isinstance(transaction, InviteClientTransaction | NonInviteClientTransaction):
            transaction.receive(response, now=now)
            self._settle(entry, now)

    def _receive_request(
        self, request: Request, flow: FlowT, is_reliable: bool, now: float
    ) -> None:
        key = server_key(request)
        entry = self._entries.get(key)
        if entry is None and request.method == "ACK":
            entry = self._awaiting_ack.get(ack_key(request))
            if entry is None:
                self._events.append(RequestArrived(request, flow, None))
                return
        if entry is not None:
            if request.method == "ACK" and self._is_ack_of_forwarded_2xx(entry, request):
                self._events.append(RequestArrived(request, flow, None))
                return
            transaction = entry.transaction
            if isinstance(transaction, InviteServerTransaction | NonInviteServerTransaction):
                transaction.receive(request, now=now)
                self._settle(entry, now)
            return
        merge_key = self._merge_key(request)
        status = None
        if len(self._entries) >= self._max_transactions:
            status = 503
        elif merge_key is not None and merge_key in self._merge_keys:
            status = 482
        if status is not None:
            response = request.response(status, to_tag=new_tag(self._entropy))
            self._transmits.append((response, flow))
            return
        entry = self._open(request, key, flow, is_reliable, now)
        if merge_key is not None:
            entry.merge_key = merge_key
            self._merge_keys[merge_key] = key
        if request.method == "CANCEL":
            self._answer_cancel(entry, request, now)
        else:
            transaction = entry.transaction
            if isinstance(transaction, InviteServerTransaction | NonInviteServerTransaction):
                self._events.append(RequestArrived(request, flow, transaction))
        self._settle(entry, now)

    def _open(
        self, request: Request, key: Hashable, flow: FlowT, is_reliable: bool, now: float
    ) -> _Entry[FlowT]:
        kind = InviteServerTransaction if request.method == "INVITE" else NonInviteServerTransaction
        transaction = kind(
            request,
            is_reliable=is_reliable,
            timers=self._timers,
            local_tag=request.to.tag or new_tag(self._entropy),
        )
        transaction.key = key
        entry = self._entries[key] = _Entry[FlowT](transaction, flow)
        transaction.start(now=now)
        return entry

    def _answer_cancel(self, entry: _Entry[FlowT], cancel: Request, now: float) -> None:
        """Answer a CANCEL by itself, and tell the user of the INVITE (RFC 3261 9.2)."""
        target = self._entries.get(server_key(cancel, method="INVITE"))
        invite = target.transaction if target is not None else None
        own = entry.transaction
        if not isinstance(own, NonInviteServerTransaction):
            return
        if not isinstance(invite, InviteServerTransaction):
            own.respond(cancel.response(481, to_tag=own.local_tag), now=now)
            return
        own.respond(cancel.response(200, to_tag=invite.local_tag), now=now)
        if not invite.is_answered:
            self._events.append(Cancelled(invite))

    @staticmethod
    def _is_ack_of_forwarded_2xx(entry: _Entry[FlowT], ack: Request) -> bool:
        """A peer that gives the ACK of a 2xx the INVITE's branch must not be lost in a proxy."""
        transaction = entry.transaction
        last = (
            transaction.last_response if isinstance(transaction, InviteServerTransaction) else None
        )
        return entry.ack_key is None and last is not None and 200 <= last.status < 300

    def _merge_key(self, request: Request) -> Hashable | None:
        if not self._detects_merged or request.to.tag is not None or request.method == "CANCEL":
            return None
        return (request.from_.tag, request.call_id, request.cseq.number, request.method)

    def _settle(self, entry: _Entry[FlowT], now: float) -> None:
        """Move a transaction's output to the layer's queues; re-arm or remove it."""
        transaction = entry.transaction
        while (message := transaction.poll_transmit()) is not None:
            self._transmits.append((message, entry.flow))
        if isinstance(transaction, InviteClientTransaction | NonInviteClientTransaction):
            while (client_event := transaction.poll_event()) is not None:
                self._events.append(ClientUpdate(transaction, client_event))
        else:
            while (server_event := transaction.poll_event()) is not None:
                self._events.append(ServerUpdate(transaction, server_event))
        if isinstance(transaction, InviteClientTransaction):
            self._send_cancel(transaction, entry.flow, now)
        if transaction.is_terminated:
            self._remove(entry)
        elif (deadline := transaction.next_timer()) != entry.deadline:
            entry.deadline = deadline
            if deadline is not None:
                heapq.heappush(self._heap, (deadline, next(self._sequence), entry))

    def _send_cancel(self, transaction: InviteClientTransaction, flow: FlowT, now: float) -> None:
        cancel = transaction.take_cancel()
        if cancel is not None and len(self._entries) < self._max_transactions:
            self.request(cancel, flow=flow, is_reliable=transaction.is_reliable, now=now)

    def _remove(self, entry: _Entry[FlowT]) -> None:
        entry.deadline = None
        self._ended.append(entry.transaction)
        self._entries.pop(entry.transaction.key, None)
        if entry.ack_key is not None:
            self._awaiting_ack.pop(entry.ack_key, None)
        if entry.merge_key is not None:
            self._merge_keys.pop(entry.merge_key, None)
        if len(self._heap) > 2 * len(self._entries) + _HEAP_SLACK:
            self._heap = [item for item in self._heap if item[2].deadline == item[0]]
            heapq.heapify(self._heap)
