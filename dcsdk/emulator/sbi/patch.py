"""JSON Patch (RFC 6902), as far as ``Nmf_MRM_Update`` uses it: add, remove, replace, test."""

from __future__ import annotations

import copy
import re
from typing import Any

from dcsdk.errors import ParseError

MAX_OPERATIONS = 64
MAX_POINTER_LENGTH = 1024
_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")
_SOURCE = "RFC 6902 4"


def apply_patch(document: Any, patch: object) -> Any:
    """Return a patched copy of a JSON document.

    Args:
        document: what is patched; it stays as it is.
        patch: the decoded ``application/json-patch+json`` body.

    Raises:
        ParseError: a malformed operation, or one that does not apply.
    """
    if not isinstance(patch, list) or len(patch) > MAX_OPERATIONS:
        raise ParseError(f"expected up to {MAX_OPERATIONS} patch operations", source=_SOURCE)
    try:
        root = {"": copy.deepcopy(document)}
        _apply_all(root, patch)
    except RecursionError as exc:
        raise ParseError("the patch is nested too deeply", source=_SOURCE) from exc
    return root.get("")


def _apply_all(root: dict[str, Any], patch: list[Any]) -> None:
    for operation in patch:
        if not isinstance(operation, dict):
            raise ParseError("a patch operation is no object", source=_SOURCE)
        kind, path = operation.get("op"), operation.get("path")
        if kind not in ("add", "remove", "replace", "test"):
            raise ParseError(f"patch operation {str(kind)[:16]!r} is not known", source=_SOURCE)
        if kind != "remove" and "value" not in operation:
            raise ParseError(f"patch operation {kind} has no value", source=_SOURCE)
        parent, key = _locate(root, path)
        _apply(parent, key, kind, copy.deepcopy(operation.get("value")))


def _locate(root: dict[str, Any], path: object) -> tuple[Any, str]:
    """Return the container a JSON pointer (RFC 6901) leads into, and the last key."""
    if not isinstance(path, str) or len(path) > MAX_POINTER_LENGTH or path[:1] not in ("", "/"):
        raise ParseError("bad path in a patch operation", source="RFC 6901 3")
    parent: Any = root
    key, *rest = (part.replace("~1", "/").replace("~0", "~") for part in path.split("/"))
    for part in rest:
        parent, key = parent[_existing(parent, key)], part
    return parent, key


def _existing(container: Any, key: str) -> Any:
    if isinstance(container, dict) and key in container:
        return key
    if isinstance(container, list) and _INDEX.fullmatch(key) and int(key) < len(container):
        return int(key)
    raise ParseError(f"nothing at {key[:32]!r} of the patched document", source=_SOURCE)


def _apply(parent: Any, key: str, kind: str, value: Any) -> None:
    if kind == "add" and isinstance(parent, dict):
        parent[key] = value
    elif kind == "add" and isinstance(parent, list):
        if key != "-" and (not _INDEX.fullmatch(key) or int(key) > len(parent)):
            raise ParseError(f"bad index {key[:16]!r} in a patch operation", source=_SOURCE)
        parent.insert(len(parent) if key == "-" else int(key), value)
    elif kind in ("replace", "add"):
        parent[_existing(parent, key)] = value
    elif kind == "remove":
        del parent[_existing(parent, key)]
    elif parent[_existing(parent, key)] != value:
        raise ParseError("a patch test failed", source="RFC 6902 4.6")
