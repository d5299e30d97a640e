"""What a session tells of one media line."""

from __future__ import annotations

from dataclasses import dataclass

from dcsdk.security import SecurityReport
from dcsdk.session.line import LineRole


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One media line of a session, as it stands.

    Attributes:
        index: place of its m-line.
        role: bootstrap or application.
        app_id: of the application bound to it, or ``None``.
        stream_ids: of the open channels.
        security: what protects it.
    """

    index: int
    role: LineRole
    app_id: str | None
    stream_ids: tuple[int, ...]
    security: SecurityReport
