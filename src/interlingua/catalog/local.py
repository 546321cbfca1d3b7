"""A card for a model that a user names by its path: a GGUF file, or an ONNX export.

What such a directory holds is stated by the files that its exporter put beside the graphs;
what they don't say is asked for, not guessed.
"""

import re
from pathlib import Path

from interlingua.errors import ModelFileError
from interlingua.types.models import Capabilities, ModelType

from .card import Card, StoredModel
from .exports import (
    image_embedding,
    joint_text,
    sentence_embedding,
    shorter_lengths,
    vector_length,
)
from .gguf import GgufHeader, read_gguf
from .onnx_files import OnnxFacts, check_onnx

#: The full graph first, then what keeps most of it.
_VARIANTS = ("", "_fp16", "_quantized", "_int8", "_uint8", "_q4")

_KINDS = (
    "a .gguf file; a directory with tokenizer.json, 1_Pooling/config.json and model.onnx (text "
    "embeddings); or one with vision_model.onnx, text_model.onnx, tokenizer.json and "
    "preprocessor_config.json (images and texts)"
)


def card_for_path(path: Path) -> StoredModel:
    """The model at that path, ready to be opened where it is.

    Raises:
        ModelFileError: there is none, or it isn't one of the kinds that an engine here
            runs; names the file, what is wrong and the remedy.
    """
    if path.is_dir():
        return _directory(path)
    if not path.exists():
        raise ModelFileError(f"{path} doesn't exist. A model's path names {_KINDS}")
    if path.suffix.lower() != ".gguf":
        raise ModelFileError(f"{path} isn't a model that runs here. A model's path names {_KINDS}")
    return _gguf(path)


def _gguf(path: Path) -> StoredModel:
    header = read_gguf(path)
    if header.architecture == "clip":
        raise ModelFileError(
            f"{path} is the projector of a vision model, not a model: name the model's own file"
        )
    card = Card(
        name=_name(path.stem),
        title=header.name or path.stem,
        publisher="local",
        type=_type_of(header),
        license=header.license or "unknown",
        context_length=header.context_length,
        engine="llamacpp",
        capabilities=Capabilities(
            embedding_length=header.embedding_length if _type_of(header) == "embedding" else None
        ),
    )
    return StoredModel(card=card, files={"model": path})


def _type_of(header: GgufHeader) -> ModelType:
    if header.pooling not in (None, "none") or "bert" in header.architecture:
        return "embedding"
    return "chat-completion" if header.chat_template else "text-generation"


def _directory(path: Path) -> StoredModel:
    vision, text = _graph(path, "vision_model"), _graph(path, "text_model")
    if vision and text:
        return _joint(path, vision, text)
    model = _graph(path, "model")
    if model and (path / "tokenizer.json").is_file():
        return _sentences(path, model)
    ggufs = sorted(path.glob("*.gguf"))
    hint = f"; did you mean {ggufs[0]}?" if ggufs else ""
    raise ModelFileError(
        f"{path} holds no model that runs here{hint} A model's path names {_KINDS}"
    )


def _graph(path: Path, stem: str) -> Path | None:
    """The graph of that name in the directory or its ``onnx``, the most exact one first."""
    names = [f"{stem}{variant}.onnx" for variant in _VARIANTS]
    candidates = [folder / name for name in names for folder in (path, path / "onnx")]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _sentences(path: Path, model: Path) -> StoredModel:
    graph = check_onnx(model)
    text = sentence_embedding(path, graph)
    card = Card(
        name=_name(path.name),
        title=path.name,
        publisher="local",
        type="embedding",
        license="unknown",
        context_length=text.max_tokens,
        engine="onnx-text",
        capabilities=Capabilities(
            embedding_length=vector_length(graph, text.output, path),
            dimensions=shorter_lengths(path),
            input_types=frozenset({"text", *text.prefixes}),
        ),
        text_embedding=text,
    )
    return StoredModel(card=card, files={"model": model, "tokenizer": path / "tokenizer.json"})


def _joint(path: Path, vision: Path, text: Path) -> StoredModel:
    tokenizer = path / "tokenizer.json"
    if not tokenizer.is_file():
        raise ModelFileError(f"{tokenizer} is missing: the text tower needs it; add it")
    vision_graph, text_graph = check_onnx(vision), check_onnx(text)
    images, texts = image_embedding(path, vision_graph), joint_text(path, text_graph)
    length = _length(vision_graph, images.output)
    other = _length(text_graph, texts.output)
    if length and other and length != other:
        raise ModelFileError(
            f"{vision} gives vectors of {length} numbers and {text.name} of {other}: they aren't "
            "of one space; use the files of one export"
        )
    card = Card(
        name=_name(path.name),
        title=path.name,
        publisher="local",
        type="image-embedding",
        license="unknown",
        engine="onnx-joint",
        capabilities=Capabilities(embedding_length=length or other, image_text=True),
        text_embedding=texts,
        image_embedding=images,
    )
    return StoredModel(card=card, files={"vision": vision, "text": text, "tokenizer": tokenizer})


def _length(graph: OnnxFacts, output: str | None) -> int | None:
    shape = next((value.shape for value in graph.outputs if value.name == output), ())
    return shape[-1] if shape else None


def _name(stem: str) -> str:
    """A card's name out of a file's: lower-case, and of the characters that names have."""
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._") or "model"
