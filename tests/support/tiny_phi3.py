"""A small but real model of the Phi-3 architecture as a GGUF file, made with numpy alone.

Two layers with grouped-query attention, the tokenizer and chat template of Phi-3, and an
output head that knows one chain of words: after ``<|assistant|>`` (or a line feed) it says
``REPLY`` and ends its turn. Its layers are noise too weak to change that.
"""

from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np

WORDS = ("▁Hello", "▁from", "▁a", "▁tiny", "▁Phi", "-3", "▁model", ".")
REPLY = " Hello from a tiny Phi-3 model."
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'assistant' %}"
    "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
_SPECIAL = ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")
_LAYERS, _HEADS, _KV_HEADS = 2, 4, 2
_CERTAIN = 4.0


def build_tiny_phi3(
    path: Path,
    *,
    context: int = 4096,
    template: str | None = TEMPLATE,
    chain: tuple[str, ...] = WORDS,
    loops: bool = False,
) -> Path:
    """Write the model to ``path`` and return it. Takes a third of a second, 12 MB.

    ``chain`` is what it says after ``<|assistant|>``; with ``loops`` it begins again
    instead of ending its turn, and so talks until it is stopped.
    """
    tokens, types = _vocabulary(chain)
    index = {token: i for i, token in enumerate(tokens)}
    writer = gguf.GGUFWriter(path, "phi3")
    _write_facts(writer, context=context, width=len(tokens))
    _write_tokenizer(writer, tokens, types, index)
    if template is not None:
        writer.add_chat_template(template)
    _write_tensors(writer, len(tokens), _bigrams(index, chain, loops=loops))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _vocabulary(chain: tuple[str, ...]) -> tuple[list[str], list[int]]:
    kind = gguf.TokenType
    plain = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    tokens = list(dict.fromkeys([*plain, *map(chr, range(33, 127)), *WORDS, *chain]))
    types = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL, *[kind.BYTE] * 256]
    types += [kind.NORMAL] * (len(tokens) - len(types))
    padding = -(len(tokens) + len(_SPECIAL)) % 32
    special = [*_SPECIAL, *(f"<|placeholder{i}|>" for i in range(padding))]
    return tokens + special, [int(k) for k in types] + [int(kind.CONTROL)] * len(special)


def _write_facts(writer: gguf.GGUFWriter, *, context: int, width: int) -> None:
    writer.add_name("tiny-phi3-test")
    writer.add_context_length(context)
    writer.add_rope_scaling_orig_ctx_len(context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(2 * width)
    writer.add_block_count(_LAYERS)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // _HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_sliding_window(0)
    writer.add_file_type(0)


def _write_tokenizer(
    writer: gguf.GGUFWriter, tokens: list[str], types: list[int], index: dict[str, int]
) -> None:
    scores = [
        float(len(token)) if kind == int(gguf.TokenType.NORMAL) else -1000.0
        for token, kind in zip(tokens, types, strict=True)
    ]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(index["<s>"])
    # As Phi-3's own file: the turn's end is <|end|>, which llama.cpp knows by its text.
    writer.add_eos_token_id(index["<|endoftext|>"])
    writer.add_unk_token_id(index["<unk>"])
    writer.add_pad_token_id(index["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)


def _bigrams(
    index: dict[str, int], chain: tuple[str, ...], *, loops: bool
) -> list[tuple[int, int]]:
    """Pairs of a token and the one that follows it."""
    end = chain[0] if loops else "<|end|>"
    words = ["<0x0A>", *chain, end]
    pairs = [(index[a], index[b]) for a, b in pairwise(words)]
    # The tokenizer swallows the line feed after one of Phi-3's control tokens.
    return [(index["<|assistant|>"], index[chain[0]]), *pairs]


def _write_tensors(writer: gguf.GGUFWriter, width: int, pairs: list[tuple[int, int]]) -> None:
    random = np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * 0.02).astype(np.float32)

    ones = np.ones(width, np.float32)
    kv_width = _KV_HEADS * (width // _HEADS)
    head = noise(width, width)
    for before, after in pairs:
        head[after, before] = _CERTAIN
    writer.add_tensor(
        "token_embd.weight", (np.eye(width) * 8).astype(np.float32) + noise(width, width)
    )
    writer.add_tensor("output_norm.weight", ones)
    writer.add_tensor("output.weight", head)
    for layer in range(_LAYERS):
        block = f"blk.{layer}."
        writer.add_tensor(block + "attn_norm.weight", ones)
        writer.add_tensor(block + "attn_qkv.weight", noise(width + 2 * kv_width, width))
        writer.add_tensor(block + "attn_output.weight", noise(width, width))
        writer.add_tensor(block + "ffn_norm.weight", ones)
        writer.add_tensor(block + "ffn_up.weight", noise(4 * width, width))
        writer.add_tensor(block + "ffn_down.weight", noise(width, 2 * width))
