"""Lists the public names of dcsdk; ``--write`` stores them in ``public_api.txt``.

Public is what ``dcsdk`` and its subpackages name in ``__all__``, and the public attributes of the
classes among them. A change of that file is a change for everyone who uses dcsdk.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import dcsdk

SNAPSHOT = Path(__file__).with_name("public_api.txt")


def packages() -> Iterator[ModuleType]:
    """Import and yield dcsdk and each of its subpackages."""
    yield dcsdk
    for found in pkgutil.walk_packages(dcsdk.__path__, "dcsdk."):
        if found.ispkg:
            yield importlib.import_module(found.name)


def attributes(cls: type) -> set[str]:
    """Return the public names a class defines itself or takes from another class of dcsdk."""
    found: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] == "dcsdk":
            found |= {*vars(base), *inspect.get_annotations(base)}
    return {name for name in found if not name.startswith("_")}


def public_names() -> list[str]:
    """Return every public name, sorted, as ``package.name`` and ``package.Class.attribute``."""
    found: set[str] = set()
    for package in packages():
        for name in getattr(package, "__all__", ()):
            found.add(f"{package.__name__}.{name}")
            item = getattr(package, name)
            if inspect.isclass(item):
                found |= {f"{package.__name__}.{name}.{part}" for part in attributes(item)}
    return sorted(found)


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.public_api", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {SNAPSHOT.name}")
    text = "".join(f"{name}\n" for name in public_names())
    if parser.parse_args().write:
        SNAPSHOT.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
