"""What answers: operations, model information and capabilities, all of it data."""

from typing import Literal

import msgspec

Operation = Literal["info", "chat_completions", "completions", "embeddings", "image_embeddings"]
ModelType = Literal["chat-completion", "text-generation", "embedding", "image-embedding"]
EncodingFormat = Literal["float", "base64", "binary", "ubinary", "int8", "uint8"]
InputType = Literal["text", "query", "document"]
ResponseFormatType = Literal["text", "json_object", "json_schema"]
ExtraParameters = Literal["error", "drop", "pass-through"]


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``GET /info``. ``model_name`` is a name that calls may route by."""

    model_name: str
    model_type: ModelType
    model_provider_name: str


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment can honour. Sparse data, merged by :func:`merge`: later wins.

    ``None`` means "not stated": the dialect's or engine's default holds.
    """

    #: What it answers.
    operations: frozenset[Operation] | None = None
    #: Known top-level parameters that it honours, by their wire names.
    parameters: frozenset[str] | None = None
    #: Names that it doesn't take, whatever ``parameters`` says.
    refuses: frozenset[str] | None = None
    #: Names that callers may send under ``extra-parameters: pass-through``. An engine
    #: honours just these; ``passes_through`` says that any name may be sent on (providers).
    extensions: frozenset[str] | None = None
    passes_through: bool | None = None
    #: Ranges of known parameters that are narrower than the API's own, as in
    #: ``{ temperature = [0, 1] }``.
    ranges: dict[str, tuple[float, float]] | None = None
    #: Roles that messages may have. A ``system`` or ``developer`` message that it doesn't take
    #: goes on as the other of the two, else inside the next user message.
    roles: frozenset[str] | None = None
    #: Kinds of content parts: ``text``, ``image``, ``audio``.
    modalities: frozenset[str] | None = None
    response_formats: frozenset[ResponseFormatType] | None = None
    encoding_formats: frozenset[EncodingFormat] | None = None
    input_types: frozenset[InputType] | None = None
    #: Lengths that ``dimensions`` may name; empty: only the model's own.
    dimensions: frozenset[int] | None = None
    #: The model's own vector length.
    embedding_length: int | None = None
    #: Whether an image input may carry ``text`` (one joint space).
    image_text: bool | None = None
    #: Whether it fetches images itself, so that a request's URLs go on as they are
    #: (providers). Else only data URLs and hosts of ``remote_images`` are taken.
    fetches_images: bool | None = None
    #: Tokens that one call gets, prompt and completion together.
    context_length: int | None = None
    #: Whether the model thinks aloud in ``<think>``.
    reasoning: bool | None = None
    #: Whether a provider can be asked for a stream; else one whole reply is asked for.
    streams: bool | None = None
    #: A provider's own names of known parameters of a chat, as in
    #: ``{ max_tokens = "max_completion_tokens" }``.
    renames: dict[str, str] | None = None


def merge(*layers: Capabilities) -> Capabilities:
    """The capabilities of all layers, a later layer's statement replacing an earlier one's."""
    stated: dict[str, object] = {}
    for layer in layers:
        for field in layer.__struct_fields__:
            value = getattr(layer, field)
            if value is not None:
                stated[field] = value
    return msgspec.convert(stated, Capabilities)


def stated(can: Capabilities) -> dict[str, object]:
    """What is stated, as it is shown: lists in order."""
    shown: dict[str, object] = {}
    for field in can.__struct_fields__:
        value: object = getattr(can, field)
        if value is not None:
            shown[field] = sorted(value) if isinstance(value, frozenset) else value
    return shown
