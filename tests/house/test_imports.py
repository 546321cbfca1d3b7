"""Who imports what, where the import linter can't see it."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from interlingua.backends.providers.registry import rows

#: They compute, and do nothing else: no clock, no environment, no event loop, no chance.
PURE = ("types/", "dialects/", "sse.py", "http.py", "errors.py", "gateway/negotiate.py")
IMPURE = {"asyncio", "datetime", "os", "random", "secrets", "socket", "subprocess", "time"}


def test_the_bare_package_is_never_imported(root: Path, modules: dict[Path, ast.Module]) -> None:
    submodules = {path.stem for path in (root / "src" / "interlingua").iterdir()}
    bare = [
        f"{path}:{node.lineno}"
        for path, tree in modules.items()
        for node in ast.walk(tree)
        if _imports_the_package(node) and not {a.name for a in node.names} <= submodules
    ]
    assert bare == []


def _imports_the_package(node: ast.AST) -> TypeGuard[ast.Import | ast.ImportFrom]:
    if isinstance(node, ast.Import):
        return any(alias.name == "interlingua" for alias in node.names)
    return isinstance(node, ast.ImportFrom) and not node.level and node.module == "interlingua"


def test_types_import_the_standard_library_and_msgspec(modules: dict[Path, ast.Module]) -> None:
    allowed = {*sys.stdlib_module_names, "msgspec", "interlingua"}
    foreign = {
        (str(path), name)
        for path, tree in modules.items()
        if path.parts[0] == "types"
        for name in _imported(tree)
        if name.split(".")[0] not in allowed
    }
    assert foreign == set()


def test_the_pure_layers_have_no_clock_environment_or_loop(
    modules: dict[Path, ast.Module],
) -> None:
    impure = {
        (str(path), name)
        for path, tree in modules.items()
        if path.as_posix().startswith(PURE)
        for name in _imported(tree)
        if name.split(".")[0] in IMPURE
    }
    assert impure == set()


def test_no_code_asks_which_engine_it_is_but_the_engine_itself(
    root: Path, modules: dict[Path, ast.Module]
) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    own = {
        name: target.split(":")[0].removeprefix("interlingua.").replace(".", "/")
        for name, target in project["entry-points"]["interlingua.backends"].items()
    }
    asked = {
        (str(path), name)
        for path, tree in modules.items()
        for name in _compared(tree)
        if name in own and not path.as_posix().startswith(own[name])
    }
    assert asked == set()


def test_no_code_asks_which_provider_it_is(modules: dict[Path, ast.Module]) -> None:
    # Two rows are named as the dialect that they speak, and routes tell dialects apart.
    names = {row.name for row in rows()} - {row.dialect for row in rows()}
    asked = {
        (str(path), name)
        for path, tree in modules.items()
        for name in _compared(tree)
        if name in names
    }
    assert asked == set()


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module


def _compared(tree: ast.Module) -> Iterator[str]:
    """The strings that something is compared with: ``==``, ``in (…)`` and ``case``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            sides = [node.value]
        else:
            continue
        for side in sides:
            for part in ast.walk(side):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value
