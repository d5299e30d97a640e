"""Small values that several interfaces share."""

from __future__ import annotations

Attributes = tuple[tuple[str, str | None], ...]
"""SDP attributes as (name, value); a property attribute has the value ``None``."""
