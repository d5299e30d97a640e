"""Sphinx configuration. The API pages and the clause matrix are made anew by every build."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

import dcsdk

HERE = Path(__file__).parent
GENERATED = HERE / "generated"

project = "dcsdk"
author = "the dcsdk authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "dcsdk"
html_static_path: list[str] = []
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Source"]


def write(name: str, text: str) -> None:
    """Write a generated page, unless it says that already."""
    path = GENERATED / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def public_packages() -> list[ModuleType]:
    """Return dcsdk and those of its subpackages that name public things in ``__all__``."""
    names = ["dcsdk"]
    names += [item.name for item in pkgutil.walk_packages(dcsdk.__path__, "dcsdk.") if item.ispkg]
    packages = [importlib.import_module(name) for name in names]
    return [package for package in packages if getattr(package, "__all__", None)]


def write_api() -> None:
    """Write one page for each public package.

    What two packages offer is described on the page of the first, and named on the other.
    """
    packages = public_packages()
    described: dict[int, str] = {}
    for package in packages:
        offered = {name: id(getattr(package, name)) for name in package.__all__}
        twice = [name for name, item in offered.items() if item in described]
        described |= {item: package.__name__ for item in offered.values() if item not in described}
        page = f"# {package.__name__}\n\n```{{eval-rst}}\n.. automodule:: {package.__name__}\n"
        page += "   :members:\n"
        if twice:
            page += f"   :exclude-members: {', '.join(twice)}\n"
        page += "```\n"
        if twice:
            also = ", ".join(f"`{name}` ({described[offered[name]]})" for name in sorted(twice))
            page += f"\nDescribed elsewhere: {also}.\n"
        write(f"{package.__name__}.md", page)
    pages = "\n".join(package.__name__ for package in packages)
    write(
        "api.md",
        "# API\n\nEverything public, by package. What is not on these pages may change "
        f"in any release.\n\n```{{toctree}}\n:maxdepth: 1\n\n{pages}\n```\n",
    )


def write_clauses() -> None:
    """Write the matrix of clauses and tests.

    Raises:
        ExtensionError: the tests cannot be collected.
    """
    command = [sys.executable, "-m", "tests.clauses", "--markdown"]
    done = subprocess.run(  # noqa: S603 - our own command
        command, cwd=HERE.parent, capture_output=True, text=True
    )
    if done.returncode:
        raise ExtensionError(done.stderr)
    write("clauses.md", done.stdout)


def generate(app: Sphinx) -> None:
    """Write every generated page."""
    write_api()
    write_clauses()


def setup(app: Sphinx) -> None:
    """Hook the generated pages into the build."""
    app.connect("builder-inited", generate)
