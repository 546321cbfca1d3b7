"""The project's own files, read as data."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def modules() -> dict[Path, ast.Module]:
    """Every module of the package, parsed, by its path below ``src/interlingua``."""
    package = ROOT / "src" / "interlingua"
    return {
        path.relative_to(package): ast.parse(path.read_text("utf-8"))
        for path in sorted(package.rglob("*.py"))
    }
