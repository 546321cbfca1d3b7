"""Chat with the packaged model: beside its engine alone, and beside the file as downloaded."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from interlingua.catalog.catalog import require
from interlingua.catalog.store import Store
from interlingua.config.load import data_dir

from .fidelity import same_next_tokens
from .host import CONTEXT, SLOTS
from .load import Door, chat_round
from .rows import Row, paired

ROOT = Path(__file__).parents[1]
MODEL = "smollm2-135m-instruct"
#: No two prompts of a run are the same, whichever part asks.
_SEEDS = count()


@contextmanager
def host() -> Iterator[tuple[Door, Door]]:
    """The doors of one running server: chat through it, and its engine directly."""
    with _started("bench.host") as line:
        said = json.loads(line)
        key = {"api-key": said["key"]}
        yield (
            Door("server", said["url"] + "/v1/chat/completions", key),
            Door("engine", "http://engine/v1/chat/completions", said["headers"], said["socket"]),
        )


@contextmanager
def llama_server(file: Path) -> Iterator[Door]:
    """llama.cpp's own server on that file."""
    with _started("bench.llama_server", str(file), str(SLOTS), str(CONTEXT)) as address:
        yield Door("llama.cpp", address + "/v1/chat/completions", {})


def chat(rounds: int) -> Iterator[Row]:
    """Tokens per second and time to first token through the server, and beside it those of
    llama.cpp's own server on the same file, and of the engine behind the server, directly.
    """
    stored = Store(data_dir(None)).get(require(MODEL))
    assert stored is not None
    with host() as (server, engine), llama_server(stored.files["model"]) as alone:
        for streams in (1, 4, 8, 16):
            # One stream is soon over, and one answer that ends early weighs the most there.
            times = rounds * (3 if streams == 1 else 1)
            rates, firsts = _alternating((server, alone, engine), streams, times)
            what = f"chat, {streams} streams:"
            for place, peer in ((1, "llama.cpp's server alone"), (2, "the same engine")):
                beside = f"beside {peer}"
                yield paired(f"{what} tokens/s, {beside}", rates[0], rates[place], "≥ 0.97")
                yield paired(
                    f"{what} first token, ms, {beside}", firsts[0], firsts[place], "≤ 1.05"
                )


def prepared(rounds: int) -> Iterator[Row]:
    """The file as the pull made it, through the server; llama.cpp's alone on what was fetched."""
    card = require(MODEL)
    manifest = Store(data_dir(None)).manifest(card)
    if manifest is None or manifest.requantized is None:
        sys.exit(
            f"{MODEL} is as downloaded: `interlingua models remove {MODEL}`, and pull it again"
        )
    downloaded = Store(ROOT / ".clients" / "downloaded").pull(card, as_is=True).files["model"]
    with host() as (server, engine), llama_server(downloaded) as peer:
        for streams, holds in ((8, "≥ 1.3"), (1, "")):
            rates, firsts = _alternating((server, peer), streams, rounds * (1 if holds else 2))
            yield paired(f"prepared, {streams} streams: tokens/s", *rates, holds)
            yield paired(f"prepared, {streams} streams: time to first token, ms", *firsts, "")
        yield from same_next_tokens(engine, peer)


def _alternating(
    doors: Sequence[Door], streams: int, rounds: int
) -> tuple[tuple[list[float], ...], tuple[list[float], ...]]:
    """For each door, the rounds' tokens per second; and the median milliseconds to the first."""
    rates: tuple[list[float], ...] = tuple([] for _ in doors)
    firsts: tuple[list[float], ...] = tuple([] for _ in doors)
    sides = range(len(doors))
    for number in range(rounds + 1):
        for side in sides if number % 2 else reversed(sides):
            seeds = [next(_SEEDS) for _ in range(streams)]
            rate, first = asyncio.run(chat_round(doors[side], seeds, words=60, max_tokens=96))
            if number:  # the first round warms up
                rates[side].append(rate)
                firsts[side].append(first * 1000)
    return rates, firsts


@contextmanager
def _started(module: str, *arguments: str) -> Iterator[str]:
    """The first line that the program prints, while it runs."""
    command: Sequence[str] = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
