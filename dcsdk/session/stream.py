"""What a session tells of one media line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dcsdk.security import SecurityReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One media line of a session that is up.

    Attributes:
        index: place of its m-line.
        kind: name of its medium.
        security: what protects it, as it stands.
        app: what the medium gives the program: the channels of a line, an audio stream, ...
        stats: returns what the medium did so far.
    """

    index: int
    kind: str
    security: SecurityReport
    app: Any
    stats: Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedMedia:
    """One line of an offer that waits for the program.

    Attributes:
        index: place of its m-line.
        kind: name of the medium that would take it; ``None`` when none that is loaded does.
        media: of the ``m=`` line: ``"audio"``, ``"application"``, ...
        proto: of the ``m=`` line.
    """

    index: int
    kind: str | None
    media: str
    proto: str
