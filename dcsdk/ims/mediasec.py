"""``Security-Client``, ``Security-Server``, ``Security-Verify``: which media security is there.

The headers are those of RFC 3329. An entry with the parameter ``mediasec`` names a mechanism of
the media plane, one without it a mechanism of the signalling plane; the two sets are apart
(TS 24.229 7.2A.7).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dcsdk.errors import ParseError

MAX_MECHANISMS = 64
"""Entries in one list."""

MAX_LIST_CHARACTERS = 16_384
"""Of all header values of one list together."""

MEDIASEC = "mediasec"

_NAME_TEXT = r"[A-Za-z0-9\-.!%*_+`'~]{1,128}"
_NAME = re.compile(rf"[ \t]*({_NAME_TEXT})[ \t]*")
_VALUE = rf'"(?:[^"\\\r\n\0]|\\[^\r\n\0])*"|\[[0-9A-Fa-f:.]+\]|{_NAME_TEXT}'
_PARAMETER = re.compile(rf";[ \t]*({_NAME_TEXT})[ \t]*(?:=[ \t]*({_VALUE})[ \t]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityMechanism:
    """One entry of a list.

    Attributes:
        name: the mechanism, in lower case: ``"sdes-srtp"``, ``"e2dce-dtls"``, ``"tls"``.
        parameters: (name in lower case, value as it came or ``None``), in order.
        text: the entry as it came, which is what ``Security-Verify`` echoes; ``""`` for our own.

    Source: RFC 3329 2.2, TS 24.229 7.2A.7.
    """

    name: str
    parameters: tuple[tuple[str, str | None], ...] = ()
    text: str = field(default="", compare=False, repr=False)

    @classmethod
    def media(cls, name: str) -> SecurityMechanism:
        """Make the entry ``<name>;mediasec``."""
        return cls(name=name.lower(), parameters=((MEDIASEC, None),))

    @property
    def is_mediasec(self) -> bool:
        """The entry names a mechanism of the media plane."""
        return any(name == MEDIASEC for name, _ in self.parameters)

    def get(self, name: str) -> str | None:
        """Return the value of the first such parameter, or ``None``."""
        return next((value for key, value in self.parameters if key == name.lower()), None)

    @property
    def preference(self) -> float:
        """The ``q`` parameter, 0..1; an absent or malformed one counts as 0.001."""
        match = re.fullmatch(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?", self.get("q") or "")
        return float(match[0]) if match else 0.001

    def is_equal(self, other: SecurityMechanism) -> bool:
        """Same mechanism with the same parameters; tokens in either case, any parameter order."""
        return self.name == other.name and _comparable(self) == _comparable(other)

    def __str__(self) -> str:
        if self.text:
            return self.text
        parts = (name if value is None else f"{name}={value}" for name, value in self.parameters)
        return ";".join((self.name, *parts))


def _comparable(mechanism: SecurityMechanism) -> list[tuple[str, str]]:
    return sorted(
        (name, "" if value is None else value if value.startswith('"') else value.lower())
        for name, value in mechanism.parameters
    )


def parse_list(values: str | Iterable[str]) -> tuple[SecurityMechanism, ...]:
    """Read the header values of one list; several lines and one comma list mean the same.

    Args:
        values: one value, or those of all lines in order.

    Raises:
        ParseError: not mechanisms with parameters, or over a limit.
    """
    lines = [values] if isinstance(values, str) else list(values)
    if sum(map(len, lines)) > MAX_LIST_CHARACTERS:
        raise ParseError("the list of security mechanisms is too long", source="RFC 3329 2.2")
    mechanisms: list[SecurityMechanism] = []
    for line in lines:
        position = 0
        while line.strip():
            mechanism, position = _parse_mechanism(line, position)
            mechanisms.append(mechanism)
            if len(mechanisms) > MAX_MECHANISMS:
                raise ParseError(
                    f"more than {MAX_MECHANISMS} security mechanisms", source="RFC 3329 2.2"
                )
            if position == len(line):
                break
            if line[position] != ",":
                raise ParseError("expected a comma between mechanisms", source="RFC 3329 2.2")
            position += 1
    return tuple(mechanisms)


def _parse_mechanism(line: str, start: int) -> tuple[SecurityMechanism, int]:
    match = _NAME.match(line, start)
    if match is None:
        raise ParseError("expected a mechanism name", source="RFC 3329 2.2")
    position = match.end()
    parameters: list[tuple[str, str | None]] = []
    while parameter := _PARAMETER.match(line, position):
        parameters.append((parameter[1].lower(), parameter[2]))
        position = parameter.end()
    mechanism = SecurityMechanism(
        name=match[1].lower(), parameters=tuple(parameters), text=line[start:position].strip(" \t")
    )
    return mechanism, position


def format_list(mechanisms: Iterable[SecurityMechanism]) -> str:
    """Write a list as one header value; entries that came from a peer are echoed as they came."""
    return ", ".join(str(mechanism) for mechanism in mechanisms)


def media_mechanisms(mechanisms: Iterable[SecurityMechanism]) -> tuple[SecurityMechanism, ...]:
    """Keep the entries of the media plane."""
    return tuple(mechanism for mechanism in mechanisms if mechanism.is_mediasec)


def signalling_mechanisms(mechanisms: Iterable[SecurityMechanism]) -> tuple[SecurityMechanism, ...]:
    """Keep the entries of the signalling plane."""
    return tuple(mechanism for mechanism in mechanisms if not mechanism.is_mediasec)


def agreed(
    client: Iterable[SecurityMechanism], server: Iterable[SecurityMechanism]
) -> frozenset[str]:
    """Return the names of the media mechanisms in both lists.

    Args:
        client: what the UE sent in ``Security-Client``.
        server: what the network sent in ``Security-Server``.

    Source: TS 33.328 7.1, TS 24.229 7.2A.7.
    """
    ours = {mechanism.name for mechanism in media_mechanisms(client)}
    return frozenset(ours & {mechanism.name for mechanism in media_mechanisms(server)})


def are_equal(one: Sequence[SecurityMechanism], other: Sequence[SecurityMechanism]) -> bool:
    """Same mechanisms in the same order with the same parameter values.

    What the network does with ``Security-Verify``: not equal is answered 494.

    Source: RFC 3329 2.3.1.
    """
    return len(one) == len(other) and all(map(SecurityMechanism.is_equal, one, other))
