"""One call as the IMS AS serves it for one of its two users.

Offers come on either leg, initially or in a re-INVITE, and all go the same way: ``SessionModel``
says what to ask, the DCSF decides, the model writes the other leg's offer, the other leg answers,
the model writes the answer. What fails on the way is undone.

Source: TS 24.186 9.3.2.2, 9.3.3.2; TS 23.228 AC.7.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from dcsdk.emulator.app_server.b2bua_leg import ALLOW, B2buaLeg, contact_features_of
from dcsdk.emulator.app_server.session_model import Answered, PassingOffer, SessionModel, Side
from dcsdk.emulator.core.sip_node import keep_headers
from dcsdk.emulator.sbi.dc_control import (
    DcControl,
    Decision,
    Initiator,
    SessionCase,
    SessionEvent,
    SessionInfo,
)
from dcsdk.errors import DcsdkError, OperationTimeout, ParseError, RemoteProtocolError
from dcsdk.io.sip.call import DIALOG_ENDING_STATUSES
from dcsdk.io.sip.endpoint import IncomingRequest
from dcsdk.io.tasks import finish_all
from dcsdk.sdp.session import CONTENT_TYPE, SessionDescription
from dcsdk.sip.syntax.message import Request, Response

logger = logging.getLogger(__name__)


class _Refused(Exception):
    """The other leg refused; its response is passed on."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"{response.status} {response.reason}")
        self.response = response


class ServedCall:
    """A call with two legs.

    Args:
        info: who calls whom, and which of them is served.
        legs: the two legs; the one the call comes in on is that of ``caller_side``.
        model: the lines of both legs.
        control: the HTTP half of the IMS AS, or ``None`` when the served user has no data
            channels; then nobody is asked and every data channel line is refused.
        on_leg: called with each leg that has a dialog now.
        on_ended: called once, at the end.
    """

    def __init__(
        self,
        info: SessionInfo,
        *,
        legs: Mapping[Side, B2buaLeg],
        model: SessionModel,
        control: DcControl | None,
        on_leg: Callable[[ServedCall, B2buaLeg], None],
        on_ended: Callable[[ServedCall], None],
    ) -> None:
        self.info = info
        self.legs = legs
        self.model = model
        self.is_ended = False
        self._control = control
        self._on_leg = on_leg
        self._on_ended = on_ended
        self._is_established = False
        self._is_withdrawn = False
        self._settled = asyncio.Event()
        is_originating = info.session_case is SessionCase.ORIGINATING
        self.caller_side = Side.SERVED if is_originating else Side.REMOTE

    # --- the first offer -------------------------------------------------------------------------
    async def establish(self, incoming: IncomingRequest, source: Request) -> None:
        """Carry an INVITE to the other leg and its answer back.

        Args:
            incoming: the INVITE.
            source: the same with our own Route gone.
        """
        near, far = self.legs[self.caller_side], self.legs[self.caller_side.other]
        is_failure = True
        try:
            near.take_invite(incoming)
            self._on_leg(self, near)
            incoming.when_cancelled(far.cancel)
            answered, final = await self._call(incoming, source)
            self._is_established, is_failure = True, False
            await near.accept(incoming, answered.answer, far.features, final.headers)
            await self._notify(SessionEvent.SUCCESS)
            self._settled.set()
        except _Refused as exc:
            _pass_on(incoming, exc.response)
        except RemoteProtocolError as exc:
            self._refuse(incoming, exc.sip_status_hint or 502, exc)
        except OperationTimeout as exc:
            self._refuse(incoming, 408, exc)
        except DcsdkError as exc:
            self._refuse(incoming, 500, exc)
        finally:
            if not self._settled.is_set():
                await self.end(self.caller_side, is_failure=is_failure)

    async def _call(self, incoming: IncomingRequest, source: Request) -> tuple[Answered, Response]:
        near, far = self.legs[self.caller_side], self.legs[self.caller_side.other]
        exchange = self.model.begin(near.side, _description(incoming.request))
        decisions: Mapping[str, Decision] = {}
        if self._control is not None:
            decisions = await self._decisions(
                self._control.session_establishment(self.info, exchange.questions)
            )
        offer = self.model.decide(exchange, decisions)
        request = far.make_invite(source, offer, near.features)
        self._check_wanted(incoming)
        transaction = await far.start_invite(request)
        if incoming.cancelled.is_set():
            transaction.cancel()
        async for response in transaction:
            if response.is_final:
                break
            if response.status > 100:
                near.ring(incoming, response, contact_features_of(response))
            if response.status == 180:
                await self._notify(SessionEvent.ALERTING)
        response = await transaction.final()
        if not response.is_success:
            raise _Refused(response)
        await far.confirm(request, response)
        self._on_leg(self, far)
        self._check_wanted(incoming)
        answered = self.model.finish(exchange, _description(response))
        await self._carry_out(answered)
        self._check_wanted(incoming)
        return answered, response

    def _check_wanted(self, incoming: IncomingRequest) -> None:
        if incoming.cancelled.is_set():
            raise RemoteProtocolError("the caller gave up", sip_status_hint=487)
        if self._is_withdrawn:
            raise RemoteProtocolError("hung up during set-up", sip_status_hint=480)

    # --- requests inside the dialogs -------------------------------------------------------------
    async def receive(self, side: Side, incoming: IncomingRequest) -> None:
        """Take a request inside one leg's dialog.

        Raises:
            RemoteProtocolError: it is out of order; ``sip_status_hint`` says what to answer.
        """
        leg = self.legs[side]
        method = incoming.request.method
        if method == "ACK" or leg.dialog is None:
            return
        leg.dialog.receive_request(incoming.request)
        if method == "BYE":
            leg.is_ended = True
            incoming.reply(200)
            if self._is_established:
                await self.end(side)
            else:
                self._is_withdrawn = True
                self.legs[self.caller_side.other].cancel()
        elif method == "INVITE":
            await self._reoffer(side, incoming)
        elif method == "OPTIONS":
            incoming.reply(200)
        else:
            incoming.reply(405, headers=[("Allow", ALLOW)])

    async def _reoffer(self, side: Side, incoming: IncomingRequest) -> None:
        """Carry a re-INVITE to the other leg and its answer back; on failure nothing changes.

        Source: RFC 3261 14; TS 24.186 9.3.2.2.2.2 (an application line is added so).
        """
        near, far = self.legs[side], self.legs[side.other]
        description = _description(incoming.request)
        if not self.model.is_pending:
            await self._settled.wait()  # the ACK of the exchange before may still be on its way
        if self.is_ended:
            raise RemoteProtocolError("the call is over", sip_status_hint=481)
        exchange = self.model.begin(side, description)  # glare: 491
        try:
            if near.dialog is not None:
                near.dialog.refresh_target(incoming.request)
            incoming.when_cancelled(far.cancel)
            answered = await self._change(exchange, near, far)
        except _Refused as exc:
            await self._undo(exchange)
            _pass_on(incoming, exc.response)
            if exc.response.status in DIALOG_ENDING_STATUSES:
                far.is_ended = True
                await self.end(side.other)
            return
        except DcsdkError as exc:
            await self._undo(exchange)
            status = 408 if isinstance(exc, OperationTimeout) else 500
            if isinstance(exc, RemoteProtocolError):
                status = exc.sip_status_hint or 502
            self._refuse(incoming, status, exc)
            return
        self._settled.clear()
        try:
            await near.accept(incoming, answered.answer, far.features)
            await self._notify(SessionEvent.MEDIA_CHANGE_SUCCESS)
        except DcsdkError as exc:
            logger.info("session=%s a re-INVITE was not acknowledged: %s", self.session_id, exc)
            await self.end(side)
        finally:
            self._settled.set()

    async def _change(self, exchange: PassingOffer, near: B2buaLeg, far: B2buaLeg) -> Answered:
        decisions: Mapping[str, Decision] = {}
        if exchange.questions and self._control is not None:
            initiator = Initiator.SERVED if near.side is Side.SERVED else Initiator.REMOTE
            decisions = await self._decisions(
                self._control.media_change(self.session_id, initiator, exchange.questions)
            )
        offer = self.model.decide(exchange, decisions)
        response = await far.reinvite(offer, near.features)
        if not response.is_success:
            raise _Refused(response)
        answered = self.model.finish(exchange, _description(response))
        await self._carry_out(answered)
        return answered

    async def _undo(self, exchange: PassingOffer) -> None:
        media_ids = self.model.undo(exchange)
        if self._control is None:
            return
        if media_ids:
            await self._tell(self._control.delete_media(self.session_id, media_ids))
        if exchange.changes:
            await self._notify(SessionEvent.MEDIA_CHANGE_FAILURE)

    # --- the end ---------------------------------------------------------------------------------
    async def end(self, side: Side, *, is_failure: bool = False) -> None:
        """End both legs and give up what the DCSF and the MF have for the call. Idempotent.

        Args:
            side: whose doing it is.
            is_failure: the call never was established.
        """
        if self.is_ended:
            return
        self.is_ended = True
        self._on_ended(self)
        self._settled.set()
        await finish_all(leg.bye() for leg in self.legs.values())
        if self._control is not None:
            initiator = Initiator.SERVED if side is Side.SERVED else Initiator.REMOTE
            await self._tell(
                self._control.session_ended(self.session_id, initiator, is_failure=is_failure)
            )

    # --- inside ----------------------------------------------------------------------------------
    @property
    def session_id(self) -> str:
        """Ours, unique in this IMS AS."""
        return self.info.session_id

    async def _decisions(
        self, question: Awaitable[Mapping[str, Decision]]
    ) -> Mapping[str, Decision]:
        """Ask; without an answer the lines are refused and the call goes on."""
        try:
            return await question
        except DcsdkError as exc:
            logger.warning("session=%s no decision on data channels: %s", self.session_id, exc)
            return {}

    async def _carry_out(self, answered: Answered) -> None:
        """Tell the MF what the users answered."""
        if self._control is None:
            return
        for media_id, media in answered.answered.items():
            await self._tell(self._control.media_answered(self.session_id, media_id, media))
        if answered.dropped_ids:
            await self._tell(self._control.delete_media(self.session_id, answered.dropped_ids))

    async def _notify(self, event: SessionEvent) -> None:
        if self._control is not None:
            await self._tell(self._control.notify(self.session_id, event))

    async def _tell(self, message: Awaitable[None]) -> None:
        """Tell DCSF or MF; a failure is logged, since the call goes on without them."""
        try:
            await message
        except DcsdkError as exc:
            logger.warning("session=%s not told: %s", self.session_id, exc)

    def _refuse(self, incoming: IncomingRequest, status: int, error: DcsdkError) -> None:
        logger.info("session=%s refused status=%s: %s", self.session_id, status, error)
        if incoming.is_answered:
            return
        text = str(error).replace("\\", "/").replace('"', "'")
        headers = [("Warning", f'399 ims-as "{text}"')] if text.isprintable() else []
        incoming.reply(status, headers=headers)


def _pass_on(incoming: IncomingRequest, response: Response) -> None:
    """Answer with what the other leg answered."""
    if not incoming.is_answered:
        headers = keep_headers(response.headers, "Warning", "Retry-After", "Reason", "Server")
        incoming.reply(response.status, response.reason, headers=headers)


def _description(message: Request | Response) -> SessionDescription:
    """Read the body.

    Raises:
        RemoteProtocolError: there is none (488), or it cannot be read (400, from a 2xx 502).
    """
    is_request = isinstance(message, Request)
    if not message.body or message.content_type != CONTENT_TYPE:
        raise RemoteProtocolError(
            "an SDP body is needed", sip_status_hint=488 if is_request else 502
        )
    try:
        return SessionDescription.parse(message.body)
    except ParseError as exc:
        raise RemoteProtocolError(
            f"SDP: {exc}", sip_status_hint=400 if is_request else 502
        ) from exc
