"""The IMS AS: the SIP application server that handles data channels.

It is a back-to-back user agent on ISC. A call between two of our users passes it twice, once for
each served user, with a dialog of its own each time: first as *originating* AS of the caller,
then, behind the S-CSCF, as *terminating* AS of the callee. That is what TS 23.228 AC.7 draws (two
IMS ASs, two DCSFs, two MFs) and it is also the simplest: each :class:`ServedCall` knows one served
user, whose bootstrap lines it ends, and the rest of the world, to which it passes everything else.
A caller of another network, or a callee there, needs no other code.

The HTTP half (DCSF and MF) is behind :class:`dcsdk.emulator.sbi.dc_control.DcControl`.

Source: TS 24.186 9.3.2.2, 9.3.3.2; TS 23.228 AC.7; TS 24.229 5.7.5.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable

from dcsdk.emulator.app_server.b2bua_leg import ALLOW, B2buaLeg
from dcsdk.emulator.app_server.served_call import ServedCall
from dcsdk.emulator.app_server.session_model import SessionModel, Side
from dcsdk.emulator.core.hss import Hss, HssError
from dcsdk.emulator.core.sip_node import SipNode, UnsupportedOption, reject_options
from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.emulator.sbi.dc_control import DcControl, SessionCase, SessionInfo
from dcsdk.errors import ParseError, RemoteProtocolError
from dcsdk.ims.feature_tags import is_dcmtsi_contact
from dcsdk.interfaces import Address
from dcsdk.io.sip.endpoint import IncomingRequest
from dcsdk.io.tasks import TaskSet
from dcsdk.sip.proxying import without_own_route
from dcsdk.sip.syntax.message import Request
from dcsdk.sip.syntax.uri import NameAddr, SipUri
from dcsdk.sip.transactions.timers import RFC3261_TIMERS, SipTimers

logger = logging.getLogger(__name__)

MAX_CALLS = 10_000
"""Calls served at once; a call between two of our users counts twice. More get 503."""

LegKey = tuple[str, str | None, str | None]


class ImsAs:
    """The SIP half of the IMS AS.

    Args:
        bus: where messages are shown.
        hss: which users may have data channels, and whether their terminal can (Sh, ISC).
        control: the HTTP half, or ``None`` in a network without data channels.
        marks_e2dce: write ``a=3ge2dce:applied`` on lines that our MF ends.
        timers: SIP timer values.
        clock: seconds since the epoch, that of the registrar.
    """

    def __init__(
        self,
        bus: TraceBus,
        *,
        hss: Hss,
        control: DcControl | None,
        marks_e2dce: bool = False,
        timers: SipTimers = RFC3261_TIMERS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._hss = hss
        self._control = control
        self._marks_e2dce = marks_e2dce
        self._clock = clock
        self._node = SipNode(
            "IMS-AS", bus, on_request=self._handle, timers=timers, is_user_agent=True
        )
        self._tasks = TaskSet("IMS-AS")
        self._address: Address = ("", 0)
        self._ids = itertools.count(1)
        self._run_id = os.urandom(4).hex()
        self._calls: dict[str, ServedCall] = {}
        self._legs: dict[LegKey, tuple[ServedCall, Side]] = {}

    @property
    def calls(self) -> tuple[ServedCall, ...]:
        """The calls being served; a call between two of our users is there twice."""
        return tuple(self._calls.values())

    async def start(self, host: str, port: int = 0) -> SipUri:
        """Listen on TCP; returns our URI.

        Raises:
            TransportError: the address cannot be bound.
        """
        self._address = await self._node.listen("tcp", host, port)
        return self.uri

    @property
    def uri(self) -> SipUri:
        """Where the S-CSCF sends INVITEs."""
        host, port = self._address
        return SipUri(host=host, port=port, parameters=(("transport", "tcp"),))

    async def aclose(self) -> None:
        """Close every socket; calls are dropped without a word. Idempotent and bounded."""
        await self._node.aclose()
        await self._tasks.aclose()
        self._calls.clear()
        self._legs.clear()

    # --- requests --------------------------------------------------------------------------------
    async def _handle(self, incoming: IncomingRequest) -> None:
        request = incoming.request
        if request.to.tag is not None:
            await self._inside_dialog(incoming)
        elif request.method != "INVITE":
            incoming.reply(405, headers=[("Allow", ALLOW)])
        else:
            try:
                await self._invite(incoming)
            except UnsupportedOption as exc:
                incoming.reply(420, headers=[("Unsupported", ", ".join(exc.names))])
            except HssError as exc:
                logger.error("INVITE: %s", exc)
                incoming.reply(500)

    async def _inside_dialog(self, incoming: IncomingRequest) -> None:
        request = incoming.request
        found = self._legs.get((request.call_id, request.to.tag, request.from_.tag))
        if found is not None:
            call, side = found
            await call.receive(side, incoming)
        elif request.method != "ACK":
            incoming.reply(481)

    async def _invite(self, incoming: IncomingRequest) -> None:
        """Serve a call for the user that P-Served-User names."""
        reject_options(incoming.request, "Require", frozenset())
        if len(self._calls) >= MAX_CALLS:
            incoming.reply(503, headers=[("Retry-After", "5")])
            return
        source, _ = without_own_route(incoming.request, self._node.is_own)
        case = _session_case(source)
        info = SessionInfo(
            session_id=f"{self._run_id}-{next(self._ids)}",
            calling_identity=_asserted(source),
            called_identity=str(source.uri),
            session_case=case,
        )
        has_channels = self._control is not None and self._may_have_channels(info)
        host, _ = self._address
        call = ServedCall(
            info,
            legs={
                side: B2buaLeg(
                    self._node,
                    contact=SipUri(
                        user=f"{side.value}-{info.session_id}",
                        host=host,
                        port=self._address[1],
                        parameters=(("transport", "tcp"),),
                    ),
                    tasks=self._tasks,
                    side=side,
                )
                for side in Side
            },
            model=SessionModel(
                origin_host=host,
                origin_id=int.from_bytes(os.urandom(6), "big"),
                dc_allowed=has_channels,
                marks_e2dce=self._marks_e2dce,
            ),
            control=self._control if has_channels else None,
            on_leg=self._add_leg,
            on_ended=self._forget,
        )
        self._calls[info.session_id] = call
        await call.establish(incoming, source)

    # --- who may what ----------------------------------------------------------------------------
    def _may_have_channels(self, info: SessionInfo) -> bool:
        """The served user has subscribed, and a called user's terminal can (TS 24.186 9.3)."""
        subscriber = self._hss.owner_of(info.served_identity)
        if subscriber is None or not subscriber.dc_allowed:
            return False
        if info.session_case is SessionCase.ORIGINATING:
            return True
        bindings = self._hss.bindings(info.served_identity, now=self._clock())
        return bool(bindings) and is_dcmtsi_contact(NameAddr.parse(bindings[-1].contact).parameters)

    # --- the calls -------------------------------------------------------------------------------
    def _add_leg(self, call: ServedCall, leg: B2buaLeg) -> None:
        if leg.dialog is not None:
            self._legs[leg.dialog.key] = (call, leg.side)

    def _forget(self, call: ServedCall) -> None:
        self._calls.pop(call.info.session_id, None)
        for leg in call.legs.values():
            if leg.dialog is not None:
                self._legs.pop(leg.dialog.key, None)


def _session_case(request: Request) -> SessionCase:
    """Read P-Served-User (RFC 5502).

    Raises:
        RemoteProtocolError: absent or without a case; answer 400.
    """
    try:
        served = request.name_addrs("P-Served-User")
        case = served[0].param("sescase") if served else None
    except ParseError as exc:
        raise RemoteProtocolError(f"P-Served-User: {exc}", sip_status_hint=400) from exc
    if case == "orig":
        return SessionCase.ORIGINATING
    if case == "term":
        return SessionCase.TERMINATING
    raise RemoteProtocolError("no sescase", source="RFC 5502 4.2", sip_status_hint=400)


def _asserted(request: Request) -> str:
    """The calling identity: P-Asserted-Identity, else From (TS 24.186 9.3.2.2)."""
    asserted = request.name_addrs("P-Asserted-Identity")
    return str((asserted[0] if asserted else request.from_).uri)
