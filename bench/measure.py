"""Start, memory and size: figures of their own, beside nothing."""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .rows import Row

PYTHON = sys.executable


def start(rounds: int) -> Iterator[Row]:
    """From exec to health and to the first token, memory, and the command line's help."""
    healths, tokens, idle, used = zip(*(_one_start() for _ in range(rounds)), strict=True)
    yield _plain("exec to /health/live, s", healths, "≤ 1.5")
    yield _plain("first call to first token, cold, s", tokens, "≤ 3")
    yield _plain("server process, idle, MB", idle, "≤ 60")
    yield _plain("server process, after first calls, MB", used, "≤ 90")
    help_ms = [_timed([PYTHON, "-m", "interlingua", "--help"]) * 1000 for _ in range(rounds * 3)]
    yield _plain("interlingua --help, ms", help_ms, "≤ 150")


def wheels(_: int) -> Iterator[Row]:
    """The base install as a package index serves it."""
    root = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory() as folder:
        pip = [PYTHON, "-m", "pip", "wheel", "--quiet", "--wheel-dir", folder, root]
        subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
    yield _plain("wheels of the base install, MB", [size], "≤ 15")


def _one_start() -> tuple[float, float, float, float]:
    began = time.perf_counter()
    environment = {**os.environ, "INTERLINGUA_API_KEY": "a-key-for-the-benchmark"}
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [PYTHON, "-m", "interlingua", "serve", "--port", "0", "--no-pull", "--json"],
            stdout=subprocess.PIPE,
            cwd=folder,
            env=environment,
        )
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            _until(lambda: _ask(url + "/health/live"))
            health = time.perf_counter() - began
            idle = _resident_mb(process.pid)
            began = time.perf_counter()
            body = {
                "messages": [{"role": "user", "content": "Name the capital of France."}],
                "stream": True,
                "max_tokens": 8,
            }
            with _ask(url + "/chat/completions", body) as reply:
                for line in reply:
                    if b'"content":"' in line and b'"content":""' not in line:
                        break
                token = time.perf_counter() - began
                reply.read()
            _ask(url + "/embeddings", {"input": ["a"]}).read()
            return health, token, idle, _resident_mb(process.pid)
        finally:
            process.terminate()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _ask(url: str, body: dict[str, Any] | None = None) -> Any:
    data = json.dumps(body).encode() if body else None
    headers = {"api-key": "a-key-for-the-benchmark", "content-type": "application/json"}
    return urllib.request.urlopen(urllib.request.Request(url, data, headers))


def _until(attempt: Callable[[], Any]) -> None:
    while True:
        try:
            attempt().close()
        except urllib.error.URLError:
            time.sleep(0.005)
        else:
            return


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024 / 1e6


def _timed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _plain(what: str, values: Any, holds: str) -> Row:
    spread = f"{min(values):.2f} to {max(values):.2f}"
    return Row(what, f"{statistics.median(values):.2f}", "", spread, holds)
