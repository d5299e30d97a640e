"""Stateful proxying of one request to one next hop.

Source: RFC 3261 16.6 to 16.10.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from dcsdk.errors import DcsdkError, LocalProtocolError, OperationTimeout, RemoteProtocolError
from dcsdk.io.sip.endpoint import IncomingRequest, SipEndpoint
from dcsdk.io.sip.transport import Flow
from dcsdk.sip.proxying import without_top_via
from dcsdk.sip.syntax.message import Request, Response

logger = logging.getLogger(__name__)

ResponseFilter = Callable[[Response], Response]


def _unchanged(response: Response) -> Response:
    return response


async def relay(
    endpoint: SipEndpoint,
    incoming: IncomingRequest,
    request: Request,
    flow: Flow,
    *,
    change: ResponseFilter = _unchanged,
) -> Response | None:
    """Pass a request on and its responses back, until the final one.

    CANCEL goes on downstream, 100 stays here, each 2xx to an INVITE is passed back even after
    this returned. A next hop that does not answer becomes 408, one that cannot be reached 500
    (16.7 item 6, 16.8, 16.9).

    Args:
        endpoint: sends the request.
        incoming: what is answered.
        request: what is sent: a copy of ``incoming.request`` after routing, without our Via.
        flow: the next hop.
        change: what to do to each response before it goes back, our Via gone already.

    Returns:
        the final response as it went back, or ``None`` when the caller is gone.

    Raises:
        LocalProtocolError: an ACK; use :meth:`SipEndpoint.forward` for the ACK of a 2xx.
    """
    if request.method == "ACK":
        raise LocalProtocolError("an ACK is forwarded without a transaction")

    sent: Response | None = None

    def pass_back(response: Response) -> None:
        nonlocal sent
        if response.status != 100:
            sent = _pass_back(incoming, response, change)

    transaction = endpoint.send(request, flow, on_response=pass_back)
    incoming.when_cancelled(transaction.cancel)
    try:
        await transaction.final()
        return sent
    except DcsdkError as exc:
        logger.info("proxy: %s to %s failed: %s", request.method, flow.remote, exc)
        return _answer_for(incoming, exc)
    finally:
        if not transaction.is_done:
            transaction.cancel()


def _pass_back(
    incoming: IncomingRequest, response: Response, change: ResponseFilter
) -> Response | None:
    try:
        upstream = change(without_top_via(response))
        incoming.respond(upstream)
    except (RemoteProtocolError, LocalProtocolError) as exc:
        logger.info("proxy: %s is not passed back: %s", response.status, exc)
        return None
    return upstream


def _answer_for(incoming: IncomingRequest, error: DcsdkError) -> Response | None:
    if incoming.is_answered:
        return None
    if incoming.cancelled.is_set():
        status = 487
    else:
        status = 408 if isinstance(error, OperationTimeout) else 500
    response = incoming.request.response(status, to_tag=incoming.local_tag)
    incoming.respond(response)
    return response
