"""One dialog of a call, as a user agent keeps it: re-INVITE both ways, BYE, and its end.

Bodies are bytes: what an offer or answer says is nobody's business here.

Source: RFC 3261 12.2, 13.3, 14, 15.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from dcsdk.errors import (
    CallRejected,
    ChannelClosed,
    DcsdkError,
    LocalProtocolError,
    OperationTimeout,
    RemoteProtocolError,
)
from dcsdk.io.mailbox import Mailbox
from dcsdk.io.sip.endpoint import SipEndpoint
from dcsdk.io.sip.flow import Flow
from dcsdk.io.sip.requests import ClientTransaction, IncomingRequest
from dcsdk.sip.dialog import Dialog, DialogState, OfferExchange, glare_wait_s
from dcsdk.sip.registration_values import retry_after_s
from dcsdk.sip.syntax.identifiers import random_between
from dcsdk.sip.syntax.message import Request, Response

logger = logging.getLogger(__name__)

SDP = "application/sdp"
DIALOG_ENDING_STATUSES = frozenset({404, 408, 410, 416, 480, 481, 482, 483, 484, 485, 502, 604})
"""Answers to a request inside a dialog that mean its end (RFC 5057 5.1, RFC 3261 12.2.1.2)."""


class DialogOwner(Protocol):
    """What a dialog needs of its user agent, as ``dcsdk.io.sip.user_agent`` gives it."""

    endpoint: SipEndpoint
    is_closed: bool

    def start(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run a task that ends with the user agent at the latest."""

    def end_later(self, leg: CallLeg) -> None:
        """End a dialog with BYE in a task of the user agent."""

    def forget(self, leg: CallLeg) -> None:
        """A dialog is over; unknown ones are no error."""

    def refuses_extensions(self, incoming: IncomingRequest) -> bool:
        """Answer 420 to a request that requires what we cannot do."""

    def answer_outside(self, incoming: IncomingRequest) -> None:
        """Answer a request that is neither INVITE, BYE nor ACK."""

    def common_headers(self, method: str, flow: Flow) -> list[tuple[str, str]]:
        """Headers of every request of ours."""

    def invite_headers(self, features: str, flow: Flow) -> list[tuple[str, str]]:
        """Headers of every INVITE of ours."""

    def answer_headers(self, features: str, flow: Flow) -> list[tuple[str, str]]:
        """Headers of a 18x or 2xx of ours to INVITE."""


class IncomingReoffer:
    """A re-INVITE that waits for our answer.

    Attributes:
        body: the offer.
    """

    def __init__(self, leg: CallLeg, incoming: IncomingRequest) -> None:
        self.body = incoming.request.body
        self._leg = leg
        self._incoming = incoming
        self._is_open = True
        self._withdrawn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def accept(self, body: bytes) -> None:
        """Answer 200 and wait for the ACK. Without an ACK the dialog ends with BYE (14.2).

        Raises:
            LocalProtocolError: it is answered already.
            CallRejected: the peer took it back, or the dialog ended.
            OperationTimeout: no ACK in 64*T1.
            TransportError: the connection broke.
        """
        if self._incoming.cancelled.is_set() or self._leg.is_ended:
            raise CallRejected("the peer took its offer back", status=487)
        response = self._incoming.request.response(
            200, headers=self._leg.answer_headers(), body=body, content_type=SDP
        )
        try:
            await self._incoming.respond_until_acked(response)
        except OperationTimeout:
            await self._leg.bye()
            raise
        finally:
            self._close()

    def reject(self, status: int, reason: str | None = None) -> None:
        """Refuse; the session stays as it was. Without effect when it is answered or taken back."""
        if not self._incoming.is_answered:
            self._incoming.reply(status, reason)
        self._close()

    async def wait_withdrawn(self) -> None:
        """Wait until nobody wants an answer: the peer took it back, or the dialog ended."""
        await asyncio.shield(self._withdrawn)

    def withdraw(self) -> None:
        """Answer 487, unless it is answered, and wake who waits. Idempotent."""
        self.reject(487)
        if not self._withdrawn.done():
            self._withdrawn.set_result(None)

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._leg.exchange.end()


class CallLeg:
    """One dialog. Made by the user agent; early until its 2xx.

    Attributes:
        dialog: the protocol state.
        flow: where requests go; replaced when the connection is.
        exchange: whose offer waits.
        reoffers: the peer's re-INVITEs, until the dialog ends.
        remote_uri: the peer's From or To.
        asserted_identity: ``P-Asserted-Identity`` of the peer's INVITE or 2xx, or ``None``.
        features: Contact features, as they are written behind our Contact.
        ack_body: body of the ACK of our 2xx: the answer, when our 2xx carried the offer.
        on_ended: called once when the dialog is over.
        refuse: answers the peer's INVITE with a status, as long as the dialog is early.
    """

    def __init__(self, agent: DialogOwner, dialog: Dialog, flow: Flow, features: str) -> None:
        self.dialog = dialog
        self.flow = flow
        self.exchange = OfferExchange()
        self.reoffers: Mailbox[IncomingReoffer] = Mailbox(1)
        self.remote_uri = str(dialog.remote.uri)
        self.asserted_identity: str | None = None
        self.features = features
        self.ack_body = b""
        self.on_ended: Callable[[], None] | None = None
        self.refuse: Callable[[int], None] | None = None
        self._agent = agent
        self._pending: ClientTransaction | None = None
        self._reoffer: IncomingReoffer | None = None
        self._bye_task: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def is_ended(self) -> bool:
        """The dialog is over."""
        return self._ended.done()

    async def wait_ended(self) -> str:
        """Wait for the end of the dialog; returns why, in words."""
        return await asyncio.shield(self._ended)

    def answer_headers(self) -> list[tuple[str, str]]:
        """What a 2xx of ours to an INVITE carries beside the copied headers."""
        return self._agent.answer_headers(self.features, self.flow)

    # --- requests of ours ------------------------------------------------------------------------
    async def reinvite(self, body: bytes, *, timeout_s: float) -> Response:
        """Send an offer in a re-INVITE and wait for its 2xx.

        Args:
            body: the offer.
            timeout_s: for the answer.

        Raises:
            CallRejected: refused; the session stays as it was, unless the status ends the dialog.
                With 491 another offer waits, ours or the peer's: see :meth:`wait_after_glare`.
            OperationTimeout: no final answer in time.
            ChannelClosed: the dialog is over.
        """
        self._check_alive()
        try:
            self.exchange.begin_local()
        except LocalProtocolError as exc:
            raise CallRejected(str(exc), status=491) from exc
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._reinvite_once(body)
        except TimeoutError as exc:
            if isinstance(exc, OperationTimeout):
                self.finish("the peer did not answer a re-INVITE")
                raise
            raise OperationTimeout(f"the re-INVITE was not answered in {timeout_s} s") from exc
        finally:
            self.exchange.end()
        if not response.is_success:
            if response.status in DIALOG_ENDING_STATUSES:
                self.finish(f"the peer answered a re-INVITE with {response.status}")
            raise rejected(response)
        return response

    async def wait_after_glare(self) -> None:
        """Wait as RFC 3261 14.1 says, and on while the peer's own re-INVITE is open.

        Raises:
            ChannelClosed: the dialog ended meanwhile.
        """
        while True:
            wait_s = glare_wait_s(
                is_call_id_owner=self.dialog.is_call_id_owner, entropy=self._agent.endpoint.entropy
            )
            await asyncio.wait(
                [self._ended], timeout=wait_s * self._agent.endpoint.timers.glare_scale
            )
            self._check_alive()
            if not self.exchange.is_pending:
                return

    async def bye(self, timeout_s: float = 2.0) -> None:
        """End the dialog. Idempotent; an unanswered BYE is given up after ``timeout_s``.

        An INVITE that we have not answered is refused: its dialog is early, and a callee sends no
        BYE in one (RFC 3261 15).
        """
        if self.dialog.state is DialogState.EARLY and self.refuse is not None:
            self.refuse(480)
            return
        if self._bye_task is None:
            if self._agent.is_closed:
                self.finish("the user agent closed")
            if self.is_ended:
                return
            self._bye_task = self._agent.start(self._bye(timeout_s), name="BYE")
        await asyncio.wait([self._bye_task])

    def acknowledge(self, invite: Request, response: Response) -> None:
        """Send the ACK of a 2xx to an INVITE of ours, once for each time the 2xx comes."""
        ack = self.dialog.ack(
            invite.cseq.number, headers=self._agent.common_headers("ACK", self.flow)
        )
        self._agent.endpoint.send_ack(ack, self.flow)

    # --- requests of the peer --------------------------------------------------------------------
    def receive(self, incoming: IncomingRequest) -> None:
        """Take a request inside this dialog.

        Raises:
            RemoteProtocolError: out of order, or an offer too many; ``sip_status_hint`` answers.
        """
        method = incoming.request.method
        if method == "ACK":
            return  # repeated: the first one was taken by its transaction
        self.dialog.receive_request(incoming.request)
        if method in ("BYE", "INVITE") and self._agent.refuses_extensions(incoming):
            return
        if method == "BYE":
            incoming.reply(200)
            self.finish("the peer ended the call")
        elif method == "INVITE":
            self._receive_reinvite(incoming)
        else:
            self._agent.answer_outside(incoming)

    def finish(self, reason: str) -> None:
        """The dialog is over: wake who waits and answer what is open. Idempotent."""
        if self.is_ended:
            return
        self.dialog.state = DialogState.TERMINATED
        self._ended.set_result(reason)
        self.reoffers.close()
        if self._pending is not None:
            self._pending.cancel()
        if self._reoffer is not None:
            self._reoffer.withdraw()
        self._agent.forget(self)
        if self.on_ended is not None:
            self.on_ended()

    # --- inside ----------------------------------------------------------------------------------
    def _check_alive(self) -> None:
        if self.is_ended:
            raise ChannelClosed(f"the call is over: {self._ended.result()}")

    async def _reinvite_once(self, body: bytes) -> Response:
        self._check_alive()
        request = self.dialog.request(
            "INVITE",
            headers=self._agent.invite_headers(self.features, self.flow),
            body=body,
            content_type=SDP,
        )
        is_abandoned = False

        def acknowledge(response: Response) -> None:
            if not response.is_success:
                return
            self._refresh_target(response)
            self.acknowledge(request, response)
            if is_abandoned and not self.is_ended:
                # the peer changed the session after we gave up: nobody knows its state
                self._agent.end_later(self)

        transaction = self._agent.endpoint.send(request, self.flow, on_response=acknowledge)
        self._pending = transaction
        try:
            return await transaction.final()
        finally:
            self._pending = None
            if not transaction.is_done:
                is_abandoned = True
                transaction.cancel()

    def _refresh_target(self, response: Response) -> None:
        try:
            self.dialog.refresh_target(response)
        except RemoteProtocolError as exc:
            logger.info("call=%s Contact of a 2xx kept out: %s", self.dialog.call_id, exc)

    async def _bye(self, timeout_s: float) -> None:
        request = self.dialog.request("BYE", headers=self._agent.common_headers("BYE", self.flow))
        self.finish("we ended the call")
        try:
            async with asyncio.timeout(timeout_s):
                await self._agent.endpoint.send(request, self.flow).final()
        except (TimeoutError, DcsdkError) as exc:
            logger.info("call=%s BYE was not answered: %s", self.dialog.call_id, exc)

    def _receive_reinvite(self, incoming: IncomingRequest) -> None:
        body = incoming.request.body
        if not body or incoming.request.content_type != SDP:
            # an empty re-INVITE asks us for an offer; nothing here makes one unasked
            incoming.reply(488, headers=[("Warning", '399 dcsdk "an SDP offer is needed"')])
            return
        try:
            self.exchange.begin_remote()
        except RemoteProtocolError as exc:
            after = str(round(random_between(self._agent.endpoint.entropy, 0, 10)))
            headers = [("Retry-After", after)] if exc.sip_status_hint == 500 else []
            incoming.reply(exc.sip_status_hint or 500, headers=headers)
            return
        try:
            self.dialog.refresh_target(incoming.request)
        except RemoteProtocolError:
            self.exchange.end()
            raise
        self._reoffer = reoffer = IncomingReoffer(self, incoming)

        def withdrawn() -> None:
            self.reoffers.discard(reoffer)
            reoffer.withdraw()

        incoming.when_cancelled(withdrawn)
        if not self.reoffers.put(reoffer):
            reoffer.reject(500)


def rejected(response: Response) -> CallRejected:
    """The error that a refused INVITE is."""
    warning = response.headers.get("Warning")
    detail = f" ({warning})" if warning else ""
    return CallRejected(
        f"the call was refused: {response.status} {response.reason}{detail}",
        status=response.status,
        retry_after_s=retry_after_s(response),
    )
