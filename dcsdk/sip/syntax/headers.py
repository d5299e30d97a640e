"""The header fields of a SIP message: ordered, case-insensitive, kept as text.

Source: RFC 3261 7.3, 20.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dcsdk.errors import LocalProtocolError
from dcsdk.sip.syntax.grammar import is_token, split_list

COMPACT_FORMS = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}
"""One-letter names (RFC 3261 7.3.3 and the IANA registry)."""

_FULL_NAMES = """
Accept Accept-Contact Accept-Encoding Accept-Language Alert-Info Allow Allow-Events
Authentication-Info Authorization Call-ID Call-Info Contact Content-Disposition Content-Encoding
Content-Language Content-Length Content-Type CSeq Date Error-Info Event Expires Feature-Caps From
In-Reply-To Max-Forwards MIME-Version Min-Expires Min-SE Organization P-Access-Network-Info
P-Asserted-Identity P-Asserted-Service P-Associated-URI P-Called-Party-ID P-Charging-Vector
P-Early-Media P-Preferred-Identity P-Preferred-Service P-Visited-Network-ID Path Priority Privacy
Proxy-Authenticate Proxy-Authorization Proxy-Require RAck Reason Record-Route Refer-To Reply-To
Replaces Require Retry-After Route RSeq Security-Client Security-Server Security-Verify Server
Service-Route Session-Expires SIP-ETag SIP-If-Match Subject Subscription-State Supported Timestamp
To Unsupported User-Agent Via Warning WWW-Authenticate
""".split()  # noqa: SIM905 - 70 names are read more easily so

_CANONICAL = {name.lower(): name for name in _FULL_NAMES} | COMPACT_FORMS
_KEYS = {spelling: name.lower() for spelling, name in _CANONICAL.items()}
_SPELLINGS = _CANONICAL | {name: name for name in _FULL_NAMES}
_FORBIDDEN = re.compile(r"[\r\n\x00]")
_LOWER = {name: name.lower() for name in _FULL_NAMES}
_LOWER |= {letter.upper(): name.lower() for letter, name in COMPACT_FORMS.items()}
_LOWER |= {spelling: key for spelling, key in _KEYS.items()}


def header_key(name: str) -> str:
    """Return the form under which all spellings of a name are equal: long and lower case."""
    key = _LOWER.get(name)
    if key is not None:
        return key
    lowered = name.lower()
    return _KEYS.get(lowered, lowered)


def canonical_name(name: str) -> str:
    """Return the usual spelling of a known name; compact forms become long, others stay."""
    known = _SPELLINGS.get(name)
    return _CANONICAL.get(name.lower(), name) if known is None else known


class Headers:
    """Header lines in order. Every name takes the long or compact form, in any case.

    A *line* is one header field; an *element* is one of the comma-separated values a line may
    hold. Elements are only meaningful for headers that are lists: not for ``WWW-Authenticate``,
    ``Authorization`` and their like, ``Date`` or ``Subject``.

    Args:
        items: (name, value) pairs, or other headers.

    Raises:
        LocalProtocolError: a name is no token, or a value holds CR, LF or NUL.
    """

    __slots__ = ("_items", "_keys")

    def __init__(self, items: Headers | Iterable[tuple[str, str]] = ()) -> None:
        self._keys: list[str] = []
        self._items: list[tuple[str, str]] = []
        if isinstance(items, Headers):
            self._keys = items._keys.copy()
            self._items = items._items.copy()
        else:
            for name, value in items:
                self.add(name, value)

    @classmethod
    def from_parsed(cls, items: list[tuple[str, str]]) -> Headers:
        """Take lines that a parser has already checked; names in canonical spelling."""
        headers = cls()
        headers._items = items
        headers._keys = [_LOWER.get(name) or header_key(name) for name, _ in items]
        return headers

    # --- reading ---------------------------------------------------------------------------------
    def get(self, name: str) -> str | None:
        """Return the value of the first line, or ``None``."""
        try:
            return self._items[self._keys.index(header_key(name))][1]
        except ValueError:
            return None

    def get_all(self, name: str) -> list[str]:
        """Return the value of every line, in order."""
        key = header_key(name)
        if key not in self._keys:
            return []
        return [item[1] for k, item in zip(self._keys, self._items, strict=True) if k == key]

    def get_list(self, name: str) -> list[str]:
        """Return the elements of every line, in order; commas in quotes and <> do not split."""
        return [element for line in self.get_all(name) for element in split_list(line)]

    def count(self, name: str) -> int:
        """Return the number of lines."""
        return self._keys.count(header_key(name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and header_key(name) in self._keys

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items.copy())

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return self._keys == other._keys and [v for _, v in self._items] == [
            v for _, v in other._items
        ]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({[name for name, _ in self._items]})"

    def copy(self) -> Headers:
        """Return headers that change independently."""
        return Headers(self)

    # --- changing --------------------------------------------------------------------------------
    def add(self, name: str, value: str) -> None:
        """Append a line.

        Raises:
            LocalProtocolError: a bad name or value, see the class.
        """
        name, value = _checked(name, value)
        self._keys.append(header_key(name))
        self._items.append((name, value))

    def set(self, name: str, value: str) -> None:
        """Replace all lines of a name by one, in place of the first; append when there is none.

        Raises:
            LocalProtocolError: a bad name or value, see the class.
        """
        name, value = _checked(name, value)
        key = header_key(name)
        if key not in self._keys:
            self._keys.append(key)
            self._items.append((name, value))
            return
        first = self._keys.index(key)
        self._items[first] = (name, value)
        self._drop(key, first + 1)

    def remove(self, name: str) -> None:
        """Remove all lines of a name; no error when there is none."""
        self._drop(header_key(name), 0)

    def prepend(self, name: str, value: str) -> None:
        """Insert a line before the first of its name, or on top when there is none.

        Raises:
            LocalProtocolError: a bad name or value, see the class.
        """
        name, value = _checked(name, value)
        key = header_key(name)
        at = self._keys.index(key) if key in self._keys else 0
        self._keys.insert(at, key)
        self._items.insert(at, (name, value))

    def extend(self, items: Headers | Iterable[tuple[str, str]]) -> None:
        """Append several lines.

        Raises:
            LocalProtocolError: a bad name or value; the lines before it are added.
        """
        for name, value in items:
            self.add(name, value)

    def pop_first(self, name: str) -> str | None:
        """Remove the first element and return it, ``None`` when there is none."""
        return self._swap_first(name, None)

    def replace_first(self, name: str, value: str) -> None:
        """Put another element in place of the first; the other elements of its line stay.

        Raises:
            LocalProtocolError: a bad value, or there is no element to replace.
        """
        name, value = _checked(name, value)
        if self._swap_first(name, value) is None:
            raise LocalProtocolError(f"no {name} to replace")

    def _swap_first(self, name: str, value: str | None) -> str | None:
        key = header_key(name)
        while key in self._keys:
            at = self._keys.index(key)
            spelling, line = self._items[at]
            elements = split_list(line)
            if elements:
                rest = elements[1:] if value is None else [value, *elements[1:]]
                if rest:
                    self._items[at] = (spelling, ", ".join(rest))
                else:
                    del self._keys[at], self._items[at]
                return elements[0]
            del self._keys[at], self._items[at]
        return None

    def _drop(self, key: str, start: int) -> None:
        for at in range(len(self._keys) - 1, start - 1, -1):
            if self._keys[at] == key:
                del self._keys[at], self._items[at]


def _checked(name: str, value: str) -> tuple[str, str]:
    """Refuse what would break the message apart."""
    if not is_token(name):
        raise LocalProtocolError(f"header name {name!r} is no token", source="RFC 3261 7.3.1")
    if _FORBIDDEN.search(value) is not None:
        raise LocalProtocolError(f"CR, LF or NUL in the value of {name}", source="RFC 3261 7.3.1")
    return canonical_name(name), value.strip(" \t")
