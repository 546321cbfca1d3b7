"""A joint image and text model, tiny but real: a CLIP-type ONNX export, built here.

Its space is that of colours: an image lies where its mean colour does, a text where the
colours that it names do. So a red image is nearest to "a photo of a red thing".
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

SIZE = 32
LENGTH = 16
TOKENS = 77
COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (0, 0, 0),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "white": (255, 255, 255),
}
_WORDS = (
    "<pad>",
    "<start>",
    "<end>",
    "<unk>",
    *COLOURS,
    "a",
    "an",
    "image",
    "of",
    "photo",
    "thing",
)
#: CLIP's own.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


def build_tiny_clip(folder: Path) -> Path:
    """Write the export into the directory and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    space = np.linalg.qr(np.random.default_rng(7).standard_normal((LENGTH, 3)))[0]
    space = space.astype(np.float32)
    onnx.save(_vision(space), folder / "vision_model.onnx")
    onnx.save(_text(space), folder / "text_model.onnx")
    _tokenizer().save(str(folder / "tokenizer.json"))
    for name, settings in _SETTINGS.items():
        (folder / name).write_text(json.dumps(settings), "utf-8")
    return folder


_SETTINGS: dict[str, object] = {
    "config.json": {
        "model_type": "clip",
        "projection_dim": LENGTH,
        "text_config": {"max_position_embeddings": TOKENS, "hidden_size": LENGTH},
        "vision_config": {"image_size": SIZE, "hidden_size": LENGTH},
    },
    "preprocessor_config.json": {
        "do_resize": True,
        "size": {"shortest_edge": SIZE},
        "do_center_crop": True,
        "crop_size": {"height": SIZE, "width": SIZE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": _MEAN,
        "image_std": _STD,
        "resample": 3,
    },
    "tokenizer_config.json": {"model_max_length": TOKENS, "pad_token": "<pad>"},
}


def _vision(space: np.ndarray) -> onnx.ModelProto:
    """Patches of 8 by 8 pixels, their mean colour from -1 to 1, then the common space."""
    patches = np.zeros((3, 3, 8, 8), np.float32)
    bias = np.zeros(3, np.float32)
    for channel in range(3):
        patches[channel, channel] = 2 * _STD[channel] / 64
        bias[channel] = 2 * _MEAN[channel] - 1
    nodes = [
        helper.make_node(
            "Conv",
            ["pixel_values", "patches", "bias"],
            ["colours"],
            kernel_shape=[8, 8],
            strides=[8, 8],
        ),
        helper.make_node("GlobalAveragePool", ["colours"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["colour"], axis=1),
        helper.make_node("MatMul", ["colour", "space"], ["image_embeds"]),
    ]
    weights = {"patches": patches, "bias": bias, "space": space.T.copy()}
    pixels = helper.make_tensor_value_info(
        "pixel_values", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE]
    )
    return _model(nodes, weights, pixels, "image_embeds")


def _text(space: np.ndarray) -> onnx.ModelProto:
    """A vector a word, added up; words that name no colour are zeros."""
    table = np.zeros((len(_WORDS), LENGTH), np.float32)
    for word, colour in COLOURS.items():
        table[_WORDS.index(word)] = space @ (np.array(colour, np.float32) / 127.5 - 1)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("ReduceSum", ["words", "axes"], ["text_embeds"], keepdims=0),
    ]
    weights = {"table": table, "axes": np.array([1], np.int64)}
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", TOKENS])
    return _model(nodes, weights, ids, "text_embeds")


def _model(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    taken: onnx.ValueInfoProto,
    given: str,
) -> onnx.ModelProto:
    vectors = helper.make_tensor_value_info(given, TensorProto.FLOAT, ["batch", LENGTH])
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", [taken], [vectors], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _tokenizer() -> Tokenizer:
    words = {word: number for number, word in enumerate(_WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(_WORDS[:4]))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    return tokenizer
