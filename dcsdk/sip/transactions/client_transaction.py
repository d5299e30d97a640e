"""Client transactions: a request is sent until it is answered, or given up.

Neither class performs I/O; :class:`dcsdk.sip.transactions.transaction.TransactionLayer` owns them.

Source: RFC 3261 17.1, RFC 6026 7.2 (the *accepted* state).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from dcsdk.errors import DcsdkError
from dcsdk.sip.syntax.headers import Headers
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.transactions.timers import SipTimers, TimerSet

MAX_FORWARDS = "70"


class ClientState(Enum):
    """Where a client transaction stands (RFC 3261 figures 5 and 6, RFC 6026 figure 5)."""

    CALLING, TRYING, PROCEEDING = auto(), auto(), auto()
    COMPLETED, ACCEPTED, TERMINATED = auto(), auto(), auto()


@dataclass(frozen=True, slots=True)
class ResponseArrived:
    """A response for the transaction user: provisional, final, or one more 2xx to an INVITE."""

    response: Response


@dataclass(frozen=True, slots=True)
class NoResponse:
    """The transaction ended without a final response.

    Attributes:
        timer: ``"B"``, ``"F"``, ``"C"``, or ``"cancel"`` when 64*T1 passed after a CANCEL
            (RFC 3261 9.1).
    """

    timer: str


@dataclass(frozen=True, slots=True)
class SendFailed:
    """The transport could not carry the request (RFC 3261 17.1.4)."""

    error: DcsdkError


ClientEvent: TypeAlias = ResponseArrived | NoResponse | SendFailed


def ack_for_failure(invite: Request, response: Response) -> Request:
    """Make the ACK of a 300..699 response, which belongs to the INVITE's transaction.

    Source: RFC 3261 17.1.1.3.
    """
    headers = _same_transaction_headers(invite, "ACK")
    headers.set("To", response.headers.get("To") or invite.headers.get("To") or "")
    return Request(method="ACK", uri=invite.uri, headers=headers)


def cancel_for(invite: Request) -> Request:
    """Make the CANCEL of an INVITE: same Request-URI, Call-ID, tags, CSeq number and top Via.

    Source: RFC 3261 9.1.
    """
    return Request(
        method="CANCEL", uri=invite.uri, headers=_same_transaction_headers(invite, "CANCEL")
    )


def _same_transaction_headers(invite: Request, method: str) -> Headers:
    headers = Headers([("Via", invite.headers.get_list("Via")[0])])
    for route in invite.headers.get_all("Route"):
        headers.add("Route", route)
    headers.add("Max-Forwards", MAX_FORWARDS)
    for name in ("From", "To", "Call-ID"):
        headers.add(name, invite.headers.get(name) or "")
    headers.add("CSeq", f"{invite.cseq.number} {method}")
    return headers


class _ClientTransaction:
    """What both kinds share: queues, timers, the way to fail."""

    def __init__(self, request: Request, *, is_reliable: bool, timers: SipTimers) -> None:
        self.request = request
        self.state = ClientState.TERMINATED
        self.key: Hashable = ()
        self.is_reliable = is_reliable
        self._values = timers
        self._timers = TimerSet()
        self._transmits: deque[Request] = deque()
        self._events: deque[ClientEvent] = deque()

    @property
    def is_terminated(self) -> bool:
        """Nothing more will come, and nothing more is absorbed."""
        return self.state is ClientState.TERMINATED

    def next_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called."""
        return self._timers.next()

    def poll_transmit(self) -> Request | None:
        """The next request to send, or ``None``."""
        return self._transmits.popleft() if self._transmits else None

    def poll_event(self) -> ClientEvent | None:
        """The next event, or ``None``."""
        return self._events.popleft() if self._events else None

    def fail(self, error: DcsdkError) -> None:
        """The transport failed; a transaction that had its final response just ends."""
        if self.state in (ClientState.CALLING, ClientState.TRYING, ClientState.PROCEEDING):
            self._events.append(SendFailed(error))
        self._terminate()

    def _give_up(self, timer: str) -> None:
        self._events.append(NoResponse(timer))
        self._terminate()

    def _terminate(self) -> None:
        self.state = ClientState.TERMINATED
        self._timers.clear()


class InviteClientTransaction(_ClientTransaction):
    """The INVITE client transaction.

    States: calling -> proceeding -> completed or accepted -> terminated. A CANCEL asked for
    before the first provisional response waits for it (RFC 3261 9.1); when it is time,
    ``take_cancel`` hands it over once, to be sent as a transaction of its own.

    Source: RFC 3261 17.1.1, RFC 6026 7.2.
    """

    def __init__(self, request: Request, *, is_reliable: bool, timers: SipTimers) -> None:
        super().__init__(request, is_reliable=is_reliable, timers=timers)
        self._retransmit_s = timers.t1_s
        self._is_cancel_wanted = False
        self._is_cancel_sent = False
        self._cancel: Request | None = None

    def start(self, *, now: float) -> None:
        """Send the INVITE (RFC 3261 17.1.1.2)."""
        self.state = ClientState.CALLING
        self._transmits.append(self.request)
        if not self.is_reliable:
            self._timers.start("A", now + self._retransmit_s)
        self._timers.start("B", now + self._values.transaction_s)

    def cancel(self, *, now: float) -> None:
        """Ask for a CANCEL. Without effect once a final response came."""
        if self.state in (ClientState.CALLING, ClientState.PROCEEDING):
            self._is_cancel_wanted = True
            self._cancel_if_possible(now)

    def take_cancel(self) -> Request | None:
        """The CANCEL that is due to be sent now, once."""
        cancel, self._cancel = self._cancel, None
        return cancel

    def receive(self, response: Response, *, now: float) -> None:
        """Take a response that matched this transaction."""
        if self.state in (ClientState.CALLING, ClientState.PROCEEDING):
            if response.status < 200:
                self._receive_provisional(response, now)
            elif response.status < 300:
                self._receive_success(response, now)
            else:
                self._receive_failure(response, now)
        elif self.state is ClientState.ACCEPTED and 200 <= response.status < 300:
            self._events.append(ResponseArrived(response))
        elif self.state is ClientState.COMPLETED and response.status >= 300:
            self._transmits.append(ack_for_failure(self.request, response))

    def handle_timer(self, *, now: float) -> None:
        """Do what is due."""
        while (name := self._timers.pop_due(now)) is not None:
            if name == "A":
                self._transmits.append(self.request)
                self._retransmit_s *= 2
                self._timers.start("A", now + self._retransmit_s)
            elif name == "C":
                self.cancel(now=now)
            elif name in ("D", "M"):
                self._terminate()
            else:
                self._give_up(name)

    def _receive_provisional(self, response: Response, now: float) -> None:
        self._timers.stop("A", "B")
        if self.state is ClientState.CALLING or response.status > 100:
            self._timers.start("C", now + self._values.timer_c_s)
        self.state = ClientState.PROCEEDING
        self._events.append(ResponseArrived(response))
        if self._is_cancel_wanted:
            self._cancel_if_possible(now)

    def _receive_success(self, response: Response, now: float) -> None:
        self.state = ClientState.ACCEPTED
        self._timers.clear()
        self._timers.start("M", now + self._values.transaction_s)
        self._events.append(ResponseArrived(response))

    def _receive_failure(self, response: Response, now: float) -> None:
        self._timers.clear()
        self._transmits.append(ack_for_failure(self.request, response))
        self._events.append(ResponseArrived(response))
        if self.is_reliable:
            self._terminate()
        else:
            self.state = ClientState.COMPLETED
            self._timers.start("D", now + self._values.transaction_s)

    def _cancel_if_possible(self, now: float) -> None:
        if self.state is not ClientState.PROCEEDING or self._is_cancel_sent:
            return
        self._is_cancel_sent = True
        self._cancel = cancel_for(self.request)
        self._timers.stop("C")
        self._timers.start("cancel", now + self._values.transaction_s)


class NonInviteClientTransaction(_ClientTransaction):
    """The client transaction of every request but INVITE and ACK.

    States: trying -> proceeding -> completed -> terminated.

    Source: RFC 3261 17.1.2.
    """

    def __init__(self, request: Request, *, is_reliable: bool, timers: SipTimers) -> None:
        super().__init__(request, is_reliable=is_reliable, timers=timers)
        self._retransmit_s = timers.t1_s

    def start(self, *, now: float) -> None:
        """Send the request (RFC 3261 17.1.2.2)."""
        self.state = ClientState.TRYING
        self._transmits.append(self.request)
        if not self.is_reliable:
            self._timers.start("E", now + self._retransmit_s)
        self._timers.start("F", now + self._values.transaction_s)

    def receive(self, response: Response, *, now: float) -> None:
        """Take a response that matched this transaction."""
        if self.state not in (ClientState.TRYING, ClientState.PROCEEDING):
            return
        self._events.append(ResponseArrived(response))
        if response.status < 200:
            self.state = ClientState.PROCEEDING
            return
        self._timers.clear()
        if self.is_reliable:
            self._terminate()
        else:
            self.state = ClientState.COMPLETED
            self._timers.start("K", now + self._values.t4_s)

    def handle_timer(self, *, now: float) -> None:
        """Do what is due."""
        while (name := self._timers.pop_due(now)) is not None:
            if name == "E":
                self._transmits.append(self.request)
                is_proceeding = self.state is ClientState.PROCEEDING
                doubled = min(2 * self._retransmit_s, self._values.t2_s)
                self._retransmit_s = self._values.t2_s if is_proceeding else doubled
                self._timers.start("E", now + self._retransmit_s)
            elif name == "F":
                self._give_up("F")
            else:
                self._terminate()
