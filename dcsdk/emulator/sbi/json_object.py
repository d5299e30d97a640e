"""Strict reading of JSON bodies: each member is asked for by name, kind and range."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from dcsdk.errors import ParseError

MAX_TEXT_LENGTH = 4096
MAX_MEMBERS = 1024
"""Members of a map, or elements of an array."""

_E = TypeVar("_E", bound=Enum)


def parse_json(data: bytes) -> Any:
    """Read a JSON document.

    Raises:
        ParseError: not JSON in UTF-8.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise ParseError("the body is no JSON", source="TS 29.501 5.4") from exc


def encode_json(value: Any) -> bytes:
    """Write a JSON document."""
    return json.dumps(value, separators=(",", ":")).encode()


class JsonObject:
    """One JSON object of a body. Members nobody asks for are ignored (TS 29.501 5.2.4).

    Args:
        value: what ``json.loads`` gave.
        where: name of the object in messages.

    Raises:
        ParseError: not an object.
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise ParseError(f"expected an object in {where}")
        self._value = value
        self._where = where

    def __contains__(self, name: str) -> bool:
        return self._value.get(name) is not None

    def text(self, name: str) -> str:
        """Return a required text member."""
        value = self._required(name)
        if not isinstance(value, str) or len(value) > MAX_TEXT_LENGTH:
            raise ParseError(f"expected text in {self._where}.{name}")
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a text member, ``None`` when absent."""
        return self.text(name) if name in self else None

    def integer(self, name: str, low: int, high: int) -> int:
        """Return a required integer member in ``low..high``."""
        value = self._required(name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ParseError(f"expected {low}..{high} in {self._where}.{name}")
        return value

    def optional_integer(self, name: str, low: int, high: int) -> int | None:
        """Return an integer member, ``None`` when absent."""
        return self.integer(name, low, high) if name in self else None

    def optional_boolean(self, name: str) -> bool | None:
        """Return a boolean member, ``None`` when absent."""
        value = self._value.get(name)
        if value is not None and not isinstance(value, bool):
            raise ParseError(f"expected true or false in {self._where}.{name}")
        return value

    def choice(self, name: str, kind: type[_E]) -> _E:
        """Return a required member of an enumeration."""
        text = self.text(name)
        try:
            return kind(text)
        except ValueError as exc:
            raise ParseError(f"unknown {text[:32]!r} in {self._where}.{name}") from exc

    def optional_choice(self, name: str, kind: type[_E]) -> _E | None:
        """Return a member of an enumeration, ``None`` when absent."""
        return self.choice(name, kind) if name in self else None

    def object(self, name: str) -> JsonObject:
        """Return a required object member."""
        return JsonObject(self._required(name), f"{self._where}.{name}")

    def optional_object(self, name: str) -> JsonObject | None:
        """Return an object member, ``None`` when absent."""
        return self.object(name) if name in self else None

    def array(self, name: str) -> tuple[JsonObject, ...]:
        """Return a required array of objects, at least one."""
        value = self._required(name)
        if not isinstance(value, list) or not 0 < len(value) <= MAX_MEMBERS:
            raise ParseError(f"expected an array of 1..{MAX_MEMBERS} in {self._where}.{name}")
        return tuple(JsonObject(item, f"{self._where}.{name}[]") for item in value)

    def map(self, name: str) -> Mapping[str, JsonObject]:
        """Return a map member of objects; empty when absent."""
        value = self._value.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or len(value) > MAX_MEMBERS:
            raise ParseError(f"expected a map of up to {MAX_MEMBERS} in {self._where}.{name}")
        return {key: JsonObject(item, f"{self._where}.{name}") for key, item in value.items()}

    def _required(self, name: str) -> Any:
        value = self._value.get(name)
        if value is None:
            raise ParseError(f"{self._where}.{name} is missing")
        return value


def without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return members that have a value: an absent member and ``null`` are not the same."""
    return {name: value for name, value in members.items() if value is not None}
