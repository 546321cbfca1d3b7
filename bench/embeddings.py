"""Embeddings: ours beside a bare loop and beside what others serve the same model with.

The sides take turns of some seconds each, one after the other, round by round: each goes
through the same inputs, one a call, from the compiled load tool. Ratios are of one round.
The bare loop looks for its best plan before, and is a process of its own too. CPU is that of a
side's whole process tree, which says the same on a busy machine as on an idle one to within
some percent; inputs per second don't, where others take a core now and then.
"""

import base64
import io
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from clients.environments import SetupFailed
from PIL import Image

from interlingua.catalog.catalog import require
from interlingua.catalog.store import Store
from interlingua.config.load import data_dir

from . import embedders, native
from .embedders import OURS, Embedder
from .load import prompt
from .processes import cpu_s
from .rows import Row, paired

#: A turn of one side.
SECONDS = 3.0
#: The longest text of a turn is some 160 tokens, the shortest some 27.
_TEXTS = {"short": (18, 600), "long": (120, 240)}
_PICTURES = {"JPEG": 32, "PNG": 16}
_SIZE = (640, 480)
_REFERENCE = "sentence-transformers"
_CHECKED = 64
_BARE = "a bare loop"

#: Inputs per second, and CPU seconds an input.
Figures = tuple[float, float]
Turn = Callable[[], Figures]


class Goal(NamedTuple):
    bare: str
    peers: str = ""


def embeddings(rounds: int) -> Iterator[Row]:
    """32 callers of one text each, short and long; then how near to float32 each side is."""
    files = _files("all-minilm-l6-v2")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        sides = list(_started(Path(folder), stack))
        for length, (words, count) in _TEXTS.items():
            texts = [prompt(seed, words) for seed in range(count)]
            turns = {each.name: _turn(each, "/embeddings", texts, 32) for each in sides}
            bare = ["texts", files["model"], files["tokenizer"]]
            what = f"32 callers, {length} texts/s"
            yield from _compared(what, turns, bare, texts, rounds, Goal("≥ 0.9", "≥ 1.2"))
        yield from _quality(sides)


def images(rounds: int) -> Iterator[Row]:
    """16 callers of one image each, as JPEG and as PNG of 640 by 480."""
    files = _files("efficientnet-lite0")
    with (
        tempfile.TemporaryDirectory() as folder,
        embedders.interlingua(Path(folder)) as server,
    ):
        ours = server._replace(model="efficientnet")
        for kind, count in _PICTURES.items():
            urls = [_picture(seed, kind) for seed in range(count)]
            inputs = [{"image": url} for url in urls]
            turns = {OURS: _turn(ours, "/images/embeddings", inputs, 16)}
            bare = ["images", files["model"]]
            what = f"16 callers, {kind} images/s"
            yield from _compared(what, turns, bare, urls, rounds, Goal("≥ 0.85"))


def _files(name: str) -> dict[str, str]:
    """The files of a model that ``make bench`` has pulled."""
    stored = Store(data_dir(None)).get(require(name))
    assert stored is not None
    return {role: str(path) for role, path in stored.files.items()}


def _started(folder: Path, stack: ExitStack) -> Iterator[Embedder]:
    """Ours, and the peers that can be had here."""
    yield stack.enter_context(embedders.interlingua(folder))
    for name, start in embedders.PEERS.items():
        try:
            where = embedders.folder_of(folder, name)
            yield stack.enter_context(start(where))
        except (SetupFailed, subprocess.SubprocessError, OSError) as error:
            _tell(f"{name} is left out: {error}")


def _turn(side: Embedder, path: str, inputs: Sequence[object], callers: int) -> Turn:
    requests = b"".join(side.request(path, item) for item in inputs)

    def turn() -> Figures:
        before = cpu_s(side.pid)
        told = native.load(side.port, requests, connections=callers, seconds=SECONDS)
        assert told["calls"], f"{side.name} answered no call"
        assert not told["errors"], f"{side.name}: {told['errors']} calls failed"
        return told["calls"] / told["seconds"], (cpu_s(side.pid) - before) / told["calls"]

    return turn


def _compared(
    what: str,
    turns: dict[str, Turn],
    bare: Sequence[str],
    inputs: Sequence[str],
    rounds: int,
    goal: Goal,
) -> Iterator[Row]:
    """All sides in turn; ours first and last in every other round."""
    with _bare(bare, inputs) as turn:
        sides = {**turns, _BARE: turn}
        rates: dict[str, list[float]] = {name: [] for name in sides}
        costs: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(rounds + 1):
            for name in sides if number % 2 else reversed(sides):
                rate, cost = sides[name]()
                if number:  # the first round warms up
                    rates[name].append(rate)
                    costs[name].append(cost * 1000)
            _tell(f"{what}, round {number} of {rounds}")
    for name in sides:
        if name != OURS:
            holds = goal.bare if name == _BARE else goal.peers
            yield paired(f"{what}: beside {name}", rates[OURS], rates[name], holds)
    for name in sides:
        if name != OURS:
            yield paired(f"the same, CPU ms each: beside {name}", costs[OURS], costs[name], "")


@contextmanager
def _bare(arguments: Sequence[str], inputs: Sequence[str]) -> Iterator[Turn]:
    """The bare loop, by its best plan."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(inputs, file)
        file.flush()
        command = [sys.executable, "-m", "bench.bare_onnx", *arguments, file.name]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin
            assert process.stdout
            told: dict[str, Any] = json.loads(process.stdout.readline())
            _tell(f"the bare loop's best plan: {told['best']} of {told['rates']}")

            def turn() -> Figures:
                print(SECONDS, file=process.stdin, flush=True)
                assert process.stdout
                found = json.loads(process.stdout.readline())
                return found["rate"], found["cpu_s"]

            yield turn
            process.stdin.close()


def _quality(sides: Sequence[Embedder]) -> Iterator[Row]:
    """How near each side's vectors are to those of the float32 weights."""
    texts = [prompt(seed, words) for seed in range(_CHECKED) for words, _ in _TEXTS.values()]
    found = {each.name: each.vectors("/embeddings", texts) for each in sides}
    reference = found.pop(_REFERENCE, None)
    if reference is None:
        return
    for name, vectors in found.items():
        cosines = [_cosine(one, other) for one, other in zip(vectors, reference, strict=True)]
        mean, least = statistics.mean(cosines), min(cosines)
        said = f"{least:.5f} to {max(cosines):.5f}"
        goal = "≥ 0.999" if name == OURS else ""
        yield Row(f"cosine with float32, mean: {name}", f"{mean:.5f}", "", said, goal)


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(map(float.__mul__, one, other)) / (math.hypot(*one) * math.hypot(*other))


def _picture(seed: int, kind: str) -> str:
    """A data URL of something that packs as a photograph does: 75 kB as JPEG, 570 as PNG."""
    random = np.random.default_rng(seed)
    drawn = np.full((_SIZE[1], _SIZE[0], 3), 128.0)
    for columns, weight in ((8, 0.7), (32, 0.4), (96, 0.19), (320, 0.06)):
        coarse = random.integers(0, 256, (columns * 3 // 4, columns, 3), np.uint8)
        fine = Image.fromarray(coarse).resize(_SIZE, Image.Resampling.BICUBIC)
        drawn += (np.asarray(fine, np.float64) - 128) * weight
    buffer = io.BytesIO()
    options = {"quality": 85} if kind == "JPEG" else {}
    Image.fromarray(np.clip(drawn, 0, 255).astype(np.uint8)).save(buffer, kind, **options)
    packed = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{packed}"


def _tell(what: str) -> None:
    print(f"# {what}", file=sys.stderr, flush=True)
