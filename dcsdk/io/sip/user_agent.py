"""The user agent core: which dialog a request belongs to, and what answers one outside of any.

Source: RFC 3261 8, 11, 12.2.2, 13.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from dcsdk.errors import LocalProtocolError, ParseError, RemoteProtocolError
from dcsdk.ims.feature_tags import format_feature
from dcsdk.io.sip.call import SDP, CallLeg
from dcsdk.io.sip.endpoint import IncomingRequest, SipEndpoint, contact_uri
from dcsdk.io.sip.flow import Flow
from dcsdk.io.sip.invitation import IncomingInvite, OutgoingInvite, asserted_identity
from dcsdk.io.tasks import TaskSet, finish_all
from dcsdk.sip.dialog import Dialog
from dcsdk.sip.syntax.headers import Headers
from dcsdk.sip.syntax.identifiers import new_call_id, new_tag
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import SipUri, Uri, parse_uri
from dcsdk.sip.transactions.client_transaction import MAX_FORWARDS

logger = logging.getLogger(__name__)

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS"
SUPPORTED = "path"
SUPPORTED_OPTIONS = frozenset({"path", "sec-agree"})
MAX_LEGS = 10_000
"""Dialogs of one user agent; an INVITE beyond gets 486."""

RetryHeaders = Callable[[Request, Response], "list[tuple[str, str]] | None"]


class SipUserAgent:
    """Dialogs and invitations on an endpoint, whose ``on_request`` is to be :meth:`handle`.

    Args:
        identity: our address of record, for From.
        user: user part of our Contact.
        on_call: called with each INVITE that makes a new dialog.
        user_agent: ``User-Agent`` of what we send.
        extra_headers: asked for further headers of each request, by method and flow:
            ``P-Access-Network-Info``, ``Security-Verify`` ...
        retry_headers: asked after 401, 407 and 494 to an INVITE for the headers with which it is
            sent again, ``None`` for none.
        timeout_s: how long an INVITE of ours may stay unanswered.

    Attributes:
        endpoint: set by :meth:`attach`.
        features: Contact features of answers to INVITE.
        route: Route of requests outside of dialogs, as written.
        is_closed: no task is started any more.
    """

    def __init__(
        self,
        *,
        identity: str,
        user: str | None,
        on_call: Callable[[IncomingInvite], None],
        user_agent: str = "dcsdk",
        extra_headers: Callable[[str, Flow], list[tuple[str, str]]] = lambda _, __: [],
        retry_headers: RetryHeaders = lambda _, __: None,
        timeout_s: float = 180.0,
    ) -> None:
        self.endpoint: SipEndpoint
        self.features: Mapping[str, str | None] = {}
        self.route: tuple[str, ...] = ()
        self._identity = identity
        self._user = user
        self._on_call = on_call
        self._user_agent = user_agent
        self._extra_headers = extra_headers
        self._retry_headers = retry_headers
        self._timeout_s = timeout_s
        self._legs: dict[tuple[str, str | None, str | None], CallLeg] = {}
        self._outgoing: set[OutgoingInvite] = set()
        self._tasks = TaskSet("sip user agent")
        self._is_closing = self.is_closed = False

    def attach(self, endpoint: SipEndpoint) -> None:
        """Use this endpoint."""
        self.endpoint = endpoint

    @property
    def legs(self) -> tuple[CallLeg, ...]:
        """The dialogs that are not over."""
        return tuple(self._legs.values())

    # --- calls -----------------------------------------------------------------------------------
    def invite(
        self,
        target: str,
        body: bytes,
        flow: Flow,
        *,
        features: Mapping[str, str | None],
        headers: Iterable[tuple[str, str]] = (),
    ) -> OutgoingInvite:
        """Send an INVITE with an SDP offer.

        Args:
            target: URI of the callee.
            body: the offer.
            flow: next hop.
            features: Contact feature parameters.
            headers: further headers.

        Raises:
            ParseError: the target is no URI.
            LocalProtocolError: it asks for more than a call.
        """
        uri = call_target(target)
        entropy = self.endpoint.entropy
        written = format_features(features)
        lines = Headers([("Route", route) for route in self.route])
        lines.add("Max-Forwards", MAX_FORWARDS)
        lines.add("From", f"<{self._identity}>;tag={new_tag(entropy)}")
        lines.add("To", f"<{uri}>")
        lines.add("Call-ID", new_call_id(entropy))
        lines.add("CSeq", "1 INVITE")
        lines.extend(self.invite_headers(written, flow))
        lines.extend(headers)
        lines.add("Content-Type", SDP)
        request = Request(method="INVITE", uri=uri, headers=lines, body=body)
        call = OutgoingInvite(self, request, flow, written, self._timeout_s)
        self._outgoing.add(call)
        call.when_done(lambda: self._outgoing.discard(call))
        return call

    async def handle(self, incoming: IncomingRequest) -> None:
        """Take a request from the endpoint.

        Raises:
            RemoteProtocolError: the request breaks a rule; ``sip_status_hint`` answers it.
        """
        request = incoming.request
        tag = request.to.tag
        if tag is not None:
            leg = self._legs.get((request.call_id, tag, request.from_.tag))
            if leg is not None:
                leg.receive(incoming)
            elif request.method != "ACK":
                incoming.reply(481)
        elif request.method == "INVITE":
            self._receive_invite(incoming)
        elif request.method != "ACK":
            self.answer_outside(incoming)

    def answer_outside(self, incoming: IncomingRequest) -> None:
        """Answer what is neither INVITE, BYE nor ACK: OPTIONS with 200, the rest with 405."""
        if self.refuses_extensions(incoming):
            return
        method = incoming.request.method
        if method == "OPTIONS":
            incoming.reply(200, headers=self._abilities())
        elif method == "BYE":
            incoming.reply(481)
        else:
            incoming.reply(405, headers=[("Allow", ALLOW)])

    async def aclose(self, timeout_s: float = 3.0) -> None:
        """End every call: CANCEL, BYE, refusals. Idempotent; bounded by ``timeout_s``."""
        self._is_closing = True
        await self.end_calls(timeout_s)
        self.is_closed = True
        await self._tasks.aclose()

    async def end_calls(self, timeout_s: float) -> None:
        """End every call that is up or under way, bounded by ``timeout_s``."""
        for call in list(self._outgoing):
            call.cancel()
        await finish_all(leg.bye(timeout_s) for leg in self.legs)

    # --- for calls and dialogs -------------------------------------------------------------------
    def start(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run a task that ends with the user agent at the latest."""
        return self._tasks.start(work, name=name)

    def end_later(self, leg: CallLeg) -> None:
        """End a dialog with BYE in a task of ours; when we are closed already, without."""
        if self.is_closed:
            leg.finish("the user agent closed")
        else:
            self._tasks.start(leg.bye(), name="BYE")

    def add(self, leg: CallLeg) -> None:
        """Know a dialog, so that requests find it."""
        self._legs[leg.dialog.key] = leg

    def forget(self, leg: CallLeg) -> None:
        """A dialog is over; unknown ones are no error."""
        if self._legs.get(leg.dialog.key) is leg:
            del self._legs[leg.dialog.key]

    def end_all(self, reason: str) -> None:
        """The network is gone: every dialog is over, without BYE."""
        for leg in self.legs:
            leg.finish(reason)

    def move(self, old: Flow, new: Flow) -> None:
        """Dialogs of a connection that was replaced go on over the new one."""
        for leg in self.legs:
            if leg.flow == old:
                leg.flow = new

    def common_headers(self, method: str, flow: Flow) -> list[tuple[str, str]]:
        """Headers of every request of ours."""
        return [("User-Agent", self._user_agent), *self._extra_headers(method, flow)]

    def invite_headers(self, features: str, flow: Flow) -> list[tuple[str, str]]:
        """Headers of every INVITE of ours."""
        return [
            ("Contact", f"<{contact_uri(flow, self._user)}>{features}"),
            ("Allow", ALLOW),
            ("Supported", SUPPORTED),
            *self.common_headers("INVITE", flow),
        ]

    def answer_headers(self, features: str, flow: Flow) -> list[tuple[str, str]]:
        """Headers of a 18x or 2xx of ours to INVITE."""
        return [
            ("Contact", f"<{contact_uri(flow, self._user)}>{features}"),
            ("Allow", ALLOW),
            ("Supported", SUPPORTED),
            ("Server", self._user_agent),
        ]

    def retry(self, request: Request, response: Response) -> Request | None:
        """Make the INVITE anew after 401, 407 or 494, ``None`` when there is no way."""
        if response.status not in (401, 407, 494):
            return None
        headers = self._retry_headers(request, response)
        if headers is None:
            return None
        again = request.copy()
        again.headers.set("CSeq", f"{request.cseq.number + 1} INVITE")
        for name, value in headers:
            again.headers.set(name, value)
        return again

    # --- inside ----------------------------------------------------------------------------------
    def _receive_invite(self, incoming: IncomingRequest) -> None:
        request = incoming.request
        if self.refuses_extensions(incoming):
            return
        if not isinstance(request.uri, SipUri) and request.uri.scheme != "tel":
            incoming.reply(416)
        elif request.body and (
            request.content_type != SDP or "Content-Encoding" in request.headers
        ):
            incoming.reply(415, headers=[("Accept", SDP), ("Accept-Encoding", "identity")])
        elif self._is_closing or len(self._legs) >= MAX_LEGS:
            incoming.reply(480 if self._is_closing else 486)
        else:
            dialog = Dialog.from_request(request, local_tag=incoming.local_tag)
            leg = CallLeg(self, dialog, incoming.flow, format_features(self.features))
            leg.asserted_identity = asserted_identity(request)
            if request.body:
                leg.exchange.begin_remote()
            self.add(leg)
            self._on_call(IncomingInvite(self, incoming, leg))

    def refuses_extensions(self, incoming: IncomingRequest) -> bool:
        """Answer 420 to what we cannot do (RFC 3261 8.2.2.3)."""
        try:
            required = incoming.request.headers.get_list("Require")
        except ParseError as exc:
            raise RemoteProtocolError(f"bad Require: {exc}", sip_status_hint=400) from exc
        unknown = [name for name in required if name.lower() not in SUPPORTED_OPTIONS]
        if unknown:
            incoming.reply(420, headers=[("Unsupported", ", ".join(unknown))])
        return bool(unknown)

    def _abilities(self) -> list[tuple[str, str]]:
        return [
            ("Allow", ALLOW),
            ("Accept", SDP),
            ("Supported", SUPPORTED),
            ("Server", self._user_agent),
        ]


def call_target(text: str) -> Uri:
    """Read whom to call. What a URI of a link may ask for besides is refused, not left out.

    Raises:
        ParseError: no URI.
        LocalProtocolError: it has headers or a method, which no Request-URI has.

    Source: RFC 3261 19.1.1 table 1, 19.1.5.
    """
    uri = parse_uri(text)
    if isinstance(uri, SipUri):
        names = ", ".join(name for name, _ in uri.headers)
        if names:
            raise LocalProtocolError(
                f"a call's target has no headers ({names}); leave out what follows its '?'",
                source="RFC 3261 19.1.5",
            )
        if uri.param("method") is not None:
            raise LocalProtocolError(
                "a call's target names no method; leave out ';method='", source="RFC 3261 19.1.1"
            )
    return uri


def format_features(features: Mapping[str, str | None]) -> str:
    """Write feature parameters as they follow a Contact address."""
    return "".join(f";{format_feature(name, value)}" for name, value in features.items())
