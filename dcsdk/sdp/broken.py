"""What a peer did wrong in its SDP, as errors that a whole offer is refused with."""

from __future__ import annotations

from dcsdk.errors import ParseError, RemoteProtocolError


def remote_error(exc: ParseError) -> RemoteProtocolError:
    """Turn what a codec says into what the peer did; answered 488 when everything is refused."""
    message = str(exc).removesuffix(f" [{exc.source}]")
    error = RemoteProtocolError(message, source=exc.source, sip_status_hint=488)
    error.__cause__ = exc
    return error


def broken(message: str, source: str) -> RemoteProtocolError:
    """Return the error for a rule that a peer broke; answered 488 when nothing is left."""
    return RemoteProtocolError(message, source=source, sip_status_hint=488)
