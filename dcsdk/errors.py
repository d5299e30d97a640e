"""Every error dcsdk raises on purpose.

A caller who catches :class:`DcsdkError` catches all of them. Messages say what was expected and
what came; they never hold a key, a password or a ticket.
"""

from __future__ import annotations


class DcsdkError(Exception):
    """Base of everything dcsdk raises on purpose.

    Args:
        message: what was expected and what came.
        source: the clause of the standard that decides, for example ``"RFC 8864 5.2"``.
    """

    def __init__(self, message: str, *, source: str | None = None) -> None:
        super().__init__(message if source is None else f"{message} [{source}]")
        self.source = source


class ConfigError(DcsdkError, ValueError):
    """The configuration, or the way a call was made, cannot work."""


class ProtocolError(DcsdkError):
    """A protocol rule was broken."""


class ParseError(ProtocolError, ValueError):
    """Bytes or text do not follow the grammar."""


class LocalProtocolError(ProtocolError):
    """The program that uses dcsdk asked for something the protocol does not allow."""


class MessageTooLarge(LocalProtocolError):
    """A message is larger than the peer's ``max-message-size`` (RFC 8841 6)."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule.

    Args:
        message: what was expected and what came.
        source: the clause.
        sip_status_hint: the SIP status that answers such a message, where there is one.
    """

    def __init__(
        self, message: str, *, source: str | None = None, sip_status_hint: int | None = None
    ) -> None:
        super().__init__(message, source=source)
        self.sip_status_hint = sip_status_hint


class NegotiationError(DcsdkError):
    """Offer and answer do not lead to a session."""


class UnsupportedByPeer(NegotiationError):
    """The peer refused the media or the channel (port 0, or its dcmap left out)."""


class UnsupportedByNetwork(NegotiationError):
    """The network did not say at registration that it can do this (TS 23.228 AC)."""


class SecurityError(DcsdkError):
    """What was asked for in security is not what would happen."""


class FingerprintMismatch(SecurityError):
    """The peer's certificate matches no fingerprint that signalling carried (RFC 8122 5)."""


class DowngradeRefused(SecurityError):
    """Going on would have meant less security than was asked for."""


class SignallingError(DcsdkError):
    """A SIP request failed.

    Args:
        message: what failed.
        source: the clause.
        status: the SIP status code that came, or ``None``.
        retry_after_s: seconds of the ``Retry-After`` header, or ``None``.
    """

    def __init__(
        self,
        message: str,
        *,
        source: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, source=source)
        self.status = status
        self.retry_after_s = retry_after_s


class RegistrationFailed(SignallingError):
    """The network did not register the public identity."""


class CallRejected(SignallingError):
    """The peer or the network refused an INVITE or a re-INVITE."""


class TransportError(DcsdkError, ConnectionError):
    """A connection, association or path failed."""


class ChannelClosed(TransportError):
    """The data channel is closed, or closed while the call waited."""


class PeerUnreachable(TransportError):
    """The peer stopped answering, or was never there."""


class OperationTimeout(DcsdkError, TimeoutError):
    """An operation did not end in its bound of time."""


def again(error: DcsdkError) -> DcsdkError:
    """Copy an error, so that each waiter raises its own with its own traceback."""
    copy = type(error)(str(error))
    copy.source = error.source
    copy.__cause__ = error
    return copy
