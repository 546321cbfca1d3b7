"""The OpenAPI document holds for the real server: schemathesis asks by it, and judges."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import serving

CONFIG = """
[server]
port = 0
keys = ["${E2E_KEY}"]

[[deployment]]
name = "echo"
model = "echo"
"""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "allow_header_conformance",
    "unsupported_method",
    "ignored_auth",
)


def test_what_the_document_says_is_what_the_server_does(tmp_path: Path) -> None:
    with serving(CONFIG, tmp_path) as server:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
        options = {
            "--header": f"api-key: {server.key}",
            "--checks": ",".join(CHECKS),
            "--phases": "examples,fuzzing",
            "--max-examples": "4",
        }
        asked = subprocess.run(
            [*command, "--generation-deterministic", "--no-color", *sum(options.items(), ())],
            check=False,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
    if asked.returncode != 0:
        pytest.fail(asked.stdout[-20000:] + asked.stderr)
    assert re.search(r"Selected: (\d+)/\1", asked.stdout), asked.stdout
    assert "Traceback" not in server.log.read_text()
