"""What the bodies of chat and text completions share, read and written."""

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from interlingua.errors import InvalidValue
from interlingua.types.chat import (
    ChoiceCount,
    Fraction,
    LogitBias,
    Penalty,
    Sampling,
    Seed,
    Temperature,
    TokenCount,
)

#: Azure names no limit and OpenAI takes 4: enough for both, and cheap to look for.
Stop = (
    Annotated[str, Meta(min_length=1)]
    | Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(max_length=16)]
)


ModelName = Annotated[
    str | None,
    Meta(
        description="A deployment's name or alias, in any case. Without it the first deployment "
        "that has the operation answers."
    ),
]


class StreamOptions(msgspec.Struct, frozen=True):
    """OpenAI: ``stream_options``."""

    include_usage: bool | None = None


#: OpenAI's own parameters of both operations.
Choices = Annotated[ChoiceCount | None, Meta(description="How many answers to the one request.")]
TokenBias = Annotated[
    LogitBias | None, Meta(description="By token id: how much more or less likely it is made.")
]
StreamOptionsChoice = Annotated[
    StreamOptions | None,
    Meta(description="Whether a stream has a last chunk with the usage."),
]


class SamplingBody(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters that both operations know on every route."""

    model: ModelName = None
    frequency_penalty: Annotated[
        Penalty | None, Meta(description="Against repeating, by how often a token has come.")
    ] = None
    presence_penalty: Annotated[
        Penalty | None, Meta(description="Against repeating, by whether a token has come.")
    ] = None
    temperature: Annotated[Temperature | None, Meta(description="0 takes the likeliest token.")] = (
        None
    )
    top_p: Annotated[
        Fraction | None,
        Meta(description="Only the likeliest tokens whose probabilities add up to this."),
    ] = None
    max_tokens: Annotated[
        TokenCount | None | UnsetType,
        Meta(description="The longest answer. null: up to the end of the context."),
    ] = UNSET
    stop: Annotated[
        Stop | None, Meta(description="Texts that end the answer and are not part of it.")
    ] = None
    seed: Annotated[
        Seed | None,
        Meta(description="The same seed and request give the same answer, as far as can be."),
    ] = None
    stream: Annotated[
        bool | None, Meta(description="Server-sent events instead of one object.")
    ] = None


def read_sampling(body: SamplingBody) -> dict[str, Any]:
    """The fields of :class:`Sampling` in a body, and the body's others as they stand."""
    fields = msgspec.structs.asdict(body)
    stop = body.stop
    fields["stop"] = (stop,) if isinstance(stop, str) else stop or ()
    fields["stream"] = body.stream is True
    options = fields.pop("stream_options", None)
    if options is not None:
        fields["include_usage"] = options.include_usage
    longest = fields.pop("max_completion_tokens", UNSET)
    if longest is not UNSET:
        fields["max_tokens"] = _one_of(body.max_tokens, longest)
        if body.max_tokens is UNSET:
            fields["limit_name"] = "max_completion_tokens"
    return fields


def write_fields(request: msgspec.Struct) -> dict[str, Any]:
    """The fields of a request that were given, by name, unknown ones first."""
    names, values, unsaid = _fields(type(request))
    fields = {
        name: value
        for name, value, nothing in zip(names, values(request), unsaid, strict=True)
        if value is not nothing and value is not None
    }
    extra = fields.pop("extra", None)
    return {**extra, **fields} if extra else fields


@cache
def _fields(
    kind: type[msgspec.Struct],
) -> tuple[tuple[str, ...], Callable[[msgspec.Struct], tuple[Any, ...]], tuple[object, ...]]:
    """The names of such a request's fields, what gets all at once, and by which object each
    says that it wasn't given: ``()`` is one object, as ``UNSET`` is.
    """
    names = kind.__struct_fields__
    unsaid = tuple(
        field.default if field.default == () or field.default is UNSET else None
        for field in msgspec.structs.fields(kind)
    )
    return names, attrgetter(*names), unsaid


def write_sampling(request: Sampling, model: str | None) -> dict[str, Any]:
    """What both operations' bodies say; ``model`` replaces the request's own."""
    fields = write_fields(request)
    fields.pop("include_usage", None)
    if request.max_tokens is None:
        fields["max_tokens"] = None
    if not request.stream:
        del fields["stream"]
    if model is not None:
        fields["model"] = model
    return fields


def _one_of(max_tokens: int | None | UnsetType, longest: int | None) -> int | None:
    if max_tokens is not UNSET and max_tokens != longest:
        raise InvalidValue(
            "max_completion_tokens and max_tokens are the same parameter: give one of them.",
            location=("body", "max_completion_tokens"),
            value=longest,
        )
    return longest
