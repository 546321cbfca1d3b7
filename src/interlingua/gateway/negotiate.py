"""Request × capabilities × policy → a request that the backend can honour, and what changed.

Rules of this file:
- It is the only place where a capability is refused; backends never check.
- Each top-level parameter ends in exactly one of four states: honoured, refused by name,
  dropped (only under ``drop``), passed through (only under ``pass-through``).
- Unknown names are judged first, then values, the first found.
"""

from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import TypeVar

import msgspec
from msgspec import UNSET

from interlingua.errors import (
    ExtraForbidden,
    InvalidValue,
    Location,
    ParameterNotSupported,
    UnknownParameters,
)
from interlingua.types.chat import (
    AudioPart,
    ChatRequest,
    ImagePart,
    JsonSchemaFormat,
    TextFormat,
    TextPart,
)
from interlingua.types.completions import CompletionRequest
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.lift import check_lifted, lift
from interlingua.types.models import Capabilities, ExtraParameters

from .changes import Changes
from .roles import FOLDED, fold_roles

Request = TypeVar(
    "Request", ChatRequest, CompletionRequest, EmbeddingsRequest, ImageEmbeddingsRequest
)
_AnyRequest = ChatRequest | CompletionRequest | EmbeddingsRequest | ImageEmbeddingsRequest

#: Fields that are not parameters a model honours or not: what is asked, and of whom.
NOT_PARAMETERS = frozenset(
    {
        "messages",
        "prompts",
        "inputs",
        "model",
        "stream",
        "include_usage",
        "extra",
        "limit_name",
    }
)

#: Values that ask for nothing: they are honoured by whoever doesn't know the parameter.
_NEUTRAL: dict[str, Callable[[object], bool]] = {
    "n": lambda value: value == 1,
    "best_of": lambda value: value == 1,
    "echo": lambda value: value is False,
    "suffix": lambda value: value == "",
    "logprobs": lambda value: value is False,
    "logit_bias": lambda value: value == {},
    "parallel_tool_calls": lambda value: value is True,
    "modalities": lambda value: value == ("text",),
    "response_format": lambda value: isinstance(value, TextFormat),
    "tool_choice": lambda value: value in {"none", "auto"} if isinstance(value, str) else False,
    "encoding_format": lambda value: value == "float",
    "input_type": lambda value: value == "text",
}


_TEXT_ALONE = frozenset({"text"})

#: Values that ask for what a model without the parameter does by itself.
_FIXED: dict[str, object] = {
    "temperature": 1,
    "top_p": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
}


_UNCHANGED = Changes()


def negotiate(
    request: Request, can: Capabilities, policy: ExtraParameters | None
) -> tuple[Request, Changes]:
    """The request as this deployment can honour it, and what was changed.

    ``policy`` is ``None`` where the caller said nothing on a route without a default of its
    own (OpenAI's): providers then get what they may know, and engines drop what they don't.

    Raises:
        UnknownParameters: unknown names under ``error``.
        ExtraForbidden: a name passed to an engine that doesn't list it.
        ParameterNotSupported: a known parameter, or its value, that the model can't honour.
        InvalidValue: a parameter is given twice, once by the provider's own name for it.
    """
    passes_through = bool(can.passes_through)
    if policy is None:
        policy = "pass-through" if passes_through else "drop"
    changes = _UNCHANGED
    if request.extra:
        request, changes = _settle_extra(request, can, policy)
    if can.refuses:
        request = _settle_refused(request, can.refuses, can.renames or {})
    _check_given(request, can)
    for check in _CHECKS[type(request)]:
        check(request, can)
    if isinstance(request, ChatRequest):
        if can.renames:
            changes = msgspec.structs.replace(changes, renamed=_renamed(request, can.renames))
        if can.roles is not None:
            messages, folded = fold_roles(request.messages, can.roles)
            if folded:
                request = msgspec.structs.replace(request, messages=messages)
                changes = msgspec.structs.replace(changes, folded=folded)
    return request, changes


def _check_given(request: _AnyRequest, can: Capabilities) -> None:
    if can.parameters is None and can.ranges is None:
        return
    for name, value in given(request):
        _refuse_unsupported(name, value, can)
        _check_range(name, value, can)


def given(request: _AnyRequest) -> list[tuple[str, object]]:
    """The known top-level parameters that the caller gave a value, by their wire names."""
    names, values = _parameters(type(request))
    return [
        (name, value)
        for name, value in zip(names, values(request), strict=True)
        if _is_given(name, value)
    ]


def _is_given(name: str, value: object) -> bool:
    return (value is not None or name == "max_tokens") and value is not UNSET and value != ()


_Got = tuple[tuple[str, ...], Callable[[_AnyRequest], tuple[object, ...]]]


@cache
def _parameters(kind: type[_AnyRequest]) -> _Got:
    """What a kind of request has of parameters, and how to get them all at once."""
    names = tuple(name for name in kind.__struct_fields__ if name not in NOT_PARAMETERS)
    return names, attrgetter(*names)


@cache
def _refusable(kind: type[_AnyRequest], refuses: frozenset[str]) -> _Got:
    """Of these, the ones that a target may refuse; ``max_tokens`` goes by several names."""
    names = tuple(name for name in _parameters(kind)[0] if name in refuses or name == "max_tokens")
    match names:
        case ():
            return (), _none
        case (name,):
            get = attrgetter(name)
            return names, lambda request: (get(request),)
        case _:
            return names, attrgetter(*names)


def _none(_request: _AnyRequest) -> tuple[object, ...]:
    return ()


def _renamed(request: ChatRequest, renames: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What the provider's dialect will call otherwise than the caller did."""
    names = [_spelled(request, name) for name, _ in given(request)]
    renamed = []
    for name in (*names, *request.extra):
        new = renames.get(name, name)
        if new == name:
            continue
        if new in request.extra or new in names:
            raise InvalidValue(
                f"{name} and {new} are the same parameter of this model: give one of them.",
                location=("body", new),
            )
        renamed.append((name, new))
    return tuple(renamed)


def _settle_extra(
    request: Request, can: Capabilities, policy: ExtraParameters
) -> tuple[Request, Changes]:
    names = tuple(request.extra)
    match policy:
        case "error":
            raise UnknownParameters(names)
        case "drop":
            return msgspec.structs.replace(request, extra={}), Changes(dropped=names)
        case "pass-through":
            return _pass_through(request, can), Changes()


def _settle_refused(
    request: Request, refuses: frozenset[str], renames: Mapping[str, str]
) -> Request:
    """The request without what its target doesn't take and what asks for nothing."""
    needless: dict[str, object] = {}
    names, values = _refusable(type(request), refuses)
    for name, value in zip(names, values(request), strict=True):
        if not _is_given(name, value):
            continue
        said = _spelled(request, name)
        if said not in refuses or said in renames:
            continue
        neutral = _NEUTRAL.get(name)
        if (name in _FIXED and value == _FIXED[name]) or (neutral and neutral(value)):
            needless[name] = None
        else:
            raise _not_supported(said, value)
    return msgspec.structs.replace(request, **needless) if needless else request


def _spelled(request: _AnyRequest, name: str) -> str:
    """The parameter's name as the caller wrote it."""
    if name == "max_tokens" and isinstance(request, ChatRequest):
        return request.limit_name
    return name


def _pass_through(request: Request, can: Capabilities) -> Request:
    """An engine honours what is on its own list, as the OpenAI route validates it."""
    if can.passes_through:
        for name, value in request.extra.items():
            if name in (can.refuses or ()):
                raise _not_supported(name, value)
        return request
    extensions = can.extensions or frozenset()
    for name, value in request.extra.items():
        if name not in extensions:
            raise ExtraForbidden(name, value)
    extra = request.extra
    request = msgspec.structs.replace(request, extra={})
    for name, value in extra.items():
        request = lift(request, name, value)
    check_lifted(request)
    return request


def _refuse_unsupported(name: str, value: object, can: Capabilities) -> None:
    if can.parameters is None or name in can.parameters or name in (can.extensions or ()):
        return
    neutral = _NEUTRAL.get(name)
    if neutral is not None and neutral(value):
        return
    if name == "dimensions" and value == can.embedding_length:
        return
    raise _not_supported(name, value)


def _not_supported(name: str, value: object) -> ParameterNotSupported:
    return ParameterNotSupported(
        f"This model doesn't support the parameter {name!r}. Leave it out.",
        location=("body", name),
        value=_harmless(value),
    )


def _check_range(name: str, value: object, can: Capabilities) -> None:
    if can.ranges is None or name not in can.ranges or not isinstance(value, int | float):
        return
    least, most = can.ranges[name]
    if not least <= value <= most:
        raise _refuse(("body", name), value, f"This model takes {name} from {least:g} to {most:g}.")


def _harmless(value: object) -> object:
    """The value where it is a short scalar; prompts and documents are not repeated."""
    if isinstance(value, str):
        return value if len(value) <= 100 else None
    return value if isinstance(value, int | float) else None


def _refuse(location: Location, value: object, reason: str) -> ParameterNotSupported:
    return ParameterNotSupported(reason, location=location, value=value)


def _check_response_format(request: ChatRequest, can: Capabilities) -> None:
    wanted = request.response_format
    if wanted is None or can.response_formats is None:
        return
    name = "json_schema" if isinstance(wanted, JsonSchemaFormat) else _tag(wanted)
    if name not in can.response_formats and name != "text":
        allowed = ", ".join(sorted(can.response_formats))
        raise _refuse(
            ("body", "response_format"),
            name,
            f"This model doesn't support the response format {name!r}; it has: {allowed}.",
        )


def _tag(value: msgspec.Struct) -> str:
    return str(value.__struct_config__.tag)


def _check_role(role: str, place: int, roles: frozenset[str]) -> None:
    if role not in roles and role not in FOLDED:
        raise _refuse(
            ("body", "messages", place, "role"),
            role,
            f"This model doesn't support messages of the role {role!r}.",
        )


def _check_messages(request: ChatRequest, can: Capabilities) -> None:
    """Image and audio content needs a model with that sense."""
    modalities = can.modalities or _TEXT_ALONE
    for place, message in enumerate(request.messages):
        if can.roles is not None:
            _check_role(_tag(message), place, can.roles)
        content = message.content
        if content is None or isinstance(content, str):
            continue
        for number, part in enumerate(content):
            match part:
                case TextPart():
                    continue
                case ImagePart():
                    sense = "image"
                case AudioPart():
                    sense = "audio"
            if sense not in modalities:
                raise _refuse(
                    ("body", "messages", place, "content", number),
                    sense,
                    f"This model doesn't take {sense} content; it takes: "
                    f"{', '.join(sorted(modalities))}.",
                )


def _check_embedding_options(
    request: EmbeddingsRequest | ImageEmbeddingsRequest, can: Capabilities
) -> None:
    encoding = request.encoding_format
    if encoding and can.encoding_formats is not None and encoding not in can.encoding_formats:
        allowed = ", ".join(sorted(can.encoding_formats))
        raise _refuse(
            ("body", "encoding_format"),
            encoding,
            f"This model doesn't support the encoding format {encoding!r}; it has: {allowed}.",
        )
    kind = request.input_type
    if kind and kind != "text" and can.input_types is not None and kind not in can.input_types:
        allowed = ", ".join(sorted({"text", *can.input_types}))
        raise _refuse(
            ("body", "input_type"),
            kind,
            f"This model doesn't tell the input type {kind!r} apart; it has: {allowed}.",
        )
    length = request.dimensions
    if length is not None and can.dimensions is not None:
        lengths = can.dimensions | ({can.embedding_length} if can.embedding_length else set())
        if length not in lengths:
            allowed = ", ".join(str(number) for number in sorted(lengths))
            raise _refuse(
                ("body", "dimensions"),
                length,
                f"This model doesn't make vectors of {length} dimensions; it has: {allowed}.",
            )


def _check_image_text(request: ImageEmbeddingsRequest, can: Capabilities) -> None:
    if can.image_text:
        return
    for place, item in enumerate(request.inputs):
        if item.text is not None:
            raise _refuse(
                ("body", "input", place, "text"),
                None,
                "This model embeds images only; it has no text in the same space.",
            )


_CHECKS: dict[type, tuple[Callable[..., None], ...]] = {
    ChatRequest: (_check_response_format, _check_messages),
    CompletionRequest: (),
    EmbeddingsRequest: (_check_embedding_options,),
    ImageEmbeddingsRequest: (_check_embedding_options, _check_image_text),
}
