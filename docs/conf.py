"""Sphinx configuration. The API pages and the clause matrix are made anew by every build."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

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


def public_packages() -> list[str]:
    """Return dcsdk and those of its subpackages that name public things in ``__all__``."""
    names = ["dcsdk"]
    names += [item.name for item in pkgutil.walk_packages(dcsdk.__path__, "dcsdk.") if item.ispkg]
    return [name for name in names if getattr(importlib.import_module(name), "__all__", None)]


def write_api() -> None:
    """Write one page for each public package."""
    packages = public_packages()
    for package in packages:
        directive = f"```{{eval-rst}}\n.. automodule:: {package}\n   :members:\n```\n"
        write(f"{package}.md", f"# {package}\n\n{directive}")
    pages = "\n".join(packages)
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
