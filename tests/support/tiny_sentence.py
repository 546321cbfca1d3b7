"""A sentence-embedding model, tiny but real: an ONNX export as sentence-transformers makes
them, built here.

Its space is that of subjects: a word lies where its subject does, with a little of its own.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

LENGTH = 32
TOKENS = 24
SUBJECTS = {
    "animals": ("cat", "kitten", "dog", "puppy", "purrs", "barks"),
    "money": ("stock", "stocks", "market", "bank", "prices", "shares"),
    "weather": ("rain", "sun", "storm", "cloud", "wind", "snow"),
}
_SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")
_FILLERS = ("the", "a", "on", "in", "is", "and", "fell", "sat", "query", "passage", ":")


def build_tiny_sentence(
    folder: Path,
    *,
    pooling: str = "mean",
    prompts: dict[str, str] | None = None,
    lengths: tuple[int, ...] = (),
) -> Path:
    """Write the export into the directory and return it."""
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    onnx.save(_graph(), folder / "onnx" / "model.onnx")
    _tokenizer().save(str(folder / "tokenizer.json"))
    mode = {"mean": "mean_tokens", "cls": "cls_token", "last": "lasttoken"}[pooling]
    settings: dict[str, object] = {
        "1_Pooling/config.json": {
            "word_embedding_dimension": LENGTH,
            f"pooling_mode_{mode}": True,
        },
        "config.json": {
            "model_type": "bert",
            "hidden_size": LENGTH,
            "max_position_embeddings": TOKENS,
            "matryoshka_dimensions": lengths,
        },
        "tokenizer_config.json": {"model_max_length": TOKENS, "pad_token": "[PAD]"},
        "sentence_bert_config.json": {"max_seq_length": TOKENS},
        "config_sentence_transformers.json": {"prompts": prompts or {}},
    }
    for name, content in settings.items():
        (folder / name).write_text(json.dumps(content), "utf-8")
    return folder


def words() -> tuple[str, ...]:
    """The vocabulary, by token id."""
    return (*_SPECIAL, *_FILLERS, *(word for group in SUBJECTS.values() for word in group))


def _graph() -> onnx.ModelProto:
    """A vector a token, and a little of the whole text's in each: padding must not leak."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
        helper.make_node("Gather", ["types", "token_type_ids"], ["kinds"]),
        helper.make_node("Add", ["tokens", "kinds"], ["sum"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["sum", "column"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "middle"], ["total"], keepdims=1),
        helper.make_node("Mul", ["total", "little"], ["context"]),
        helper.make_node("Add", ["sum", "context"], ["mixed"]),
        helper.make_node("Tanh", ["mixed"], ["last_hidden_state"]),
    ]
    weights = {
        "table": _table(),
        "types": np.zeros((2, LENGTH), np.float32),
        "last": np.array([-1], np.int64),
        "middle": np.array([1], np.int64),
        "little": np.array(0.05, np.float32),
    }
    shape = ["batch", "sequence"]
    names = ("input_ids", "attention_mask", "token_type_ids")
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in names],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*shape, LENGTH])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _table() -> np.ndarray:
    random = np.random.default_rng(11)
    own = {word: random.standard_normal(LENGTH) for word in words()}
    table = {word: 0.1 * vector for word, vector in own.items()}
    for group in SUBJECTS.values():
        subject = random.standard_normal(LENGTH)
        for word in group:
            table[word] = subject + 0.3 * own[word]
    return np.array([table[word] for word in words()], np.float32)


def _tokenizer() -> Tokenizer:
    vocabulary = {word: number for number, word in enumerate(words())}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer
