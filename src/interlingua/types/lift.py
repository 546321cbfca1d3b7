"""An extra parameter that becomes a known one, validated as on the OpenAI route."""

from functools import cache
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta

from interlingua.errors import ExtraForbidden, InvalidValue

from .chat import ChatRequest, Sampling
from .explain import explain

Request = TypeVar("Request", bound=msgspec.Struct)


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None


#: What has no field of its own under its wire name.
_OTHER_KINDS: dict[str, object] = {
    "stream_options": _StreamOptions | None,
    "stop": str | tuple[Annotated[str, Meta(min_length=1)], ...] | None,
    "user": str | None,
}
#: Fields that no extra parameter stands for.
_NOT_PARAMETERS = frozenset(
    {"messages", "prompts", "inputs", "extra", "include_usage", "limit_name"}
)


def lift(request: Request, name: str, value: object) -> Request:
    """The request with its typed field ``name`` set from decoded JSON; null leaves it as it is.

    ``user`` has no field: it is validated and taken out of ``extra``. Whoever has lifted
    all names calls :func:`check_lifted`.

    Raises:
        InvalidValue: the value is not of the field's type or out of its range.
        ExtraForbidden: the request has no such field.
    """
    renamed = "max_tokens" if name == "max_completion_tokens" else name
    kinds = _kinds(type(request))
    if renamed not in kinds:
        raise ExtraForbidden(name, value)
    try:
        typed = msgspec.convert(value, kinds[renamed])
    except msgspec.ValidationError as error:
        raise explain(error, kinds[renamed], value, ("body", name)) from error
    if typed is None and renamed != "max_tokens":
        return _set(request, name)
    match renamed:
        case "user":
            return _set(request, name)
        case "stop":
            return _set(request, name, stop=(typed,) if isinstance(typed, str) else typed)
        case "stream_options":
            return _set(request, name, include_usage=typed.include_usage)
        case "max_tokens":
            given = getattr(request, "max_tokens", UNSET)
            if given is not UNSET and given != typed:
                raise InvalidValue(
                    f"{name} and max_tokens are the same parameter: give one of them.",
                    location=("body", name),
                )
    return _set(request, name, **{renamed: typed})


def check_lifted(request: msgspec.Struct) -> None:
    """Judge what parameters say together.

    Raises:
        InvalidValue: parameters that are right by themselves don't go together.
    """
    if isinstance(request, ChatRequest) and request.top_logprobs and not request.logprobs:
        raise InvalidValue(
            "top_logprobs needs logprobs to be true.",
            location=("body", "top_logprobs"),
            value=request.top_logprobs,
        )


def _set(request: Request, name: str, **fields: object) -> Request:
    extra = getattr(request, "extra", {})
    if name in extra:
        fields["extra"] = {other: value for other, value in extra.items() if other != name}
    return msgspec.structs.replace(request, **fields)


@cache
def _kinds(kind: type[msgspec.Struct]) -> dict[str, object]:
    """The types of the parameters by wire name."""
    kinds: dict[str, object] = {
        field.name: field.type
        for field in msgspec.structs.fields(kind)
        if field.name not in _NOT_PARAMETERS
    }
    if issubclass(kind, Sampling):
        return kinds | _OTHER_KINDS
    return kinds | {"user": _OTHER_KINDS["user"]}
