"""What a proxy does to the messages it passes on.

Each function changes a copy and leaves what it was given alone.

Source: RFC 3261 16.3, 16.4, 16.6, 16.7.
"""

from __future__ import annotations

from collections.abc import Callable

from dcsdk.errors import ParseError, RemoteProtocolError
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import NameAddr, SipUri

DEFAULT_MAX_FORWARDS = 70


def with_fewer_hops(request: Request) -> Request:
    """Count Max-Forwards down; a request without it gets 70 (16.3 item 3, 16.6 item 3).

    Raises:
        RemoteProtocolError: it was 0 (answer 483), or no number (answer 400).
    """
    text = request.headers.get("Max-Forwards")
    if text is not None and not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise RemoteProtocolError("bad Max-Forwards", source="RFC 3261 20.22", sip_status_hint=400)
    if text is not None and int(text) == 0:
        raise RemoteProtocolError("too many hops", source="RFC 3261 16.3", sip_status_hint=483)
    hops = DEFAULT_MAX_FORWARDS if text is None else int(text) - 1
    copy = request.copy()
    copy.headers.set("Max-Forwards", str(hops))
    return copy


def without_own_route(
    request: Request, is_own: Callable[[SipUri], bool]
) -> tuple[Request, tuple[NameAddr, ...]]:
    """Take our own elements off the top of Route (16.4).

    Args:
        request: as received.
        is_own: tells whether a Route URI names this element.

    Returns:
        the request, and the elements taken off, topmost first: their URI parameters may say what
        we put there.

    Raises:
        RemoteProtocolError: a Route that cannot be read; answer 400.
    """
    copy = request.copy()
    taken: list[NameAddr] = []
    while (route := top_route(copy)) is not None:
        if not isinstance(route.uri, SipUri) or not is_own(route.uri):
            break
        copy.headers.pop_first("Route")
        taken.append(route)
    return copy, tuple(taken)


def top_route(request: Request) -> NameAddr | None:
    """The topmost Route element, where the request goes next, or ``None``.

    Raises:
        RemoteProtocolError: it cannot be read; answer 400.
    """
    try:
        routes = request.name_addrs("Route")
    except ParseError as exc:
        raise RemoteProtocolError(f"bad Route: {exc}", sip_status_hint=400) from exc
    return routes[0] if routes else None


def with_record_route(request: Request, uri: SipUri) -> Request:
    """Stay in the path of the dialog (16.6 item 4); ``lr`` is added when missing."""
    if uri.param("lr") is None:
        uri = uri.with_param("lr")
    copy = request.copy()
    copy.headers.prepend("Record-Route", f"<{uri}>")
    return copy


def without_top_via(response: Response) -> Response:
    """Take our own Via off a response that goes on upstream (16.7 item 3).

    Raises:
        RemoteProtocolError: no Via would be left, so it was for us.
    """
    copy = response.copy()
    copy.headers.pop_first("Via")
    if "Via" not in copy.headers:
        raise RemoteProtocolError("a response with our Via only", source="RFC 3261 16.7")
    return copy
