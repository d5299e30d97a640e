"""The layers hold: imports point one way, and protocol code does no I/O.

Read from the source, not from imported modules, so a rule holds in every branch of the code.
"""

from __future__ import annotations

import ast
import pydoc
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_MODULE_LINES = 650
MAX_FOLDER_FILES = 17

# The files that may stand beside the folders of dcsdk.
ROOT_FILES = frozenset({"__init__", "__main__", "errors", "security", "config", "events"}) | {
    *("hookspecs", "registry", "testing"),
}

# A module may import from its own layer and from those before it. Type-checking imports count:
# what a module names, it depends on.
PROTOCOLS = frozenset({"sip", "sdp", "ims", "sctp", "tls", "http", "ice"})
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "security"}),
    PROTOCOLS,
    frozenset({"config", "events", "hookspecs", "interfaces", "registry"}),
    frozenset({"io"}),
    frozenset({"datachannel"}),
    frozenset({"plugins", "session"}),
    frozenset({"client", "emulator", "transport"}),
    frozenset({"cli", "testing", "__main__"}),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# The sideways imports between protocol packages that are needed.
SIDEWAYS = frozenset(
    {
        ("tls", "sdp"),  # a certificate is announced as an SDP fingerprint
        ("ims", "sdp"),  # the profile says how IMS spells its SDP attributes
        ("ice", "sdp"),  # candidates and credentials travel as SDP attributes
        ("sip", "ims"),  # a registration carries mediasec and feature tags
    }
)

# What a layer's modules must not import, because it does I/O or makes a run unrepeatable.
IMPURE_MODULES = frozenset({"asyncio", "concurrent", "multiprocessing", "random", "secrets"}) | {
    *("select", "selectors", "signal", "socket", "socketserver", "ssl"),
    *("subprocess", "threading", "time", "uuid"),
}
IMPURE_CALLS = frozenset(
    {"os.urandom", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
)

# Parts of one layer that must not know each other. The emulator gets plug-ins from the registry.
APART = frozenset({frozenset({"plugins", "session"}), frozenset({"client", "emulator"})}) | {
    *(frozenset({"emulator", other}) for other in ("plugins", "session", "transport")),
    *(frozenset({"client", other}) for other in ("plugins", "transport")),
}


def modules(*folders: str) -> list[str]:
    """Return the Python files under some folders, relative to the project."""
    return sorted(
        str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.py")
    )


@cache
def tree_of(path: str) -> ast.Module:
    """Parse one file of the project."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=path)


@cache
def imports(path: str) -> list[tuple[int, str, str]]:
    """Return (line, module, name) of every import; relative ones are resolved."""
    found = []
    package = list(Path(path).with_suffix("").parts[:-1])
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [(node.lineno, module, alias.name) for alias in node.names]
    return found


def parts_imported(path: str) -> list[tuple[int, str]]:
    """Return (line, part) of every import of dcsdk: ``dcsdk.ice.agent`` is the part ``ice``."""
    found = set()
    for line, module, name in imports(path):
        names = module.split(".") + ([name] if name else [])
        if names[0] == "dcsdk" and len(names) > 1:
            found.add((line, names[1]))
    return sorted(found)


def part_of(path: str) -> str:
    """Return the part a file belongs to: ``dcsdk/sip/syntax/uri.py`` is in ``sip``."""
    name = Path(path).parts[1]
    return name.removesuffix(".py")


DCSDK = modules("dcsdk")
PART_MODULES = [path for path in DCSDK if path != "dcsdk/__init__.py"]
PROTOCOL_MODULES = [path for path in PART_MODULES if part_of(path) in PROTOCOLS]
USER_MODULES = modules("apps", "examples")


def module_name(path: str) -> str:
    """Return the dotted name of a file; a package has that of its folder."""
    return ".".join(Path(path).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in DCSDK}


def modules_imported(path: str) -> set[str]:
    """Return the modules of dcsdk that a file names in an import."""
    found = set()
    for _, module, name in imports(path):
        inner = f"{module}.{name}"
        found.add(inner if inner in MODULES else module)
    return found & MODULES.keys()


def circle_in(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the nodes of a circle in the order of its arrows; empty for a graph without."""
    done: set[str] = set()
    for start in graph:
        way = [start]
        rest = [iter(graph[start])]
        while way:
            for node in rest[-1]:
                if node in way:
                    return [*way[way.index(node) :], node]
                if node not in done:
                    way.append(node)
                    rest.append(iter(graph[node]))
                    break
            else:
                done.add(way.pop())
                rest.pop()
    return []


def test_the_root_of_the_package_holds_only_what_belongs_there() -> None:
    files = {path.stem for path in (ROOT / "dcsdk").glob("*.py")}
    assert files == ROOT_FILES


def test_every_folder_has_a_layer() -> None:
    folders = {part_of(path) for path in PART_MODULES if len(Path(path).parts) > 2}
    unknown = sorted(folders - set(RANK))
    assert not unknown, f"say in LAYERS which layer these belong to: {unknown}"


def test_a_folder_holds_one_idea() -> None:
    files = Counter(str(Path(path).parent) for path in DCSDK)
    full = {folder: count for folder, count in files.items() if count > MAX_FOLDER_FILES}
    assert not full, f"split by idea: {full}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    circle = circle_in({name: modules_imported(path) for name, path in MODULES.items()})
    assert not circle, " -> ".join(circle)


def test_no_folders_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = defaultdict(set)
    for path in PART_MODULES:
        for name in modules_imported(path) - {"dcsdk"}:
            here, there = Path(path).parent, Path(MODULES[name]).parent
            if here != there:
                graph[str(here)].add(str(there))
    layered = {folder: others - {"dcsdk"} for folder, others in graph.items() if folder != "dcsdk"}
    circle = circle_in(defaultdict(set, layered))
    assert not circle, " -> ".join(circle)


@pytest.mark.parametrize(
    ("graph", "circle"),
    [
        ({"a": ["b"], "b": ["c"], "c": []}, []),
        ({"a": ["b", "c"], "b": ["c"], "c": []}, []),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, ["b", "c", "b"]),
        ({"a": ["a"]}, ["a", "a"]),
    ],
)
def test_a_circle_is_seen(graph: dict[str, list[str]], circle: list[str]) -> None:
    assert circle_in(graph) == circle


def test_one_class_name_is_one_class() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in DCSDK:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path)
    twice = {name: paths for name, paths in found.items() if len(paths) > 1}
    assert not twice, f"two classes of one name: {twice}"


def test_imports_point_one_way() -> None:
    wrong = [
        f"{path}:{line} imports {other}"
        for path in PART_MODULES
        for line, other in parts_imported(path)
        if other in RANK and RANK[other] > RANK[part_of(path)]
    ]
    assert not wrong, "\n".join(wrong)


def test_protocol_packages_import_no_other_sideways_without_need() -> None:
    wrong = [
        f"{path}:{line} imports {other}; if that is needed, say why at SIDEWAYS"
        for path in PROTOCOL_MODULES
        for line, other in parts_imported(path)
        if other in PROTOCOLS - {part_of(path)} and (part_of(path), other) not in SIDEWAYS
    ]
    assert not wrong, "\n".join(wrong)


def test_protocol_code_has_no_io_clock_or_randomness() -> None:
    wrong = [
        f"{path}:{line} imports {module} {name}"
        for path in PROTOCOL_MODULES
        for line, module, name in imports(path)
        if module.split(".")[0] in IMPURE_MODULES or f"{module}.{name}" in IMPURE_CALLS
    ]
    wrong += [
        f"{path}:{node.lineno} uses {ast.unparse(node)}"
        for path in PROTOCOL_MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and any(f".{ast.unparse(node)}".endswith(f".{call}") for call in IMPURE_CALLS)
    ]
    assert not wrong, "\n".join(wrong)


def test_parts_that_must_not_know_each_other_keep_apart() -> None:
    wrong = [
        f"{path}:{line} imports {other}"
        for path in PART_MODULES
        for line, other in parts_imported(path)
        if frozenset({part_of(path), other}) in APART and part_of(path) != other
    ]
    assert not wrong, "\n".join(wrong)


def test_what_negotiates_lines_knows_no_medium() -> None:
    general = ("exchange", "line", "line_paths", "negotiation", "services", "transport_group")
    wrong = [
        f"{path}:{line} imports {other}"
        for path in (f"dcsdk/session/{name}.py" for name in general)
        for line, other in parts_imported(path)
        if other in {"datachannel", "plugins"}
    ]
    assert not wrong, "\n".join(wrong)


def test_whatever_the_text_names_in_the_package_exists() -> None:
    texts = [*DCSDK, *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
    wrong = [
        f"{path} names {name}"
        for path in texts
        for name in re.findall(r"``?(dcsdk(?:\.[a-z_0-9]+)+)``?", (ROOT / path).read_text())
        if pydoc.locate(name) is None
    ]
    assert not wrong, "\n".join(wrong)


def test_package_imports_nothing_from_beside_it() -> None:
    outside = {"apps", "benchmarks", "examples", "tests"}
    wrong = [
        f"{path}:{line} imports {module}"
        for path in DCSDK
        for line, module, _ in imports(path)
        if module.split(".")[0] in outside
    ]
    assert not wrong, "\n".join(wrong)


@cache
def public_names(module: str) -> set[str]:
    """Return ``__all__`` of a package of dcsdk; empty for a module that is not a package."""
    path = ROOT.joinpath(*module.split("."), "__init__.py")
    if not path.is_file():
        return set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def test_apps_and_examples_use_public_names_only() -> None:
    wrong = [
        f"{path}:{line} uses {module}.{name}, which is in no __all__"
        for path in USER_MODULES
        for line, module, name in imports(path)
        if module.split(".")[0] == "dcsdk"
        and (module, name) != ("dcsdk", "")
        and name not in public_names(module)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_module_says_what_it_is() -> None:
    silent = [path for path in DCSDK + USER_MODULES if ast.get_docstring(tree_of(path)) is None]
    assert not silent, f"no docstring: {silent}"


def test_every_module_defers_annotations() -> None:
    future = "from __future__ import annotations"
    wrong = [
        path
        for path in DCSDK + USER_MODULES
        if (code := [node for node in tree_of(path).body if not isinstance(node, ast.Expr)])
        and ast.unparse(code[0]) != future
    ]
    assert not wrong, f"does not begin with `{future}`: {wrong}"


def test_modules_are_short() -> None:
    paths = {*DCSDK, *USER_MODULES, *modules("tests")}
    lines = {path: (ROOT / path).read_text().count("\n") for path in sorted(paths)}
    long = {path: count for path, count in lines.items() if count > MAX_MODULE_LINES}
    assert not long, f"split by idea: {long}"
