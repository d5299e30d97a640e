"""Calls of the SIP signalling plug-in: the user agent's byte bodies become SDP.

Source: RFC 3264 (offer and answer), RFC 3261 13, 14.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from dcsdk.errors import ParseError, RemoteProtocolError
from dcsdk.interfaces import (
    IncomingInvitation,
    OutgoingInvitation,
    Reoffer,
    SignallingDialog,
)
from dcsdk.io.mailbox import Mailbox
from dcsdk.io.sip.call import SDP, CallLeg, IncomingReoffer
from dcsdk.io.sip.invitation import IncomingInvite, OutgoingInvite
from dcsdk.sdp.session import SessionDescription
from dcsdk.sip.syntax.message import Response


class SipReoffer(Reoffer):
    """A re-INVITE of the peer that waits for its answer."""

    def __init__(self, incoming: IncomingReoffer, offer: SessionDescription) -> None:
        self.offer = offer
        self._incoming = incoming

    async def accept(self, answer: SessionDescription) -> None:
        await self._incoming.accept(answer.encode())

    async def reject(self, status: int, reason: str | None = None) -> None:
        self._incoming.reject(status, reason)

    async def wait_withdrawn(self) -> None:
        await self._incoming.wait_withdrawn()


class _Reoffers(AsyncIterator[Reoffer]):
    """The re-INVITEs of a dialog; one whose SDP cannot be read is refused here."""

    def __init__(self, source: Mailbox[IncomingReoffer]) -> None:
        self._source = source

    async def __anext__(self) -> Reoffer:
        while True:
            incoming = await self._source.__anext__()
            try:
                return SipReoffer(incoming, SessionDescription.parse(incoming.body))
            except ParseError:
                incoming.reject(400, "Bad SDP")


class SipDialog(SignallingDialog):
    """One confirmed dialog.

    Args:
        leg: of the user agent.
        bye_timeout_s: how long ``bye`` waits for its answer.
    """

    def __init__(self, leg: CallLeg, bye_timeout_s: float) -> None:
        self.call_id = leg.dialog.call_id
        self.remote_uri = leg.remote_uri
        self.asserted_identity = leg.asserted_identity
        self._leg = leg
        self._bye_timeout_s = bye_timeout_s

    async def reoffer(self, offer: SessionDescription, *, timeout_s: float) -> SessionDescription:
        response = await self._leg.reinvite(offer.encode(), timeout_s=timeout_s)
        return await read_answer(self._leg, response)

    async def wait_after_glare(self) -> None:
        await self._leg.wait_after_glare()

    def reoffers(self) -> AsyncIterator[Reoffer]:
        return _Reoffers(self._leg.reoffers)

    async def bye(self) -> None:
        await self._leg.bye(self._bye_timeout_s)

    async def wait_ended(self) -> str:
        return await self._leg.wait_ended()


class SipOutgoingInvitation(OutgoingInvitation):
    """An INVITE we sent."""

    def __init__(self, call: OutgoingInvite, bye_timeout_s: float) -> None:
        self._call = call
        self._bye_timeout_s = bye_timeout_s

    async def answered(self) -> tuple[SignallingDialog, SessionDescription]:
        leg, response = await self._call.answered()
        return SipDialog(leg, self._bye_timeout_s), await read_answer(leg, response)

    @property
    def progress(self) -> Sequence[int]:
        return tuple(self._call.progress)


class SipIncomingInvitation(IncomingInvitation):
    """An INVITE that waits for our answer."""

    def __init__(
        self, call: IncomingInvite, offer: SessionDescription | None, bye_timeout_s: float
    ) -> None:
        self.offer = offer
        self.call_id = call.leg.dialog.call_id
        self.remote_uri = call.leg.remote_uri
        self.asserted_identity = call.leg.asserted_identity
        self._call = call
        self._bye_timeout_s = bye_timeout_s

    async def ring(self) -> None:
        self._call.ring()

    async def accept(self, answer: SessionDescription) -> SignallingDialog:
        leg = await self._call.accept(answer.encode())
        return SipDialog(leg, self._bye_timeout_s)

    async def reject(self, status: int, reason: str | None = None) -> None:
        self._call.reject(status, reason)

    async def wait_ended(self) -> str:
        return await self._call.leg.wait_ended()


async def read_answer(leg: CallLeg, response: Response) -> SessionDescription:
    """Read the SDP answer of a 2xx; without one the call cannot go on and is ended.

    Raises:
        RemoteProtocolError: no SDP, or none that can be read; BYE was sent.
    """
    try:
        if response.content_type != SDP:
            raise ParseError(f"Content-Type is {response.content_type}", source="RFC 3264 5")
        return SessionDescription.parse(response.body)
    except ParseError as exc:
        await leg.bye()
        raise RemoteProtocolError(f"the 2xx carries no usable answer: {exc}") from exc
