"""How an exported ONNX model is fed and read, as the files beside its graphs say.

Rules of this file:
- The names are those of the exporters: sentence-transformers (``modules.json``,
  ``1_Pooling/config.json``, ``sentence_bert_config.json``,
  ``config_sentence_transformers.json``) and transformers (``config.json``,
  ``preprocessor_config.json``, ``tokenizer_config.json``).
- A setting that an engine here can't follow is refused, never left out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from interlingua.errors import ModelFileError
from interlingua.types.models import InputType

from .card import ImageEmbedding, TextEmbedding
from .onnx_files import OnnxFacts, OnnxValue

_T = TypeVar("_T")

#: Their position table begins behind the padding token's place.
_OFFSET_POSITIONS = frozenset({"camembert", "mpnet", "roberta", "xlm-roberta"})
_TOKEN_OUTPUTS = ("last_hidden_state", "token_embeddings")
_TEXT_OUTPUTS = ("text_embeds", "sentence_embedding", "pooler_output")
_IMAGE_OUTPUTS = ("image_embeds", "pooler_output")
#: Prompts by the names that models give them.
_PROMPTS: Mapping[str, InputType] = {
    "query": "query",
    "document": "document",
    "passage": "document",
}


class _Pooling(msgspec.Struct, frozen=True):
    word_embedding_dimension: int | None = None
    pooling_mode: str | None = None
    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_lasttoken: bool = False
    pooling_mode_max_tokens: bool = False
    pooling_mode_mean_sqrt_len_tokens: bool = False
    pooling_mode_weightedmean_tokens: bool = False


class _Module(msgspec.Struct, frozen=True):
    type: str = ""


class _SentenceBert(msgspec.Struct, frozen=True):
    max_seq_length: int | None = None


class _SentenceTransformers(msgspec.Struct, frozen=True):
    prompts: dict[str, str] = {}
    default_prompt_name: str | None = None


class _Token(msgspec.Struct, frozen=True):
    content: str


class _Tokenizer(msgspec.Struct, frozen=True):
    pad_token: str | _Token | None = None
    model_max_length: float | None = None


class _Transformer(msgspec.Struct, frozen=True):
    model_type: str = ""
    hidden_size: int | None = None
    max_position_embeddings: int | None = None
    matryoshka_dimensions: tuple[int, ...] = ()
    text_config: "_Transformer | None" = None


class _Size(msgspec.Struct, frozen=True):
    height: int | None = None
    width: int | None = None
    shortest_edge: int | None = None


class _Preprocessor(msgspec.Struct, frozen=True):
    do_resize: bool = True
    size: int | _Size | None = None
    do_center_crop: bool | None = None
    crop_size: int | _Size | None = None
    resample: int = 3
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, float, float] | None = None
    image_std: tuple[float, float, float] | None = None


def sentence_embedding(folder: Path, graph: OnnxFacts) -> TextEmbedding:
    """How the sentence-embedding graph of the directory is fed and read.

    Raises:
        ModelFileError: the files don't say, or say what no engine here can follow.
    """
    names = [output.name for output in graph.outputs]
    pooling: Literal["mean", "cls", "last", "none"] = "none"
    output = "sentence_embedding"
    modules = _module_types(folder)
    if output not in names:
        pooling = _pooling_mode(folder)
        output = next((name for name in _TOKEN_OUTPUTS if name in names), names[0])
        other = [kind for kind in modules if kind not in ("Transformer", "Pooling", "Normalize")]
        if other:
            raise ModelFileError(
                f"{folder / 'modules.json'} ends in {other[-1]}, which the graph doesn't hold: "
                "export the model with its sentence_embedding output"
            )
    return TextEmbedding(
        pooling=pooling,
        normalize="Normalize" in modules or not modules,
        max_tokens=_max_tokens(folder),
        prefixes=_prefixes(folder),
        output=output,
        pad_token=_pad_token(folder),
    )


def vector_length(graph: OnnxFacts, output: str | None, folder: Path) -> int | None:
    """The length of the vectors that the graph gives, where it or its config says."""
    shapes = {value.name: value.shape for value in graph.outputs}
    shape = shapes.get(output or "", ())
    pooled = _read(folder / "1_Pooling" / "config.json", _Pooling).word_embedding_dimension
    return (shape[-1] if shape else None) or pooled or _transformer(folder).hidden_size


def shorter_lengths(folder: Path) -> frozenset[int] | None:
    """The lengths that vectors may be cut to, where the model was trained for it."""
    return frozenset(_transformer(folder).matryoshka_dimensions) or None


def joint_text(folder: Path, graph: OnnxFacts) -> TextEmbedding:
    """How the text tower of the directory is fed and read.

    Raises:
        ModelFileError: its outputs or its length can't be told.
    """
    config = _transformer(folder)
    text = config.text_config or config
    limits = [text.max_position_embeddings, _tokenizer_limit(folder)]
    known = [limit for limit in limits if limit]
    shape = graph.inputs[0].shape if graph.inputs else ()
    fixed = shape[-1] if len(shape) == 2 else None
    if not known and not fixed:
        raise ModelFileError(
            f"{folder / 'config.json'} doesn't say how many tokens the text tower takes: add "
            "text_config.max_position_embeddings"
        )
    longest = fixed or min(known)
    masked = any(value.name == "attention_mask" for value in graph.inputs)
    return TextEmbedding(
        pooling="none",
        max_tokens=longest,
        output=_output(graph, _TEXT_OUTPUTS, folder / "text_model.onnx").name,
        pad_to=None if masked and not fixed else longest,
        pad_token=_pad_token(folder),
    )


def image_embedding(folder: Path, graph: OnnxFacts) -> ImageEmbedding:
    """How pixels are prepared for the vision tower of the directory.

    Raises:
        ModelFileError: preprocessor_config.json is missing, or asks for what no engine
            here can do.
    """
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise ModelFileError(f"{path} is missing: it says how images are prepared; add it")
    config = _read(path, _Preprocessor)
    resize, size, fit = _geometry(config, path)
    pixels = next((v for v in graph.inputs if v.name == "pixel_values"), graph.inputs[0])
    if len(pixels.shape) == 4 and pixels.shape[2] not in (None, size):
        raise ModelFileError(
            f"{path} makes images of {size} pixels, the graph takes {pixels.shape[2]}: "
            "use the files of one export"
        )
    scale = config.rescale_factor if config.do_rescale else 1.0
    mean = config.image_mean if config.do_normalize and config.image_mean else (0.0, 0.0, 0.0)
    std = config.image_std if config.do_normalize and config.image_std else (1.0, 1.0, 1.0)
    return ImageEmbedding(
        size=size,
        resize=resize,
        fit=fit,
        interpolation=_interpolation(config, path),
        mean=_scaled(mean, scale),
        std=_scaled(std, scale),
        input=pixels.name,
        output=_output(graph, _IMAGE_OUTPUTS, folder / "vision_model.onnx").name,
    )


def _geometry(
    config: _Preprocessor, path: Path
) -> tuple[int | None, int, Literal["crop", "squash"]]:
    """The shorter side after resizing, the square's side, and how the square is had."""
    size = _Size(shortest_edge=config.size) if isinstance(config.size, int) else config.size
    crop = config.crop_size
    if isinstance(crop, int):
        crop = _Size(height=crop, width=crop)
    crops = config.do_center_crop if config.do_center_crop is not None else crop is not None
    if crops and crop and crop.height and crop.height == crop.width:
        shorter = size.shortest_edge or size.height if size and config.do_resize else None
        return shorter, crop.height, "crop"
    if not crops and size and size.height and size.height == size.width:
        return None, size.height, "squash"
    raise ModelFileError(
        f"{path} doesn't end in a square: state `size` with an equal height and width, or "
        "`do_center_crop` with such a `crop_size`"
    )


def _interpolation(config: _Preprocessor, path: Path) -> Literal["bicubic", "bilinear"]:
    """Pillow's numbers: 2 bilinear, 3 bicubic."""
    if config.resample not in (2, 3):
        raise ModelFileError(f"{path} has resample {config.resample}: 2 and 3 can be followed")
    return "bicubic" if config.resample == 3 else "bilinear"


def _scaled(values: Sequence[float], scale: float) -> tuple[float, float, float]:
    """From the exporter's scale (0 to 1, mostly) to that of a card, 0 to 255."""
    red, green, blue = (value / scale for value in values)
    return red, green, blue


def _output(graph: OnnxFacts, names: tuple[str, ...], path: Path) -> OnnxValue:
    """The output that is one vector an input."""
    by_name = {value.name: value for value in graph.outputs}
    named = [by_name[name] for name in names if name in by_name]
    flat = [value for value in graph.outputs if len(value.shape) == 2]
    if named or len(flat) == 1:
        return (named or flat)[0]
    raise ModelFileError(
        f"{path} gives {', '.join(by_name) or 'nothing'}: which is the vector isn't clear; "
        f"name it {names[0]}"
    )


def _pooling_mode(folder: Path) -> Literal["mean", "cls", "last"]:
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        raise ModelFileError(
            f"{path} is missing: it says how the vectors of tokens become one; add it, as in "
            '{"pooling_mode_mean_tokens": true}'
        )
    config = _read(path, _Pooling)
    modes = {
        "cls": config.pooling_mode_cls_token or config.pooling_mode == "cls",
        "mean": config.pooling_mode_mean_tokens or config.pooling_mode == "mean",
        "last": config.pooling_mode_lasttoken or config.pooling_mode == "lasttoken",
        "max": config.pooling_mode_max_tokens or config.pooling_mode == "max",
        "mean_sqrt_len": config.pooling_mode_mean_sqrt_len_tokens,
        "weightedmean": config.pooling_mode_weightedmean_tokens,
    }
    match [mode for mode, chosen in modes.items() if chosen]:
        case ["cls"]:
            return "cls"
        case ["mean"]:
            return "mean"
        case ["last"]:
            return "last"
        case chosen:
            asked = " and ".join(chosen) or "none"
            raise ModelFileError(f"{path} asks for pooling by {asked}: mean, cls or last can be")


def _module_types(folder: Path) -> list[str]:
    modules = _read(folder / "modules.json", tuple[_Module, ...])
    return [module.type.rpartition(".")[2] for module in modules]


def _prefixes(folder: Path) -> dict[InputType, str]:
    config = _read(folder / "config_sentence_transformers.json", _SentenceTransformers)
    prefixes = {_PROMPTS[name]: text for name, text in config.prompts.items() if name in _PROMPTS}
    default = config.prompts.get(config.default_prompt_name or "")
    if default:
        prefixes["text"] = default
    return prefixes


def _max_tokens(folder: Path) -> int:
    stated = _read(folder / "sentence_bert_config.json", _SentenceBert).max_seq_length
    config = _transformer(folder)
    positions = config.max_position_embeddings
    if positions and config.model_type in _OFFSET_POSITIONS:
        positions -= 2
    known = [limit for limit in (stated, positions, _tokenizer_limit(folder)) if limit]
    return min(known, default=512)


def _tokenizer_limit(folder: Path) -> int | None:
    """Its ``model_max_length``, which is 10**30 where nobody set it."""
    limit = _read(folder / "tokenizer_config.json", _Tokenizer).model_max_length
    return int(limit) if limit and limit < 1_000_000 else None


def _pad_token(folder: Path) -> str | None:
    token = _read(folder / "tokenizer_config.json", _Tokenizer).pad_token
    return token.content if isinstance(token, _Token) else token


def _transformer(folder: Path) -> _Transformer:
    return _read(folder / "config.json", _Transformer)


def _read(path: Path, kind: type[_T]) -> _T:
    """The settings in a file; their defaults where there is none.

    Raises:
        ModelFileError: the file isn't JSON of that shape.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raw = b"[]" if kind == tuple[_Module, ...] else b"{}"
    except OSError as error:
        raise ModelFileError(f"{path} can't be read: {error.strerror}. Check the path") from error
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{path} isn't as expected ({error}): get it anew") from error
