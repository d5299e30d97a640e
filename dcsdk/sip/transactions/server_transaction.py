"""Server transactions: one request is handed up once and its response is repeated as needed.

Neither class performs I/O; :class:`dcsdk.sip.transactions.transaction.TransactionLayer` owns them.

Source: RFC 3261 17.2, RFC 6026 7.1 (the *accepted* state).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from dcsdk.errors import LocalProtocolError
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.transactions.timers import SipTimers, TimerSet


class ServerState(Enum):
    """Where a server transaction stands (RFC 3261 figures 7 and 8, RFC 6026 figure 6)."""

    TRYING, PROCEEDING, COMPLETED = auto(), auto(), auto()
    CONFIRMED, ACCEPTED, TERMINATED = auto(), auto(), auto()


@dataclass(frozen=True, slots=True)
class AckArrived:
    """The ACK of a 2xx that ``respond_until_acked`` sends. Only the first one is reported."""

    ack: Request


@dataclass(frozen=True, slots=True)
class AckMissing:
    """A final response to an INVITE was never acknowledged (timer H, or 64*T1 after a 2xx)."""


@dataclass(frozen=True, slots=True)
class AnswerMissing:
    """Our own side never gave a final response in ``max_answer_s``; the transaction is over."""


ServerEvent: TypeAlias = AckArrived | AckMissing | AnswerMissing


class _ServerTransaction:
    """What both kinds share: queues, timers, the last response.

    ``local_tag`` is the To tag for responses that our own side makes.
    """

    def __init__(
        self, request: Request, *, is_reliable: bool, timers: SipTimers, local_tag: str = ""
    ) -> None:
        self.request = request
        self.local_tag = local_tag
        self.state = ServerState.TERMINATED
        self.key: Hashable = ()
        self.last_response: Response | None = None
        self.is_reliable = is_reliable
        self._values = timers
        self._timers = TimerSet()
        self._transmits: deque[Response] = deque()
        self._events: deque[ServerEvent] = deque()

    @property
    def is_terminated(self) -> bool:
        """Nothing more is sent, and nothing more is absorbed."""
        return self.state is ServerState.TERMINATED

    @property
    def is_answered(self) -> bool:
        """A final response was given."""
        return self.state not in (ServerState.TRYING, ServerState.PROCEEDING)

    def next_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called."""
        return self._timers.next()

    def poll_transmit(self) -> Response | None:
        """The next response to send, or ``None``."""
        return self._transmits.popleft() if self._transmits else None

    def poll_event(self) -> ServerEvent | None:
        """The next event, or ``None``."""
        return self._events.popleft() if self._events else None

    def terminate(self) -> None:
        """End at once: the transport is gone (RFC 3261 17.2.4)."""
        self.state = ServerState.TERMINATED
        self._timers.clear()

    def _send(self, response: Response) -> None:
        self.last_response = response
        self._transmits.append(response)

    def _resend(self) -> None:
        if self.last_response is not None:
            self._transmits.append(self.last_response)


class InviteServerTransaction(_ServerTransaction):
    """The INVITE server transaction.

    States: proceeding -> completed -> confirmed -> terminated after a refusal, proceeding ->
    accepted -> terminated after a 2xx. A 2xx is repeated by the user agent core, not by the
    transaction (RFC 3261 13.3.1.4); ``respond_until_acked`` does that for a user agent, whereas
    a proxy passes each 2xx through ``respond``.

    Source: RFC 3261 17.2.1, RFC 6026 7.1.
    """

    def __init__(
        self, request: Request, *, is_reliable: bool, timers: SipTimers, local_tag: str = ""
    ) -> None:
        super().__init__(request, is_reliable=is_reliable, timers=timers, local_tag=local_tag)
        self._retransmit_s = timers.t1_s
        self._is_ack_wanted = False

    def start(self, *, now: float) -> None:
        """The INVITE came; 100 goes out unless a response is given soon."""
        self.state = ServerState.PROCEEDING
        self._timers.start("100", now + self._values.trying_s)
        self._timers.start("answer", now + self._values.max_answer_s)

    def receive(self, request: Request, *, now: float) -> None:
        """Take a repeated INVITE, or an ACK, that matched this transaction."""
        if request.method == "ACK":
            self._receive_ack(request, now)
        elif self.state in (ServerState.PROCEEDING, ServerState.COMPLETED):
            self._resend()

    def respond(self, response: Response, *, now: float) -> None:
        """Send a response; more provisionals, and more 2xx after a 2xx, are legal.

        Raises:
            LocalProtocolError: a final response was given before.
        """
        if self.state is ServerState.ACCEPTED and 200 <= response.status < 300:
            self._transmits.append(response)
            return
        if self.state is not ServerState.PROCEEDING:
            raise LocalProtocolError(
                f"response {response.status} after the transaction was answered",
                source="RFC 3261 17.2.1",
            )
        self._timers.stop("100")
        self._send(response)
        if response.status < 200:
            return
        self._timers.stop("answer")
        if response.status < 300:
            self.state = ServerState.ACCEPTED
            self._timers.start("L", now + self._values.transaction_s)
            return
        self.state = ServerState.COMPLETED
        if not self.is_reliable:
            self._timers.start("G", now + self._retransmit_s)
        self._timers.start("H", now + self._values.transaction_s)

    def respond_until_acked(self, response: Response, *, now: float) -> None:
        """Send a 2xx and repeat it, over any transport, until its ACK comes or 64*T1 passed.

        Source: RFC 3261 13.3.1.4.
        """
        self.respond(response, now=now)
        self._is_ack_wanted = True
        self._timers.start("2xx", now + self._retransmit_s)

    def handle_timer(self, *, now: float) -> None:
        """Do what is due."""
        while (name := self._timers.pop_due(now)) is not None:
            if name == "100":
                self._send(self.request.response(100))
            elif name in ("G", "2xx"):
                self._resend()
                self._retransmit_s = min(2 * self._retransmit_s, self._values.t2_s)
                self._timers.start(name, now + self._retransmit_s)
            elif name == "answer":
                self._events.append(AnswerMissing())
                self.respond(self.request.response(408), now=now)
            else:
                if name == "H" or (name == "L" and self._is_ack_wanted):
                    self._events.append(AckMissing())
                self.terminate()

    def _receive_ack(self, ack: Request, now: float) -> None:
        if self.state is ServerState.ACCEPTED and self._is_ack_wanted:
            self._is_ack_wanted = False
            self._timers.stop("2xx")
            self._events.append(AckArrived(ack))
        elif self.state is ServerState.COMPLETED:
            self._timers.clear()
            if self.is_reliable:
                self.terminate()
            else:
                self.state = ServerState.CONFIRMED
                self._timers.start("I", now + self._values.t4_s)


class NonInviteServerTransaction(_ServerTransaction):
    """The server transaction of every request but INVITE and ACK.

    States: trying -> proceeding -> completed -> terminated.

    Source: RFC 3261 17.2.2.
    """

    def start(self, *, now: float) -> None:
        """The request came. Its sender gives up after 64*T1 (timer F), so do we."""
        self.state = ServerState.TRYING
        self._timers.start("answer", now + self._values.transaction_s)

    def receive(self, request: Request, *, now: float) -> None:
        """Take a repeated request: the last response is sent again."""
        if self.state in (ServerState.PROCEEDING, ServerState.COMPLETED):
            self._resend()

    def respond(self, response: Response, *, now: float) -> None:
        """Send a response.

        Raises:
            LocalProtocolError: a final response was given before.
        """
        if self.state not in (ServerState.TRYING, ServerState.PROCEEDING):
            raise LocalProtocolError(
                f"response {response.status} after the transaction was answered",
                source="RFC 3261 17.2.2",
            )
        self._send(response)
        if response.status < 200:
            self.state = ServerState.PROCEEDING
            return
        self._timers.clear()
        if self.is_reliable:
            self.terminate()
        else:
            self.state = ServerState.COMPLETED
            self._timers.start("J", now + self._values.transaction_s)

    def handle_timer(self, *, now: float) -> None:
        """Do what is due. An unanswered request gets no 408 (RFC 4320 4.2)."""
        while (name := self._timers.pop_due(now)) is not None:
            if name == "answer":
                self._events.append(AnswerMissing())
            self.terminate()
