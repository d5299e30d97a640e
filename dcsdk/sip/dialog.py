"""Dialogs: the state two user agents share, and the requests made and taken inside it.

Source: RFC 3261 12; 14.1 and 14.2 for re-INVITE.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from dcsdk.errors import LocalProtocolError, ParseError, RemoteProtocolError
from dcsdk.sip.syntax.headers import Headers
from dcsdk.sip.syntax.identifiers import Entropy, random_between
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import MAX_CSEQ, NameAddr, OpaqueUri, SipUri
from dcsdk.sip.transactions.client_transaction import MAX_FORWARDS

MAX_ROUTES = 32
"""Elements a route set may have."""


class DialogState(Enum):
    """RFC 3261 12.1: a dialog of a provisional response is early."""

    EARLY, CONFIRMED, TERMINATED = auto(), auto(), auto()


class Dialog:
    """One dialog, seen from our side.

    Attributes:
        call_id: of all its messages.
        local: our address with our tag.
        remote: the peer's address with the peer's tag (``None`` from an RFC 2543 peer).
        local_cseq: number of the last request sent.
        remote_cseq: number of the last request taken, ``None`` before the first.
        route_set: what each request's Route headers are made of.
        remote_target: where requests go, from the peer's Contact.
        is_call_id_owner: we made the Call-ID; decides the wait after 491 (RFC 3261 14.1).
        state: early, confirmed or terminated.
    """

    def __init__(
        self,
        *,
        call_id: str,
        local: NameAddr,
        remote: NameAddr,
        local_cseq: int,
        remote_cseq: int | None,
        route_set: tuple[NameAddr, ...],
        remote_target: SipUri | OpaqueUri,
        is_call_id_owner: bool,
        state: DialogState,
    ) -> None:
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.local_cseq = local_cseq
        self.remote_cseq = remote_cseq
        self.route_set = route_set
        self.remote_target = remote_target
        self.is_call_id_owner = is_call_id_owner
        self.state = state

    @classmethod
    def from_response(cls, invite: Request, response: Response) -> Dialog:
        """Make the dialog of an INVITE we sent, from a 101..299 response with a To tag.

        A 2xx without Contact breaks RFC 3261 12.1.1; the Request-URI stands in, so that the call
        can be acknowledged and ended.

        Raises:
            RemoteProtocolError: a header cannot be read.

        Source: RFC 3261 12.1.2.
        """
        try:
            return cls(
                call_id=invite.call_id,
                local=invite.from_,
                remote=response.to,
                local_cseq=invite.cseq.number,
                remote_cseq=None,
                route_set=tuple(reversed(_routes(response))),
                remote_target=_contact(response) or invite.uri,
                is_call_id_owner=True,
                state=DialogState.EARLY if response.status < 200 else DialogState.CONFIRMED,
            )
        except ParseError as exc:
            raise RemoteProtocolError(f"{response.status} makes no dialog: {exc}") from exc

    @classmethod
    def from_request(cls, invite: Request, *, local_tag: str) -> Dialog:
        """Make the dialog of an INVITE we received.

        Raises:
            RemoteProtocolError: no Contact, or a header that cannot be read; answer 400.

        Source: RFC 3261 12.1.1.
        """
        try:
            target = _contact(invite)
            if target is None:
                raise ParseError("no Contact", source="RFC 3261 8.1.1.8")
            return cls(
                call_id=invite.call_id,
                local=invite.to.with_param("tag", local_tag),
                remote=invite.from_,
                local_cseq=0,
                remote_cseq=invite.cseq.number,
                route_set=_routes(invite),
                remote_target=target,
                is_call_id_owner=False,
                state=DialogState.EARLY,
            )
        except ParseError as exc:
            raise RemoteProtocolError(
                f"the INVITE makes no dialog: {exc}", sip_status_hint=400
            ) from exc

    @property
    def key(self) -> tuple[str, str | None, str | None]:
        """Call-ID, local tag and remote tag (RFC 3261 12)."""
        return (self.call_id, self.local.tag, self.remote.tag)

    def confirm(self, response: Response) -> None:
        """A 2xx came: it decides the route set and the target anew (RFC 3261 13.2.2.4).

        Raises:
            RemoteProtocolError: a header cannot be read.
        """
        try:
            self.route_set = tuple(reversed(_routes(response)))
        except ParseError as exc:
            raise RemoteProtocolError(f"bad Record-Route: {exc}") from exc
        self.refresh_target(response)
        self.state = DialogState.CONFIRMED

    def refresh_target(self, message: Request | Response) -> None:
        """Take the peer's Contact from a target refresh request or its 2xx (RFC 3261 12.2).

        Raises:
            RemoteProtocolError: the Contact cannot be read.
        """
        try:
            self.remote_target = _contact(message) or self.remote_target
        except ParseError as exc:
            raise RemoteProtocolError(f"bad Contact: {exc}", sip_status_hint=400) from exc

    def receive_request(self, request: Request) -> None:
        """Take a request of the peer, in order; refresh the target where the method does that.

        Raises:
            RemoteProtocolError: the sequence number is not above the last one; answer 500.

        Source: RFC 3261 12.2.2.
        """
        if request.method in ("ACK", "CANCEL"):
            return
        number = request.cseq.number
        if self.remote_cseq is not None and number <= self.remote_cseq:
            raise RemoteProtocolError(
                f"CSeq {number} is not above {self.remote_cseq}",
                source="RFC 3261 12.2.2",
                sip_status_hint=500,
            )
        self.remote_cseq = number

    def request(
        self,
        method: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Request:
        """Make the next request inside the dialog; the endpoint adds the Via.

        Raises:
            LocalProtocolError: the sequence numbers are used up.

        Source: RFC 3261 12.2.1.1.
        """
        if self.local_cseq >= MAX_CSEQ:
            raise LocalProtocolError("sequence numbers are used up", source="RFC 3261 8.1.1.5")
        self.local_cseq += 1
        return self._make(method, self.local_cseq, headers, body, content_type)

    def ack(
        self,
        invite_cseq: int,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Request:
        """Make the ACK of a 2xx to the INVITE numbered ``invite_cseq`` (RFC 3261 13.2.2.4)."""
        return self._make("ACK", invite_cseq, headers, body, content_type)

    def _make(
        self,
        method: str,
        cseq: int,
        extra: Iterable[tuple[str, str]],
        body: bytes,
        content_type: str | None,
    ) -> Request:
        uri, routes = self._route()
        headers = Headers([("Route", str(route)) for route in routes])
        headers.add("Max-Forwards", MAX_FORWARDS)
        headers.add("From", str(self.local))
        headers.add("To", str(self.remote))
        headers.add("Call-ID", self.call_id)
        headers.add("CSeq", f"{cseq} {method}")
        for name, value in extra:
            headers.add(name, value)
        if content_type is not None:
            headers.add("Content-Type", content_type)
        return Request(method=method, uri=uri, headers=headers, body=body)

    def _route(self) -> tuple[SipUri | OpaqueUri, tuple[NameAddr, ...]]:
        """Request-URI and Route set; a first hop without ``lr`` is a strict router."""
        if not self.route_set:
            return self.remote_target, ()
        first = self.route_set[0].uri
        if not isinstance(first, SipUri) or first.param("lr") is not None:
            return self.remote_target, self.route_set
        return first, (*self.route_set[1:], NameAddr(uri=self.remote_target))


class OfferExchange:
    """At most one offer of a dialog waits for its answer, ours or the peer's.

    Source: RFC 3261 14.1, 14.2; RFC 3264 4; RFC 6337 2.
    """

    def __init__(self) -> None:
        self._is_local = False
        self._is_remote = False

    @property
    def is_pending(self) -> bool:
        """An offer waits for its answer."""
        return self._is_local or self._is_remote

    def begin_local(self) -> None:
        """We send an offer.

        Raises:
            LocalProtocolError: one waits already.
        """
        if self.is_pending:
            raise LocalProtocolError("an offer waits for its answer", source="RFC 3261 14.1")
        self._is_local = True

    def begin_remote(self) -> None:
        """The peer sent an offer.

        Raises:
            RemoteProtocolError: ours waits (answer 491), or the peer's own does (answer 500).
        """
        if self._is_local:
            raise RemoteProtocolError(
                "an offer of ours waits for its answer",
                source="RFC 3261 14.2",
                sip_status_hint=491,
            )
        if self._is_remote:
            raise RemoteProtocolError(
                "the peer's previous offer is not answered yet",
                source="RFC 3261 14.2",
                sip_status_hint=500,
            )
        self._is_remote = True

    def end(self) -> None:
        """The offer was answered or refused."""
        self._is_local = self._is_remote = False


def glare_wait_s(*, is_call_id_owner: bool, entropy: Entropy) -> float:
    """How long to wait after 491: 2.1..4 s for the owner of the Call-ID, else 0..2 s.

    Both in steps of 10 ms, so that two sides never try at once again.

    Source: RFC 3261 14.1.
    """
    low, high = (2.1, 4.0) if is_call_id_owner else (0.0, 2.0)
    return round(random_between(entropy, low, high), 2)


def _routes(message: Request | Response) -> tuple[NameAddr, ...]:
    routes = message.name_addrs("Record-Route")
    if len(routes) > MAX_ROUTES:
        raise ParseError(f"more than {MAX_ROUTES} Record-Route elements")
    return routes


def _contact(message: Request | Response) -> SipUri | OpaqueUri | None:
    contacts = message.contacts
    return contacts[0].uri if contacts else None
