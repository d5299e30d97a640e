"""One dialog of a back-to-back user agent, and the messages that belong to it.

Unlike a UE's dialog it decides nothing: what the other leg says is what happens here, and a 491 is
passed on, since only the two users can end a glare. The S-CSCF never forks, so an INVITE has one
2xx.

Source: RFC 3261 12 to 15; RFC 7092 3.1 (B2BUA).
"""

from __future__ import annotations

import asyncio
import logging

from dcsdk.emulator.app_server.session_model import Side
from dcsdk.emulator.core.sip_node import SipNode, keep_headers
from dcsdk.errors import DcsdkError, RemoteProtocolError
from dcsdk.io.sip.endpoint import ClientTransaction, IncomingRequest
from dcsdk.io.tasks import TaskSet
from dcsdk.sdp.session import CONTENT_TYPE, SessionDescription
from dcsdk.sip.dialog import Dialog, DialogState
from dcsdk.sip.proxying import with_fewer_hops
from dcsdk.sip.syntax.headers import Headers
from dcsdk.sip.syntax.identifiers import new_call_id, new_tag
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import SipUri

logger = logging.getLogger(__name__)

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS"
BYE_TIMEOUT_S = 4.0
"""How long an unanswered BYE is waited for."""

_COPIED = (
    "P-Asserted-Identity",
    "Privacy",
    "Accept-Contact",
    "Reject-Contact",
    "P-Asserted-Service",
    "P-Charging-Vector",
    "Subject",
    "User-Agent",
)
"""What an INVITE takes along to the other leg."""

_COPIED_BACK = (
    "P-Asserted-Identity",
    "Privacy",
    "Server",
    "Warning",
    "Retry-After",
    "Reason",
)
"""What a response takes along to the other leg."""

_OWN_FEATURES = frozenset({"+sip.instance", "+sip.ice"})
"""Contact parameters that belong to one user agent and not to the call."""
_PLAIN_FEATURES = frozenset({"audio", "video", "text"})


class B2buaLeg:
    """One leg of a served call.

    Args:
        node: sends and receives.
        contact: our Contact URI.
        tasks: where a repeated ACK is sent from.
        side: which leg this is.

    Attributes:
        dialog: ``None`` until there is one.
        features: Contact features of this leg's user, as they are written; shown on the other leg.
        is_ended: no request may be sent any more.
    """

    def __init__(self, node: SipNode, *, contact: SipUri, tasks: TaskSet, side: Side) -> None:
        self.side = side
        self.dialog: Dialog | None = None
        self.features = ""
        self.is_ended = False
        self._node = node
        self._contact = contact
        self._tasks = tasks
        self._pending: ClientTransaction | None = None

    # --- a user calls ----------------------------------------------------------------------------
    def take_invite(self, incoming: IncomingRequest) -> None:
        """Make the dialog of an INVITE that came.

        Raises:
            RemoteProtocolError: it makes none; answer 400.
        """
        self.dialog = Dialog.from_request(incoming.request, local_tag=incoming.local_tag)
        self.features = contact_features_of(incoming.request)

    def ring(self, incoming: IncomingRequest, response: Response, features: str) -> None:
        """Pass a provisional response of the other leg on, without its body."""
        if not incoming.is_answered:
            incoming.reply(
                response.status,
                response.reason,
                headers=[*self._headers(features), *keep_headers(response.headers, *_COPIED_BACK)],
            )

    async def accept(
        self,
        incoming: IncomingRequest,
        answer: SessionDescription,
        features: str,
        extra: Headers | None = None,
    ) -> None:
        """Answer an INVITE or re-INVITE with 200 and wait for its ACK.

        Raises:
            OperationTimeout: no ACK in 64*T1.
            TransportError: the connection closed.
        """
        if self.dialog is not None:
            self.dialog.state = DialogState.CONFIRMED
        headers = self._headers(features)
        if extra is not None:
            headers += keep_headers(extra, *_COPIED_BACK)
        response = incoming.request.response(
            200,
            to_tag=incoming.local_tag,
            headers=headers,
            body=answer.encode(),
            content_type=CONTENT_TYPE,
        )
        await incoming.respond_until_acked(response)

    # --- we call ---------------------------------------------------------------------------------
    def make_invite(self, source: Request, offer: SessionDescription, features: str) -> Request:
        """Make the INVITE of this leg from the one that came on the other leg.

        Args:
            source: as it came, our own Route gone already.
            offer: for this leg.
            features: Contact features of the other leg's user.

        Raises:
            RemoteProtocolError: Max-Forwards is used up; answer 483.
        """
        entropy = self._node.endpoint.entropy
        headers = Headers(keep_headers(with_fewer_hops(source).headers, "Route", "Max-Forwards"))
        caller = source.from_.without_param("tag").with_param("tag", new_tag(entropy))
        headers.add("From", str(caller))
        headers.add("To", str(source.to.without_param("tag")))
        headers.add("Call-ID", new_call_id(entropy))
        headers.add("CSeq", "1 INVITE")
        headers.extend(self._headers(features))
        headers.extend(keep_headers(source.headers, *_COPIED))
        headers.add("Content-Type", CONTENT_TYPE)
        return Request("INVITE", source.uri, headers, offer.encode())

    async def start_invite(self, request: Request) -> ClientTransaction:
        """Send the INVITE of this leg. The caller reads the responses.

        Raises:
            RemoteProtocolError: the next hop cannot be reached; answer 503.
        """
        flow = await self._node.next_hop(request)
        self._pending = self._node.endpoint.send(
            request, flow, on_response=lambda response: self._repeated(request, response)
        )
        return self._pending

    async def confirm(self, request: Request, response: Response) -> None:
        """Take the 2xx of ``start_invite``: make the dialog and acknowledge.

        Raises:
            RemoteProtocolError: it makes no dialog.
        """
        self._pending = None
        self.dialog = Dialog.from_response(request, response)
        self.features = contact_features_of(response)
        await self._acknowledge(self.dialog, request)

    async def reinvite(self, offer: SessionDescription, features: str) -> Response:
        """Send a re-INVITE and return its final response, whatever that is. A 2xx is acknowledged.

        Raises:
            RemoteProtocolError: there is no dialog any more (481).
            OperationTimeout: no final response.
            TransportError: it could not be sent.
        """
        if self.dialog is None or self.is_ended:
            raise RemoteProtocolError("the other leg is over", sip_status_hint=481)
        request = self.dialog.request(
            "INVITE",
            headers=self._headers(features),
            body=offer.encode(),
            content_type=CONTENT_TYPE,
        )
        transaction = await self.start_invite(request)
        try:
            response = await transaction.final()
        finally:
            self._pending = None
            if not transaction.is_done:
                transaction.cancel()
        if response.is_success:
            self.dialog.refresh_target(response)
            await self._acknowledge(self.dialog, request)
        return response

    def cancel(self) -> None:
        """Cancel the INVITE or re-INVITE that is on its way."""
        if self._pending is not None:
            self._pending.cancel()

    async def bye(self) -> None:
        """End the dialog, if there is one; bounded. Idempotent."""
        dialog, is_ended = self.dialog, self.is_ended
        self.is_ended = True
        self.cancel()
        if dialog is None or is_ended or dialog.state is not DialogState.CONFIRMED:
            return
        dialog.state = DialogState.TERMINATED
        request = dialog.request("BYE")
        try:
            async with asyncio.timeout(BYE_TIMEOUT_S):
                flow = await self._node.next_hop(request)
                await self._node.endpoint.send(request, flow).final()
        except (TimeoutError, DcsdkError) as exc:
            logger.info("call=%s BYE was not answered: %s", dialog.call_id, exc)

    # --- inside ----------------------------------------------------------------------------------
    def _headers(self, features: str) -> list[tuple[str, str]]:
        return [("Contact", f"<{self._contact}>{features}"), ("Allow", ALLOW)]

    def _repeated(self, request: Request, response: Response) -> None:
        """Acknowledge a 2xx that comes again: our first ACK was lost."""
        dialog = self.dialog
        if response.is_success and dialog is not None and self._pending is None:
            self._tasks.start(self._acknowledge(dialog, request), name="repeated ACK")

    async def _acknowledge(self, dialog: Dialog, request: Request) -> None:
        ack = dialog.ack(request.cseq.number)
        try:
            self._node.endpoint.send_ack(ack, await self._node.next_hop(ack))
        except RemoteProtocolError as exc:
            logger.info("call=%s ACK cannot be sent: %s", dialog.call_id, exc)


def contact_features_of(message: Request | Response) -> str:
    """The feature tags of a Contact, as parameters to be written behind ours."""
    contacts = message.contacts
    return "".join(
        f";{name}" if value is None else f";{name}={value}"
        for name, value in (contacts[0].parameters if contacts else ())
        if (name.startswith("+") or name.lower() in _PLAIN_FEATURES)
        and name.lower() not in _OWN_FEATURES
    )
