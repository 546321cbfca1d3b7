"""A real server process with the packaged models and the tiny ones, on a real port."""

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ..support.tiny_clip import build_tiny_clip
from ..support.tiny_phi3 import build_tiny_phi3

CONFIG = """
[server]
port = 0
keys = ["${{E2E_KEY}}"]

[[deployment]]
name = "smollm2"
model = "smollm2-135m-instruct"
slots = 4

[[deployment]]
name = "minilm"
model = "all-minilm-l6-v2"

[[deployment]]
name = "efficientnet"
model = "efficientnet-lite0"

[[deployment]]
name = "tiny-phi-3"
model = "{phi3}"
aliases = ["Phi-3-mini-4k-instruct"]
slots = 2

[[deployment]]
name = "tiny-clip"
model = "{clip}"

[[endpoint]]
name = "support"
traffic = {{ "tiny-phi-3" = 100, "minilm" = 100 }}
"""


class Server(msgspec.Struct, frozen=True):
    """A running server: ``url`` without a trailing slash, and the key that opens it."""

    url: str
    key: str
    pid: int
    log: Path

    def engines(self, program: str) -> list[int]:
        """The pids of its engine processes that run ``program``."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                parent = re.search(r"PPid:\t(\d+)", (entry / "status").read_text())
                command = (entry / "cmdline").read_bytes().decode().split("\0")
                if parent and int(parent[1]) == self.pid and any(program in c for c in command):
                    found.append(int(entry.name))
        return found


@contextlib.contextmanager
def serving(config: str, folder: Path) -> Iterator[Server]:
    """Run ``interlingua serve`` with this config until the block ends; it must exit with 0."""
    key = secrets.token_urlsafe(24)
    (folder / "interlingua.toml").write_text(config)
    log = folder / "server.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "interlingua", "serve", "--config", "interlingua.toml"],
            cwd=folder,
            env={**os.environ, "E2E_KEY": key},
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(rb"http://127\.0\.0\.1:\d+", line)
            if found:
                yield Server(found[0].decode(), key, process.pid, log)
                break
        else:
            pytest.fail(f"the server did not start: {log.read_text()}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        process.stdout.close()
        code = process.wait(timeout=60)
    assert code == 0, log.read_text()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("e2e")
    phi3 = folder / "tiny-phi-3.gguf"
    build_tiny_phi3(phi3)
    clip = folder / "tiny-clip"
    build_tiny_clip(clip)
    with serving(CONFIG.format(phi3=phi3, clip=clip), folder) as running:
        yield running
        logged = running.log.read_text()
        assert "Traceback" not in logged, logged
        assert running.key not in logged
