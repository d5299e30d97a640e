"""The few productions of the SIP grammar that every header shares.

Source: RFC 3261 25.1.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address

from dcsdk.errors import LocalProtocolError, ParseError

MAX_PARAMETERS = 128
"""Parameters one header value or URI may have."""
MAX_PORT = 65_535

Parameters = tuple[tuple[str, str | None], ...]
"""Parameters in order, as they are written: a quoted value keeps its quotes."""

TOKEN_TEXT = r"[A-Za-z0-9\-.!%*_+`'~]+"  # noqa: S105 - a token of the grammar, not a secret
# A backslash before a control character is grammatical but only ever an attack: refused.
QUOTED_TEXT = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]++|\\[\t -~])*+"'

_TOKEN = re.compile(TOKEN_TEXT)
_QUOTED = re.compile(QUOTED_TEXT)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_NEEDS_ESCAPE = re.compile(r'(["\\])')
_FORBIDDEN_IN_QUOTES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# gen-value is token / host / quoted-string; unquoted text is taken a little wider than that, since
# peers write IPv6 addresses without brackets and base64 without quotes.
_PARAMETER = re.compile(
    rf"[ \t]*;[ \t]*({TOKEN_TEXT})(?:[ \t]*=[ \t]*({QUOTED_TEXT}|[!#-+\--:=?-~]+))?[ \t]*"
)
_BARE_VALUE = re.compile(r"[!#-+\--:=?-~]+")
_SPECIAL_IN_LIST = re.compile(r'[",<>\\]')
_HOST_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,255}")


def is_token(text: str) -> bool:
    """Tell whether ``text`` is a token (RFC 3261 25.1)."""
    return _TOKEN.fullmatch(text) is not None


def quote(text: str) -> str:
    """Write ``text`` as a quoted string.

    Raises:
        LocalProtocolError: a control character, which no quoted string can hold.
    """
    if _FORBIDDEN_IN_QUOTES.search(text) is not None:
        raise LocalProtocolError("control character in a quoted string", source="RFC 3261 25.1")
    return '"' + _NEEDS_ESCAPE.sub(r"\\\1", text) + '"'


def unquote(text: str) -> str:
    """Read a quoted string; text without quotes is returned as it is.

    Raises:
        ParseError: it starts with a quote and is no quoted string.
    """
    if not text.startswith('"'):
        return text
    if _QUOTED.fullmatch(text) is None:
        raise ParseError("bad quoted string", source="RFC 3261 25.1")
    inner = text[1:-1]
    return _QUOTED_PAIR.sub(r"\1", inner) if "\\" in inner else inner


def parse_parameters(text: str) -> Parameters:
    """Read ``;name=value;name...``, the empty text included.

    Raises:
        ParseError: not that, a name twice (RFC 3261 7.3.1), or more than ``MAX_PARAMETERS``.
    """
    if not text:
        return ()
    parameters: list[tuple[str, str | None]] = []
    seen: set[str] = set()
    position, end = 0, len(text)
    while position < end:
        match = _PARAMETER.match(text, position)
        if match is None:
            raise ParseError("bad parameter in a header value", source="RFC 3261 25.1")
        name = match[1]
        key = name.lower()
        if key in seen:
            raise ParseError(f"parameter {name!r} twice", source="RFC 3261 7.3.1")
        if len(seen) == MAX_PARAMETERS:
            raise ParseError(f"more than {MAX_PARAMETERS} parameters")
        seen.add(key)
        parameters.append((name, match[2]))
        position = match.end()
    return tuple(parameters)


def format_parameters(parameters: Parameters) -> str:
    """Write parameters as ``;name=value;name``."""
    return "".join(f";{n}" if v is None else f";{n}={v}" for n, v in parameters)


def get_parameter(parameters: Parameters, name: str) -> str | None:
    """Return one parameter as it is written, ``""`` when it has no value, ``None`` when absent."""
    wanted = name.lower()
    for key, value in parameters:
        if key == name or key.lower() == wanted:
            return "" if value is None else value
    return None


def set_parameter(parameters: Parameters, name: str, value: str | None) -> Parameters:
    """Return the parameters with one replaced in its place, or added at the end.

    Args:
        parameters: the old ones.
        name: a token.
        value: ``None`` writes the name alone; text that is neither a token, a host nor already a
            quoted string is quoted.

    Raises:
        LocalProtocolError: the name is no token, or the value has a control character.
    """
    if not is_token(name):
        raise LocalProtocolError(f"parameter name {name!r} is no token", source="RFC 3261 25.1")
    if value is not None and not (_BARE_VALUE.fullmatch(value) or _QUOTED.fullmatch(value)):
        value = quote(value)
    wanted = name.lower()
    result = [(n, value) if n.lower() == wanted else (n, v) for n, v in parameters]
    if all(n.lower() != wanted for n, _ in parameters):
        result.append((name, value))
    return tuple(result)


def remove_parameter(parameters: Parameters, name: str) -> Parameters:
    """Return the parameters without one; no error when it is absent."""
    wanted = name.lower()
    return tuple((n, v) for n, v in parameters if n.lower() != wanted)


def split_list(text: str) -> list[str]:
    """Split at the commas that stand outside quotes and angle brackets; empty elements vanish.

    Text with an unclosed quote or bracket is total too: its rest is the last element.
    """
    if "," not in text:
        text = text.strip(" \t")
        return [text] if text else []
    elements: list[str] = []
    start, is_quoted, in_brackets, skip = 0, False, False, -1
    for match in _SPECIAL_IN_LIST.finditer(text):
        at, char = match.start(), match[0]
        if at == skip:
            continue
        if char == "\\":
            if is_quoted:
                skip = at + 1
        elif char == '"':
            is_quoted = not is_quoted
        elif is_quoted:
            continue
        elif char == "<":
            in_brackets = True
        elif char == ">":
            in_brackets = False
        elif not in_brackets:
            elements.append(text[start:at].strip(" \t"))
            start = at + 1
    elements.append(text[start:].strip(" \t"))
    return [element for element in elements if element]


def parse_host(text: str) -> str:
    """Read a host name, an IPv4 address or a bracketed IPv6 address.

    Returns:
        The host; IPv6 without brackets, as it was spelt.

    Raises:
        ParseError: none of these.
    """
    if text.startswith("["):
        inner = text[1:-1]
        if text.endswith("]") and "%" not in inner:
            try:
                IPv6Address(inner)
            except (AddressValueError, ValueError) as exc:
                raise ParseError("bad IPv6 address", source="RFC 3261 25.1") from exc
            return inner
    elif _HOST_NAME.fullmatch(text) is not None:
        return text
    raise ParseError("bad host", source="RFC 3261 25.1")


def format_host(host: str) -> str:
    """Write a host, an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def canonical_host(host: str) -> str:
    """Return a form in which two spellings of one host are equal."""
    if ":" in host:
        try:
            return str(IPv6Address(host))
        except ValueError:
            return host.lower()
    return host.lower()


def parse_port(text: str | None) -> int | None:
    """Read a port.

    Raises:
        ParseError: over 65535.
    """
    if text is None:
        return None
    port = int(text)
    if port > MAX_PORT:
        raise ParseError(f"port {port} is over {MAX_PORT}", source="RFC 3261 25.1")
    return port
