"""The SDP attributes of ICE for one media line, read and written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from dcsdk.errors import ParseError
from dcsdk.ice.candidate import Candidate, IceCredentials
from dcsdk.sdp.attributes import Attribute

MAX_CANDIDATE_LINES = 100
MAX_OPTIONS = 16
MAX_PACING_MS = 60_000
"""A slower pace than one check a minute is read as this one."""

DEFAULT_OPTIONS = ("ice2",)
"""What we announce: RFC 8445, not RFC 5245. Late candidates are read whenever signalling has a way
to bring them; ``"trickle"`` is announced only by who has one."""

ATTRIBUTE_NAMES = frozenset(
    {"candidate", "end-of-candidates", "ice-lite", "ice-mismatch", "ice-options", "ice-pacing"}
    | {"ice-pwd", "ice-ufrag", "remote-candidates"}
)
"""Every SDP attribute of ICE; what relays media removes them all."""

_OPTION = re.compile(r"[!-~]{1,64}")
_PACING = re.compile(r"[0-9]{1,10}")
_REMOTE = re.compile(r"([0-9]{1,3}) ([!-~]{1,255}) ([0-9]{1,5})")
_FLAGS = ("ice-mismatch", "end-of-candidates")


@dataclass(frozen=True, slots=True, kw_only=True)
class IceDescription:
    """What one side says of ICE for one media line.

    Attributes:
        credentials: ufrag and password.
        candidates: in their order; those we cannot use are here too.
        is_lite: the side only answers checks.
        is_complete: no further candidates follow (RFC 8838 8).
        is_mismatch: the answerer saw a ``c=`` or ``m=`` address that is no candidate, and does not
            use ICE (RFC 8839 5.3).
        options: for example ``"ice2"``, ``"trickle"``.
        pacing_ms: Ta that this side asks for, ``None`` when it does not say.
        remote_candidates: text of ``a=remote-candidates``, the candidates of the receiver that are
            in use (RFC 8839 5.2).

    Source: RFC 8839 5, RFC 8838.
    """

    credentials: IceCredentials
    candidates: tuple[Candidate, ...] = ()
    is_lite: bool = False
    is_complete: bool = False
    is_mismatch: bool = False
    options: tuple[str, ...] = ()
    pacing_ms: int | None = None
    remote_candidates: tuple[tuple[int, str, int], ...] = ()

    @classmethod
    def parse(cls, media: Iterable[Attribute], session: Iterable[Attribute] = ()) -> Self | None:
        """Read the attributes of a media line, with those of the session as their default.

        Args:
            media: of the media line, any others among them.
            session: of the session.

        Returns:
            ``None`` when the peer does not speak ICE: neither ``a=ice-ufrag`` nor ``a=ice-pwd``.

        Raises:
            ParseError: an attribute is malformed, or one of the two credentials is missing.
        """
        media, session = tuple(media), tuple(session)
        ufrag = _value(media, "ice-ufrag") or _value(session, "ice-ufrag")
        password = _value(media, "ice-pwd") or _value(session, "ice-pwd")
        if ufrag is None and password is None:
            return None
        if ufrag is None or password is None:
            raise ParseError("expected both ice-ufrag and ice-pwd", source="RFC 8839 5.4")
        lines = [item.value or "" for item in media if item.name == "candidate"]
        if len(lines) > MAX_CANDIDATE_LINES:
            raise ParseError(f"more than {MAX_CANDIDATE_LINES} candidates", source="RFC 8839 5.1")
        names = {item.name for item in media}
        session_names = {item.name for item in session}
        pacing = _value(session, "ice-pacing") or _value(media, "ice-pacing")
        return cls(
            credentials=IceCredentials(ufrag=ufrag, password=password),
            candidates=tuple(Candidate.parse(line) for line in lines),
            is_lite="ice-lite" in session_names | names,
            is_complete="end-of-candidates" in names | session_names,
            is_mismatch="ice-mismatch" in names,
            options=_options(session + media),
            pacing_ms=None if pacing is None else _pacing(pacing),
            remote_candidates=_remote_candidates(_value(media, "remote-candidates")),
        )

    @property
    def session_attributes(self) -> tuple[Attribute, ...]:
        """What stands before the first media line (RFC 8839 5.3, 5.5)."""
        found = [Attribute("ice-lite")] if self.is_lite else []
        if self.pacing_ms is not None:
            found.append(Attribute("ice-pacing", str(self.pacing_ms)))
        return tuple(found)

    @property
    def media_attributes(self) -> tuple[Attribute, ...]:
        """What stands under the media line."""
        found = [
            Attribute("ice-ufrag", self.credentials.ufrag),
            Attribute("ice-pwd", self.credentials.password),
        ]
        if self.options:
            found.append(Attribute("ice-options", " ".join(self.options)))
        found += [Attribute("candidate", str(item)) for item in self.candidates]
        if self.remote_candidates:
            words = [
                f"{component} {host} {port}" for component, host, port in self.remote_candidates
            ]
            found.append(Attribute("remote-candidates", " ".join(words)))
        flags = zip((self.is_mismatch, self.is_complete), _FLAGS, strict=True)
        return (*found, *(Attribute(name) for flag, name in flags if flag))

    def with_candidates(self, candidates: Iterable[Candidate]) -> Self:
        """Return a copy that has other candidates."""
        return replace(self, candidates=tuple(candidates))

    def is_restart_of(self, older: IceDescription) -> bool:
        """Tell whether this asks for an ICE restart: ufrag or password changed (RFC 8839 4.4.3)."""
        return self.credentials != older.credentials


def without_ice(attributes: Iterable[Attribute]) -> tuple[Attribute, ...]:
    """Return the attributes that are not of ICE."""
    return tuple(item for item in attributes if item.name not in ATTRIBUTE_NAMES)


def _value(attributes: Iterable[Attribute], name: str) -> str | None:
    """Return the value of an attribute that may come once."""
    values = {item.value for item in attributes if item.name == name}
    if not values:
        return None
    value = values.pop()
    if values or value is None:
        raise ParseError(f"a={name} has no value, or two different ones", source="RFC 8839 5")
    return value


def _options(attributes: Iterable[Attribute]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for item in attributes:
        if item.name == "ice-options":
            # The grammar has letters, digits, + and /; names with other signs are in use.
            for word in (item.value or "").split(" "):
                if _OPTION.fullmatch(word) is None:
                    raise ParseError("expected names in a=ice-options", source="RFC 8839 5.6")
                found[word] = None
    if len(found) > MAX_OPTIONS:
        raise ParseError(f"more than {MAX_OPTIONS} ICE options", source="RFC 8839 5.6")
    return tuple(found)


def _pacing(value: str) -> int:
    if _PACING.fullmatch(value) is None:
        raise ParseError("expected milliseconds in a=ice-pacing", source="RFC 8839 5.5")
    return min(int(value), MAX_PACING_MS)


def _remote_candidates(value: str | None) -> tuple[tuple[int, str, int], ...]:
    if value is None:
        return ()
    words = value.split(" ")
    if len(words) % 3 or len(words) > 3 * MAX_CANDIDATE_LINES:
        raise ParseError("expected threes in a=remote-candidates", source="RFC 8839 5.2")
    found = []
    for start in range(0, len(words), 3):
        match = _REMOTE.fullmatch(" ".join(words[start : start + 3]))
        if match is None or not 1 <= int(match[1]) <= 256 or int(match[3]) > 65_535:
            raise ParseError(
                "expected component, address and port in a=remote-candidates", source="RFC 8839 5.2"
            )
        found.append((int(match[1]), match[2], int(match[3])))
    return tuple(found)
