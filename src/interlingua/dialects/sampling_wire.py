"""What the bodies of chat and text completions share, read and written."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from interlingua.errors import InvalidValue
from interlingua.types.chat import Fraction, Penalty, Sampling, Seed, Temperature, TokenCount

#: Azure names no limit and OpenAI takes 4: enough for both, and cheap to look for.
Stop = (
    Annotated[str, Meta(min_length=1)]
    | Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(max_length=16)]
)


class SamplingBody(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters that both operations know on every route."""

    model: str | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    temperature: Temperature | None = None
    top_p: Fraction | None = None
    max_tokens: TokenCount | None | UnsetType = UNSET
    stop: Stop | None = None
    seed: Seed | None = None
    stream: bool | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    """OpenAI: ``stream_options``."""

    include_usage: bool | None = None


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
    fields: dict[str, Any] = {}
    for name in request.__struct_fields__:
        value = getattr(request, name)
        if value is not None and value is not UNSET and value != ():
            fields[name] = value
    return {**fields.pop("extra", {}), **fields}


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
