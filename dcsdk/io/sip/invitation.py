"""Invitations to a call: one we sent, and one that waits for our answer.

Source: RFC 3261 13.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from dcsdk.errors import (
    CallRejected,
    DcsdkError,
    LocalProtocolError,
    OperationTimeout,
    RemoteProtocolError,
    TransportError,
)
from dcsdk.io.sip.call import SDP, CallLeg, DialogOwner, rejected
from dcsdk.io.sip.flow import Flow
from dcsdk.io.sip.requests import ClientTransaction, IncomingRequest
from dcsdk.sip.dialog import Dialog, DialogState
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import NameAddr

logger = logging.getLogger(__name__)

MAX_INVITE_ROUNDS = 3
"""INVITEs of one call: the first, and those after 401, 407 or 494."""

MAX_PROGRESS = 64
"""Provisional statuses that are remembered."""

MAX_FORKS = 32
"""Answers from different places that are ended with BYE; more are only acknowledged."""


class InviteOwner(DialogOwner, Protocol):
    """What an INVITE of ours needs of its user agent: all that its dialogs need, and more."""

    def add(self, leg: CallLeg) -> None:
        """Know a dialog, so that requests find it."""

    def retry(self, request: Request, response: Response) -> Request | None:
        """Make the INVITE anew after 401, 407 or 494, ``None`` when there is no way."""


class OutgoingInvite:
    """An INVITE of ours, until its first 2xx or its refusal.

    Attributes:
        progress: the provisional statuses so far.
        call_id: of the dialog to be.
    """

    def __init__(
        self, agent: InviteOwner, request: Request, flow: Flow, features: str, timeout_s: float
    ) -> None:
        self.progress: list[int] = []
        self.call_id = request.call_id
        self._agent = agent
        self._flow = flow
        self._features = features
        self._timeout_s = timeout_s
        self._transaction: ClientTransaction | None = None
        self._legs: dict[str | None, CallLeg] = {}
        self._is_abandoned = False
        self._outcome: asyncio.Future[tuple[CallLeg, Response]] = (
            asyncio.get_running_loop().create_future()
        )
        self._task = agent.start(self._run(request), name=f"INVITE {self.call_id}")
        self._task.add_done_callback(self._run_ended)

    async def answered(self) -> tuple[CallLeg, Response]:
        """Wait for the first 2xx; a cancelled wait cancels the call.

        Raises:
            CallRejected: a final refusal, with its status.
            OperationTimeout: nobody answered in time; CANCEL was sent.
            TransportError: the connection broke.
        """
        try:
            return await asyncio.shield(self._outcome)
        except asyncio.CancelledError:
            self.cancel()
            raise

    def when_done(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when the outcome is known."""
        self._outcome.add_done_callback(lambda _: callback())

    def cancel(self) -> None:
        """Give up: CANCEL goes out, and an answer that comes all the same is ended with BYE."""
        self._is_abandoned = True
        self._fail(CallRejected("we cancelled the call", status=487))
        if self._transaction is not None:
            self._transaction.cancel()
        for leg in self._legs.values():
            self._agent.end_later(leg)

    # --- inside ----------------------------------------------------------------------------------
    async def _run(self, request: Request) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in range(MAX_INVITE_ROUNDS):
                    response = await self._attempt(request)
                    if response.is_success:
                        return
                    again = None if self._is_abandoned else self._agent.retry(request, response)
                    if again is None:
                        break
                    request = again
            self._fail(rejected(response))
        except DcsdkError as exc:
            self._fail(exc)
        except TimeoutError:
            self._fail(OperationTimeout(f"nobody answered in {self._timeout_s} s"))
            self.cancel()

    async def _attempt(self, request: Request) -> Response:
        self._transaction = transaction = self._agent.endpoint.send(
            request, self._flow, on_response=lambda response: self._succeed(request, response)
        )
        if self._is_abandoned:
            transaction.cancel()
        async for response in transaction:
            if response.is_final:
                return response
            if len(self.progress) < MAX_PROGRESS:
                self.progress.append(response.status)
        raise TransportError("the INVITE ended without a response")

    def _succeed(self, request: Request, response: Response) -> None:
        """Take a 2xx: the first wins, a repeated one is acknowledged, a fork is ended."""
        if not response.is_success:
            return
        try:
            tag = response.to.tag
            leg = self._legs.get(tag)
            if leg is None:
                leg = self._new_leg(request, response)
        except (DcsdkError, ValueError) as exc:
            self._fail(RemoteProtocolError(f"a 2xx that makes no dialog: {exc}"))
            return
        leg.acknowledge(request, response)
        if tag in self._legs:
            return
        is_first = not self._legs
        if len(self._legs) < MAX_FORKS:
            self._legs[tag] = leg
            if is_first and not self._is_abandoned and not self._outcome.done():
                self._agent.add(leg)
                self._outcome.set_result((leg, response))
            else:
                self._agent.end_later(leg)

    def _new_leg(self, request: Request, response: Response) -> CallLeg:
        dialog = Dialog.from_response(request, response)
        leg = CallLeg(self._agent, dialog, self._flow, self._features)
        leg.asserted_identity = asserted_identity(response)
        return leg

    def _fail(self, error: DcsdkError) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(error)
            self._outcome.exception()  # nobody has to wait for it

    def _run_ended(self, task: asyncio.Task[None]) -> None:
        self._fail(TransportError("the user agent closed"))


class IncomingInvite:
    """An INVITE that waits for our answer.

    Attributes:
        body: the SDP offer, empty when the caller wants one from us.
        leg: the dialog, early until ``accept``.
    """

    def __init__(self, agent: DialogOwner, incoming: IncomingRequest, leg: CallLeg) -> None:
        self.body = incoming.request.body
        self.leg = leg
        self._agent = agent
        self._incoming = incoming
        self._is_decided = False
        leg.on_ended = self._withdrawn
        leg.refuse = self.reject
        incoming.when_cancelled(self._withdrawn)

    @property
    def is_withdrawn(self) -> bool:
        """The caller gave up, or its connection is gone."""
        return self._incoming.cancelled.is_set() or self.leg.is_ended

    def ring(self) -> None:
        """Send 180. Without effect when the call was answered or withdrawn."""
        if not self._incoming.is_answered:
            self._incoming.reply(180, headers=self.leg.answer_headers())

    async def accept(self, body: bytes) -> CallLeg:
        """Send 200 with the answer and wait for the ACK.

        Raises:
            CallRejected: the caller cancelled, or hung up before its ACK.
            LocalProtocolError: it is answered already.
            OperationTimeout: no ACK in 64*T1; BYE was sent.
            TransportError: the connection broke.
        """
        if self.is_withdrawn:
            raise CallRejected("the caller gave up", status=487)
        response = self._incoming.request.response(
            200,
            to_tag=self._incoming.local_tag,
            headers=self.leg.answer_headers(),
            body=body,
            content_type=SDP,
        )
        self._is_decided = True
        self.leg.dialog.state = DialogState.CONFIRMED
        if self.body:
            self.leg.exchange.end()
        ack = asyncio.ensure_future(self._incoming.respond_until_acked(response))
        ended = asyncio.ensure_future(self.leg.wait_ended())
        try:
            await asyncio.wait([ack, ended], return_when=asyncio.FIRST_COMPLETED)
            if not ack.done():
                raise CallRejected(f"the call ended before its ACK: {ended.result()}", status=487)
            self.leg.ack_body = (await ack).body
        except OperationTimeout:
            await self.leg.bye()
            raise
        except TransportError as exc:
            self.leg.finish(str(exc))
            raise
        except asyncio.CancelledError:
            self._agent.end_later(self.leg)
            raise
        finally:
            ack.cancel()
            ended.cancel()
            await asyncio.wait([ack, ended])
        return self.leg

    def reject(self, status: int, reason: str | None = None) -> None:
        """Refuse the call with 300..699. Without effect when it was withdrawn.

        Raises:
            LocalProtocolError: another status.
        """
        if not 300 <= status <= 699:
            raise LocalProtocolError(f"{status} is no refusal")
        self._is_decided = True
        if not self._incoming.is_answered:
            self._incoming.reply(status, reason)
        self.leg.finish(f"we refused the call with {status}")

    def _withdrawn(self) -> None:
        if self._is_decided:
            return
        self._is_decided = True
        if not self._incoming.is_answered:
            self._incoming.reply(487)
        self.leg.finish("the caller gave up")


def asserted_identity(message: Request | Response) -> str | None:
    """The first ``P-Asserted-Identity`` as a URI, or ``None`` (RFC 3325 9.1)."""
    values: Sequence[str] = message.headers.get_list("P-Asserted-Identity")
    try:
        return str(NameAddr.parse(values[0]).uri) if values else None
    except ValueError:
        logger.info("call=%s P-Asserted-Identity cannot be read", message.call_id)
        return None
