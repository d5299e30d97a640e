"""The public names are pinned."""

from __future__ import annotations

import inspect

from tests.public_api import SNAPSHOT, packages, public_names


def test_public_names_change_only_on_purpose() -> None:
    pinned = set(SNAPSHOT.read_text(encoding="utf-8").splitlines())
    now = set(public_names())
    assert now == pinned, (
        f"new: {sorted(now - pinned)}; gone: {sorted(pinned - now)}; "
        "if that is meant, run `python -m tests.public_api --write` and commit the file"
    )


def test_every_public_name_exists_and_has_a_docstring() -> None:
    silent = [
        f"{package.__name__}.{name}"
        for package in packages()
        for name in getattr(package, "__all__", ())
        if inspect.isclass(item := getattr(package, name)) or inspect.isroutine(item)
        if not item.__doc__
    ]
    assert not silent
