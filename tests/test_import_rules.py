"""The layers hold: imports point one way, and protocol code does no I/O.

Read from the source, not from imported modules, so a rule holds in every branch of the code.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
MAX_MODULE_LINES = 500

# A module may import from its own layer and from those before it. A file of dcsdk that is named in
# no layer is one of the parts; a folder must be named.
PROTOCOLS = frozenset({"sip", "sdp", "ims", "sctp", "tls", "http", "ice"})
PARTS = frozenset({"channel", "client", "emulator", "plugins", "registry", "session", "transport"})
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "security"}),
    PROTOCOLS,
    frozenset({"capabilities", "config", "events", "hookspecs", "interfaces"}),
    frozenset({"io"}),
    PARTS,
    frozenset({"cli", "command", "demo", "demo_view", "pytest_plugin", "__main__"}),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
RANK_OF_PARTS = LAYERS.index(PARTS)

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

# Among the parts: who must not know whom.
FORBIDDEN = {
    "plugins": frozenset({"client", "emulator", "negotiation", "session"}),
    "channel": frozenset({"client", "emulator", "plugins", "session"}),
    "emulator": frozenset({"client", "plugins", "session"}),  # plug-ins come from the registry
    "client": frozenset({"emulator", "plugins"}),
    "session": frozenset({"emulator", "plugins"}),
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


def is_type_checking(node: ast.AST) -> bool:
    """Tell whether a node is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def walk(node: ast.AST, *, with_types: bool) -> Iterator[ast.AST]:
    """Visit all nodes, leaving out what only type checkers see unless asked."""
    yield node
    for child in ast.iter_child_nodes(node):
        if with_types or not is_type_checking(child):
            yield from walk(child, with_types=with_types)


@cache
def imports(path: str, *, with_types: bool = False) -> list[tuple[int, str, str]]:
    """Return (line, module, name) of every import; relative ones are resolved."""
    found = []
    package = list(Path(path).with_suffix("").parts[:-1])
    for node in walk(tree_of(path), with_types=with_types):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [(node.lineno, module, alias.name) for alias in node.names]
    return found


def parts_imported(path: str) -> list[tuple[int, str]]:
    """Return (line, part) of every import of dcsdk: ``dcsdk.sip.uri`` is the part ``sip``."""
    found = set()
    for line, module, name in imports(path):
        names = module.split(".") + ([name] if name else [])
        if names[0] == "dcsdk" and len(names) > 1:
            found.add((line, names[1]))
    return sorted(found)


def part_of(path: str) -> str:
    """Return the part a file belongs to: ``dcsdk/sip/uri.py`` is in ``sip``."""
    name = Path(path).parts[1]
    return name.removesuffix(".py")


DCSDK = modules("dcsdk")
PART_MODULES = [path for path in DCSDK if path != "dcsdk/__init__.py"]
PROTOCOL_MODULES = [path for path in PART_MODULES if part_of(path) in PROTOCOLS]
USER_MODULES = modules("apps", "examples")


def test_every_folder_has_a_layer() -> None:
    folders = {part_of(path) for path in PART_MODULES if len(Path(path).parts) > 2}
    unknown = sorted(folders - set(RANK))
    assert not unknown, f"say in LAYERS which layer these belong to: {unknown}"


def test_imports_point_one_way() -> None:
    wrong = [
        f"{path}:{line} imports {other}"
        for path in PART_MODULES
        for line, other in parts_imported(path)
        if RANK.get(other, RANK_OF_PARTS) > RANK.get(part_of(path), RANK_OF_PARTS)
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
        for node in walk(tree_of(path), with_types=False)
        if isinstance(node, ast.Attribute)
        and any(f".{ast.unparse(node)}".endswith(f".{call}") for call in IMPURE_CALLS)
    ]
    assert not wrong, "\n".join(wrong)


def test_parts_of_one_layer_keep_apart() -> None:
    wrong = [
        f"{path}:{line} imports {other}"
        for path in PART_MODULES
        for line, other in parts_imported(path)
        if other in FORBIDDEN.get(part_of(path), ())
    ]
    assert not wrong, "\n".join(wrong)


def test_package_imports_nothing_from_beside_it() -> None:
    outside = {"apps", "benchmarks", "examples", "tests"}
    wrong = [
        f"{path}:{line} imports {module}"
        for path in DCSDK
        for line, module, _ in imports(path, with_types=True)
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
        for line, module, name in imports(path, with_types=True)
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
