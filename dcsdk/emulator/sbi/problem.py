"""``application/problem+json`` bodies (TS 29.500 5.2.7, TS 29.571 ``ProblemDetails``)."""

from __future__ import annotations

from typing import Any

from dcsdk.emulator.sbi.json_object import JsonObject, without_none
from dcsdk.errors import DcsdkError, ParseError

PROBLEM_TYPE = "application/problem+json"
MAX_DETAIL_LENGTH = 512


class SbiProblem(DcsdkError):
    """A request on a service-based interface was refused.

    Args:
        status: 400..599.
        title: for people.
        detail: what exactly, or ``None``.
        cause: machine-readable, for example ``"CONTEXT_NOT_FOUND"``.
    """

    def __init__(
        self, status: int, title: str, *, detail: str | None = None, cause: str | None = None
    ) -> None:
        super().__init__(f"{status} {title}" if detail is None else f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = None if detail is None else detail[:MAX_DETAIL_LENGTH]
        self.cause = cause

    def to_json(self) -> dict[str, Any]:
        """Write a ``ProblemDetails``."""
        return without_none(
            {
                "status": self.status,
                "title": self.title,
                "detail": self.detail,
                "cause": self.cause,
            }
        )

    @classmethod
    def from_json(cls, status: int, value: object) -> SbiProblem:
        """Read a ``ProblemDetails``; one that is malformed still gives a problem.

        Args:
            status: of the response; it counts, not the one in the body.
            value: the decoded body, or anything else.
        """
        try:
            body = JsonObject(value, "ProblemDetails")
            return cls(
                status,
                body.optional_text("title") or "refused",
                detail=body.optional_text("detail"),
                cause=body.optional_text("cause"),
            )
        except ParseError:
            return cls(status, "refused")
