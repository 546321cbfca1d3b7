"""The page of security tests names tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "dev" / "security-tests.md"
_FILE = re.compile(r"`([\w/]+\.py)`(?: \(([^)]*)\))?")
_PART = re.compile(r"`…?(\w+)…?`")


def _named() -> list[tuple[Path, str]]:
    """Each file of the last column, with each part of a name that stands behind it."""
    found: list[tuple[Path, str]] = []
    for row in PAGE.read_text().splitlines():
        if not row.startswith("| ") or row.startswith("| ---"):
            continue
        folder = ROOT
        for file, parts in _FILE.findall(row.split("|")[3]):
            path = ROOT / file if "/" in file else folder / file
            folder = path.parent
            found += [(path, part) for part in _PART.findall(parts) or [""]]
    return found


@pytest.mark.parametrize(
    ("file", "part"), _named(), ids=lambda given: getattr(given, "name", given)
)
def test_a_named_test_is_there(file: Path, part: str) -> None:
    assert re.search(rf"^(async )?def test_\w*{part}", file.read_text(), re.MULTILINE)
