"""The two handles of a SIP endpoint: a request of ours, and a request to be answered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, Self

from dcsdk.errors import DcsdkError, LocalProtocolError, TransportError
from dcsdk.io.sip.flow import Flow
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.transactions.client_transaction import InviteClientTransaction
from dcsdk.sip.transactions.server_transaction import InviteServerTransaction
from dcsdk.sip.transactions.transaction import ClientTx, ServerTx

MAX_QUEUED_RESPONSES = 64
"""Provisional responses of one request that wait to be read; later ones are dropped."""


class TransactionControl(Protocol):
    """What the two handles need of their endpoint: the way to their transactions."""

    def cancel(self, machine: InviteClientTransaction) -> None:
        """Cancel an INVITE of ours."""

    def respond(self, machine: ServerTx, response: Response) -> None:
        """Send a response in its transaction."""

    def respond_until_acked(self, machine: InviteServerTransaction, response: Response) -> None:
        """Send a 2xx in its transaction and repeat it until the ACK comes."""


class ClientTransaction:
    """A request of ours on its way.

    ``async for response in transaction`` gives the provisional responses, then the one final one.
    It always ends: by the final response, ``OperationTimeout`` (timers B, F, C) or
    ``TransportError``. Giving up waiting does not end the transaction.

    Attributes:
        request: as sent, with our Via on top.
        flow: where it went.
        on_response: called with each response as it comes, whether anybody waits or not; for an
            INVITE also with every 2xx after the first: a repetition (same To tag) or a fork
            (another one).
    """

    def __init__(self, endpoint: TransactionControl, request: Request, flow: Flow) -> None:
        self.request = request
        self.flow = flow
        self.on_response: Callable[[Response], object] | None = None
        self.machine: ClientTx | None = None
        self._endpoint = endpoint
        self._responses: deque[Response] = deque()
        self._outcome: Response | DcsdkError | None = None
        self._changed = asyncio.Event()

    @property
    def is_done(self) -> bool:
        """A final response or an error is there."""
        return self._outcome is not None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Response:
        while not self._responses:
            if isinstance(self._outcome, DcsdkError):
                raise self._outcome
            if self._outcome is not None:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._responses.popleft()

    async def final(self) -> Response:
        """Wait for the final response; provisional ones are passed over.

        Raises:
            OperationTimeout: nobody answered in the time of RFC 3261 17.
            TransportError: the request could not be carried.
        """
        while self._outcome is None:
            self._changed.clear()
            await self._changed.wait()
        if isinstance(self._outcome, DcsdkError):
            raise self._outcome
        return self._outcome

    def cancel(self) -> None:
        """Send CANCEL for an INVITE, once a provisional response came (RFC 3261 9.1)."""
        if isinstance(self.machine, InviteClientTransaction):
            self._endpoint.cancel(self.machine)

    def receive(self, response: Response) -> None:
        """Take a response from the transaction layer."""
        if self.on_response is not None:
            self.on_response(response)
        if self._outcome is not None:
            return
        if response.is_final:
            self._outcome = response
        elif len(self._responses) >= MAX_QUEUED_RESPONSES:
            return
        self._responses.append(response)
        self._changed.set()

    def fail(self, error: DcsdkError) -> None:
        """End without a final response."""
        if self._outcome is None:
            self._outcome = error
            self._changed.set()


class IncomingRequest:
    """A request that came, and the way to answer it.

    Attributes:
        request: as received; the top Via carries ``received`` and ``rport``.
        flow: where it came from, and where responses go.
        local_tag: the To tag of responses we make ourselves.
        cancelled: set when the INVITE was cancelled or its connection closed; answer 487.
    """

    def __init__(
        self,
        endpoint: TransactionControl,
        request: Request,
        flow: Flow,
        machine: ServerTx | None,
    ) -> None:
        self.request = request
        self.flow = flow
        self.local_tag = machine.local_tag if machine is not None else ""
        self.cancelled = asyncio.Event()
        self._endpoint = endpoint
        self._machine = machine
        self._ack: asyncio.Future[Request] | None = None
        self._on_cancelled: Callable[[], None] | None = None

    @property
    def is_answered(self) -> bool:
        """A final response was given, or (ACK) none may be."""
        return self._machine is None or self._machine.is_answered

    def respond(self, response: Response) -> None:
        """Send a response: provisional ones, then one final; a proxy may pass on more 2xx.

        Raises:
            LocalProtocolError: it is answered already, or it is an ACK.
        """
        if self._machine is None:
            raise LocalProtocolError("an ACK is not answered", source="RFC 3261 17")
        self._endpoint.respond(self._machine, response)

    def reply(
        self,
        status: int,
        reason: str | None = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> None:
        """Make a response of our own, with our To tag, and send it.

        Raises:
            LocalProtocolError: it is answered already, or it is an ACK.
        """
        self.respond(
            self.request.response(
                status,
                reason,
                to_tag=self.local_tag,
                headers=headers,
                body=body,
                content_type=content_type,
            )
        )

    async def respond_until_acked(self, response: Response) -> Request:
        """Send a 2xx to an INVITE, repeat it as needed, and wait for its ACK.

        Raises:
            LocalProtocolError: it is answered already, or it is no INVITE.
            OperationTimeout: no ACK in 64*T1; the dialog is to be ended with BYE.
            TransportError: the connection or the endpoint closed.

        Source: RFC 3261 13.3.1.4.
        """
        if not isinstance(self._machine, InviteServerTransaction):
            raise LocalProtocolError("only an INVITE is acknowledged", source="RFC 3261 13.3.1.4")
        if self._machine.is_terminated:
            raise TransportError("the caller's connection is closed")
        if self._machine.is_answered:
            raise LocalProtocolError("it is answered already", source="RFC 3261 17.2.1")
        self._ack = asyncio.get_running_loop().create_future()
        self._endpoint.respond_until_acked(self._machine, response)
        return await asyncio.shield(self._ack)

    def when_cancelled(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when ``cancelled`` gets set; at once when it is set already."""
        self._on_cancelled = callback
        if self.cancelled.is_set():
            callback()

    def cancel(self) -> None:
        """Take from the transaction layer that nobody wants the answer any more."""
        if not self.cancelled.is_set():
            self.cancelled.set()
            if self._on_cancelled is not None:
                self._on_cancelled()

    def acknowledged(self, outcome: Request | DcsdkError) -> None:
        """Take the ACK, or why there is none, from the transaction layer."""
        if self._ack is None or self._ack.done():
            return
        if isinstance(outcome, Request):
            self._ack.set_result(outcome)
        else:
            self._ack.set_exception(outcome)
            self._ack.exception()  # a waiter that was cancelled must not cause a warning
