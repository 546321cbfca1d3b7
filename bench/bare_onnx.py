"""The floor for embeddings: what makes tokens or pixels, and onnxruntime, in a loop.

Run as a process of its own: ``python -m bench.bare_onnx texts GRAPH TOKENIZER INPUTS`` or
``images GRAPH INPUTS``, where INPUTS is a file of JSON, a list of texts or of ``data:`` URLs.
It looks for its best plan first: how many loops beside each other, of how many threads each,
in batches of which size. Each number on a line of standard input is then a time in seconds to
go on for; the answer is a line of JSON with inputs per second, and CPU seconds an input.
"""

import binascii
import io
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import onnxruntime
from PIL import Image
from tokenizers import Tokenizer

#: What one plan is tried for, in seconds.
TRIED_S = 0.8
_SIZES = {"texts": (1, 2, 4, 8, 16, 32), "images": (1, 2, 4, 8, 16)}


class Plan(NamedTuple):
    loops: int
    threads: int
    arena: bool
    size: int


Embed = Callable[[Sequence[str]], np.ndarray]


def session(graph: str, plan: Plan) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = plan.arena
    options.intra_op_num_threads = plan.threads
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def texts(running: onnxruntime.InferenceSession, tokenizer_path: str) -> Embed:
    tokenizer = Tokenizer.from_file(tokenizer_path)
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    names = {item.name for item in running.get_inputs()}

    def embed(batch: Sequence[str]) -> np.ndarray:
        encoded = tokenizer.encode_batch(batch)
        ids = np.array([item.ids for item in encoded], np.int64)
        mask = np.array([item.attention_mask for item in encoded], np.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = running.run(None, {k: v for k, v in feed.items() if k in names})[0]
        pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return unit(pooled)

    return embed


def images(running: onnxruntime.InferenceSession) -> Embed:
    def embed(batch: Sequence[str]) -> np.ndarray:
        return unit(running.run(["features"], {"pixels": np.stack([*map(pixels, batch)])})[0])

    return embed


def pixels(url: str) -> np.ndarray:
    """An image as EfficientNet-Lite0 wants it: 7/8 of its middle, as 224 by 224."""
    image = Image.open(io.BytesIO(binascii.a2b_base64(url.partition(",")[2])))
    image.draft("RGB", (512, 512))
    width, height = image.size
    side = min(width, height) * 224 / 256
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    small = image.convert("RGB").resize(
        (224, 224), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0
    )
    return ((np.asarray(small, np.float32) - 127) / 128).transpose(2, 0, 1)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def gone_through(embeds: Sequence[Embed], inputs: Sequence[str], size: int, seconds: float) -> dict:
    """Go through the inputs, again and again, and tell how quickly."""
    starts = itertools.cycle(range(0, len(inputs) - size + 1, size))
    began, used = time.perf_counter(), time.process_time()

    def loop(embed: Embed) -> int:
        done = 0
        while time.perf_counter() - began < seconds:
            start = next(starts)
            embed(inputs[start : start + size])
            done += size
        return done

    with ThreadPoolExecutor(len(embeds)) as pool:
        done = sum(pool.map(loop, embeds))
    took, cpu = time.perf_counter() - began, time.process_time() - used
    return {"rate": done / took, "cpu_s": cpu / done}


def main(kind: str, graph: str, *rest: str) -> None:
    *tokenizer, path = rest
    with open(path) as file:  # noqa: PTH123 - a script
        inputs = sorted(json.load(file), key=len)  # of like length beside each other
    cores = os.cpu_count() or 1
    found = {}
    for loops, arena in itertools.product({1, cores}, (False, True)):
        plan = Plan(loops, cores // loops, arena, 0)
        make = images if kind == "images" else texts
        embeds = [make(session(graph, plan), *tokenizer) for _ in range(loops)]
        for embed in embeds:
            embed(inputs[-1:])
        for size in _SIZES[kind]:
            told = gone_through(embeds, inputs, size, TRIED_S)
            found[plan._replace(size=size)] = (told["rate"], embeds)
    best = max(found, key=lambda plan: found[plan][0])
    rates = {" ".join(map(str, plan)): round(rate, 1) for plan, (rate, _) in found.items()}
    print(json.dumps({"best": best._asdict(), "rates": rates}), flush=True)
    for line in sys.stdin:
        told = gone_through(found[best][1], inputs, best.size, float(line))
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
