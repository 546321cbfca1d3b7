"""The floor for embeddings: tokenizer and onnxruntime in a loop, nothing else.

Run as a process of its own; prints texts per second for each batch size as JSON.
"""

import json
import sys
import time

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


def main(graph: str, tokenizer_path: str, texts_path: str) -> None:
    with open(texts_path) as file:  # noqa: PTH123 - a script
        texts = json.load(file)
    tokenizer = Tokenizer.from_file(tokenizer_path)
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = {item.name for item in session.get_inputs()}

    def embed(batch: list[str]) -> np.ndarray:
        encoded = tokenizer.encode_batch(batch)
        ids = np.array([item.ids for item in encoded], np.int64)
        mask = np.array([item.attention_mask for item in encoded], np.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = session.run(None, {k: v for k, v in feed.items() if k in names})[0]
        pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    embed(texts[:8])
    rates = {}
    for size in (1, 2, 4, 8, 16, 32):
        ordered = sorted(texts, key=len)
        began = time.perf_counter()
        for start in range(0, len(ordered), size):
            embed(ordered[start : start + size])
        rates[size] = len(texts) / (time.perf_counter() - began)
    print(json.dumps(rates))


if __name__ == "__main__":
    main(*sys.argv[1:4])
