"""What every engine refuses before it opens a data channel."""

from __future__ import annotations

from dcsdk.errors import LocalProtocolError
from dcsdk.interfaces import ChannelParameters

MAX_TEXT_BYTES = 65_535
"""Of a label and of a subprotocol, in UTF-8 (RFC 8832 5.1)."""

_HIGHEST = {"max_retr": 0xFFFF_FFFF, "max_time_ms": 0xFFFF_FFFF, "priority": 0xFFFF}


def check_channel_parameters(parameters: ChannelParameters) -> None:
    """Refuse what no data channel can have, so that nothing of it reaches the association.

    Whether there is such a stream, and whether it is free, the engine knows.

    Raises:
        LocalProtocolError: names the parameter.

    Source: RFC 8832 5.1, RFC 8864 5.1.
    """
    for name in ("stream_id", "max_retr", "max_time_ms", "priority"):
        value = getattr(parameters, name)
        if value is None and name != "priority":
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise LocalProtocolError(f"{name} must be a whole number, not {value!r}")
        if name in _HIGHEST and not 0 <= value <= _HIGHEST[name]:
            raise LocalProtocolError(
                f"{name} is out of range: 0..{_HIGHEST[name]}, not {value}", source="RFC 8832 5.1"
            )
    for name in ("is_ordered", "is_negotiated"):
        if not isinstance(getattr(parameters, name), bool):
            raise LocalProtocolError(f"{name} must be true or false")
    for name in ("label", "subprotocol"):
        _check_text(name, getattr(parameters, name))
    if parameters.max_retr is not None and parameters.max_time_ms is not None:
        raise LocalProtocolError("max-retr and max-time exclude each other", source="RFC 8864 5.1")


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise LocalProtocolError(f"{name} must be text, not {type(text).__name__}")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise LocalProtocolError(
            f"{name} is not text that UTF-8 can write: {exc.reason}", source="RFC 8832 5.1"
        ) from exc
    if size > MAX_TEXT_BYTES:
        raise LocalProtocolError(f"{name} is limited to 65535 octets", source="RFC 8832 5.1")
