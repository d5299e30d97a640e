"""What the transaction layer reports, and how it tells transactions apart.

Source: RFC 3261 17.1.3 and 17.2.3 (matching), 9.2 (CANCEL).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from dcsdk.errors import ParseError
from dcsdk.sip.syntax.identifiers import MAGIC_COOKIE
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.transactions.client_transaction import (
    ClientEvent,
    InviteClientTransaction,
    NonInviteClientTransaction,
)
from dcsdk.sip.transactions.server_transaction import (
    InviteServerTransaction,
    NonInviteServerTransaction,
    ServerEvent,
)

FlowT = TypeVar("FlowT", bound=Hashable)
ClientTx: TypeAlias = InviteClientTransaction | NonInviteClientTransaction
ServerTx: TypeAlias = InviteServerTransaction | NonInviteServerTransaction


@dataclass(frozen=True, slots=True)
class RequestArrived(Generic[FlowT]):
    """A new request. ``transaction`` is ``None`` for the ACK of a 2xx, which has none."""

    request: Request
    flow: FlowT
    transaction: ServerTx | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The INVITE was cancelled, or its connection closed, before a final response.

    The CANCEL is answered; the user answers the INVITE with 487 (RFC 3261 9.2).
    """

    transaction: InviteServerTransaction


@dataclass(frozen=True, slots=True)
class ClientUpdate:
    """Something happened to a request of ours."""

    transaction: ClientTx
    event: ClientEvent


@dataclass(frozen=True, slots=True)
class ServerUpdate:
    """Something happened to a request we answer."""

    transaction: ServerTx
    event: ServerEvent


@dataclass(frozen=True, slots=True)
class StrayResponse(Generic[FlowT]):
    """A response that matches no transaction."""

    response: Response
    flow: FlowT


LayerEvent: TypeAlias = (
    RequestArrived[FlowT] | Cancelled | ClientUpdate | ServerUpdate | StrayResponse[FlowT]
)


def client_key(message: Request | Response) -> Hashable:
    """What a response and its request have in common (RFC 3261 17.1.3).

    Raises:
        ParseError: no readable Via or CSeq.
    """
    return ("client", message.top_via.branch, message.cseq.method)


def server_key(request: Request, *, method: str | None = None) -> Hashable:
    """What a request, its repetitions, its ACK and (by ``method``) its CANCEL have in common.

    A branch without the magic cookie comes from an RFC 2543 element and says nothing; then the
    fields that identify the request take its place.

    Raises:
        ParseError: Via, From, To, Call-ID or CSeq cannot be read, so that who holds the
            transaction need not fear that.

    Source: RFC 3261 17.2.3.
    """
    if request.cseq.method != request.method:
        raise ParseError("CSeq names another method", source="RFC 3261 8.1.1.5")
    from_tag, _, call_id = request.from_.tag, request.to.tag, request.call_id
    method = method or request.method
    if method == "ACK":
        method = "INVITE"
    via = request.top_via
    if via.branch is not None and via.branch.startswith(MAGIC_COOKIE):
        return ("server", via.branch, via.host.lower(), via.port, method)
    return (
        "server-2543",
        str(request.uri),
        from_tag,
        call_id,
        request.cseq.number,
        str(via),
        method,
    )


def ack_key(message: Request | Response) -> Hashable:
    """What a 2xx and its ACK have in common (RFC 3261 13.3.1.4)."""
    return (message.call_id, message.from_.tag, message.to.tag, message.cseq.number)
