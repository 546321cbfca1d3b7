"""The TypeScript client: its types are current, and it works against the real server."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ..e2e.conftest import serving

PACKAGE = Path(__file__).parents[2] / "clients" / "typescript"
CONFIG = """
[server]
port = 0
keys = ["${E2E_KEY}"]

[[deployment]]
name = "echo"
model = "echo"
"""
pytestmark = [
    pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm"),
    pytest.mark.skipif(
        not (PACKAGE / "node_modules" / "typescript").is_dir(),
        reason="`npm install` was not run in clients/typescript",
    ),
]


def npm(*words: str, **settings: str) -> None:
    done = subprocess.run(
        ["npm", "--silent", *words],
        check=False,
        cwd=PACKAGE,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_types_are_those_of_the_document() -> None:
    npm("run", "generate", "--", "--check")


def test_it_builds_and_its_own_tests_pass(tmp_path: Path) -> None:
    with serving(CONFIG, tmp_path) as server:
        npm("test", INTERLINGUA_ENDPOINT=server.url, INTERLINGUA_KEY=server.key)
