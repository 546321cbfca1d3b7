"""The measurements, each a ratio of two sides in one run, alternating."""

import asyncio
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
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .load import Door, chat_round

PYTHON = sys.executable


class Row(NamedTuple):
    """A line of the table: what was measured, both sides, their ratio, and the figure to hold."""

    what: str
    ours: str
    floor: str
    ratio: str
    holds: str


@contextmanager
def host() -> Iterator[tuple[Door, Door]]:
    """The doors of one running server: chat through it, and its engine directly."""
    process = subprocess.Popen(
        [PYTHON, "-m", "bench.host"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        key = {"api-key": said["key"]}
        yield (
            Door("server", said["url"] + "/v1/chat/completions", key),
            Door("engine", "http://engine/v1/chat/completions", said["headers"], said["socket"]),
        )
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def chat(rounds: int) -> Iterator[Row]:
    """Tokens per second and time to first token, through the server and directly."""
    with host() as (server, engine):
        seed = iter(range(10**6))
        for streams in (1, 4, 8):
            rates: dict[str, list[float]] = {"server": [], "engine": []}
            firsts: dict[str, list[float]] = {"server": [], "engine": []}
            # One stream is soon over, and one answer that ends early weighs the most there.
            for number in range(rounds * (3 if streams == 1 else 1) + 1):
                doors = (server, engine) if number % 2 else (engine, server)
                for door in doors:
                    seeds = [next(seed) for _ in range(streams)]
                    rate, first = asyncio.run(chat_round(door, seeds, words=60, max_tokens=96))
                    if number:  # the first round warms up
                        rates[door.name].append(rate)
                        firsts[door.name].append(first)
            yield _paired(
                f"chat, {streams} streams: tokens/s", rates["server"], rates["engine"], "≥ 0.97"
            )
            yield _paired(
                f"chat, {streams} streams: time to first token, ms",
                [first * 1000 for first in firsts["server"]],
                [first * 1000 for first in firsts["engine"]],
                "≤ 1.05",
            )


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


def _paired(what: str, ours: list[float], floor: list[float], holds: str) -> Row:
    ratios = [one / other for one, other in zip(ours, floor, strict=True)]
    spread = f"{statistics.median(ratios):.3f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return Row(
        what, f"{statistics.median(ours):.1f}", f"{statistics.median(floor):.1f}", spread, holds
    )


def _plain(what: str, values: Any, holds: str) -> Row:
    spread = f"{min(values):.2f} to {max(values):.2f}"
    return Row(what, f"{statistics.median(values):.2f}", "", spread, holds)
