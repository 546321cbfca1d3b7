"""Errors as both wires state them, and what a reply's error means.

Rules of this file:
- ``error`` is an object, never a string: the official client loses a string's message.
- The body is a superset: what Azure's SDKs, its documentation's samples, litellm and OpenAI's
  client look for is all there.
- Headers hold only what this file chose; messages and values stay in the JSON.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from interlingua import errors
from interlingua.errors import (
    ApiError,
    CallerError,
    ExtraForbidden,
    InvalidPolicy,
    Unauthorized,
    UnknownParameters,
    UpstreamError,
)
from interlingua.headers import ERROR_CODE, MODEL_ERROR, RETRY_AFTER
from interlingua.sse import encode

from .base import ErrorReply

_MAX_MESSAGE_CHARS = 8192
_MAX_NAME_CHARS = 256
#: Every code that there is.
ErrorCode = Annotated[
    str, Meta(extra_json_schema={"enum": sorted({kind.code for kind in errors.kinds()})})
]
_AUTH_TEXT = "Auth token validation failed"

_OpenAIType = Literal[
    "invalid_request_error", "authentication_error", "rate_limit_error", "server_error"
]
#: OpenAI's ``type`` by status; everything else is ``invalid_request_error`` or ``server_error``.
_OPENAI_TYPES: dict[int, _OpenAIType] = {401: "authentication_error", 429: "rate_limit_error"}

#: What an error's code means, where it says more than its status.
_BY_CODE: dict[str, type[ApiError]] = {
    kind.code: kind
    for kind in (
        errors.MalformedBody,
        errors.TooManyUnknownParameters,
        errors.UnknownModel,
        errors.ContextLengthExceeded,
        errors.DeploymentNotFound,
        errors.ParameterNotSupported,
        errors.ModelNotReady,
    )
}
#: Those that are made of more than a message.
_REBUILT = {ExtraForbidden.code, UnknownParameters.code, InvalidPolicy.code}
_BY_STATUS: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    408: errors.DeadlineExceeded,
    413: errors.BodyTooLarge,
    422: errors.InvalidValue,
    429: errors.RateLimited,
    500: errors.InternalError,
    503: errors.Unavailable,
    504: errors.DeadlineExceeded,
}


_Location = tuple[str | int | None, ...]


class _Detail(msgspec.Struct, frozen=True):
    """A place in the request and what is wrong there, as pydantic and Azure say it."""

    type: str
    code: str
    message: str
    loc: _Location
    msg: str
    input: object


class _Place(msgspec.Struct, frozen=True):
    loc: _Location
    input: object
    value: object


class _Stated(msgspec.Struct, frozen=True):
    code: ErrorCode
    message: str
    status: int
    param: str | None | UnsetType = UNSET
    type: None | UnsetType = UNSET
    details: tuple[_Detail, ...] | UnsetType = UNSET


class AzureError(msgspec.Struct, frozen=True):
    """Code and message stand at the top too, since clients of this API look for them there."""

    error: _Stated
    status: int | UnsetType = UNSET
    code: ErrorCode | UnsetType = UNSET
    message: str | UnsetType = UNSET
    detail: str | tuple[_Place, ...] | UnsetType = UNSET


class _Said(msgspec.Struct, frozen=True):
    code: ErrorCode
    message: str


class AzureErrorEvent(msgspec.Struct, frozen=True):
    """What ends a stream that failed, before the connection is broken off."""

    error: _Said


class _OpenAIStated(msgspec.Struct, frozen=True):
    message: str
    type: _OpenAIType
    param: str | None
    code: ErrorCode
    status: int | UnsetType = UNSET


class OpenAIError(msgspec.Struct, frozen=True):
    """OpenAI's shape; the status beside it harms nobody."""

    error: _OpenAIStated


class OpenAIErrorEvent(msgspec.Struct, frozen=True):
    """What ends a stream that failed, before the connection is broken off."""

    error: _OpenAIStated


def write_azure_error(error: ApiError) -> ErrorReply:
    """The superset body (Azure.Core.Foundations.ErrorResponse and the documented flat one)."""
    if isinstance(error, ExtraForbidden):
        return _reply(error, AzureError(_model_error(error)))
    message = _message(error)
    details = _details(error)
    detail: str | tuple[_Place, ...] = message
    # litellm reads the names out of the first one's text.
    if error.location and not isinstance(error, UnknownParameters | InvalidPolicy):
        detail = tuple(_Place(entry.loc, entry.input, entry.input) for entry in details)
    stated = _Stated(error.code, message, error.status, _name(error.param), None, details)
    return _reply(error, AzureError(stated, error.status, error.code, message, detail))


def write_openai_error(error: ApiError) -> ErrorReply:
    """OpenAI: ``error{message, type, param, code}``; the status beside them harms nobody."""
    return _reply(error, OpenAIError(_openai_error(error, error.status)))


def write_azure_event(error: ApiError) -> bytes:
    return encode(msgspec.json.encode(AzureErrorEvent(_Said(error.code, _message(error)))))


def write_openai_event(error: ApiError) -> bytes:
    return encode(msgspec.json.encode(OpenAIErrorEvent(_openai_error(error))))


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error that a reply states, whichever of the shapes it has. Never raises."""
    try:
        payload: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        payload = None
    return _stated(payload, status, headers)


def read_stated(payload: object) -> ApiError:
    """The error inside an event or a body that came with status 200."""
    return _stated({"error": payload}, None, {})


def _openai_error(error: ApiError, status: int | UnsetType = UNSET) -> _OpenAIStated:
    kind: _OpenAIType = "invalid_request_error" if error.fault == "caller" else "server_error"
    return _OpenAIStated(
        message=_message(error),
        type=_OPENAI_TYPES.get(error.status, kind),
        param=_name(error.param),
        code=error.code,
        status=status,
    )


def _model_error(error: ExtraForbidden) -> _Stated:
    """What a model that refuses an extra parameter says (Azure: recorded 422)."""
    detail = {
        "type": error.kind,
        "loc": _location(error),
        "msg": error.message,
        "input": _value(error.value),
    }
    inner = msgspec.json.encode({"detail": [detail]}).decode()
    return _Stated(error.code, inner, error.status)


def _details(error: ApiError) -> tuple[_Detail, ...]:
    if not error.location:
        return ()
    locations: tuple[_Location, ...] = (_location(error),)
    message = _message(error)
    if isinstance(error, UnknownParameters):
        locations = tuple(("body", _name(name)) for name in error.names)
        message = "Extra inputs are not permitted"
    value = _value(error.value)
    return tuple(
        _Detail(error.kind, error.kind, message, location, message, value) for location in locations
    )


def _reply(error: ApiError, body: AzureError | OpenAIError) -> ErrorReply:
    headers = {"content-type": "application/json", ERROR_CODE.name: error.code}
    if isinstance(error, ExtraForbidden):
        reason, status = MODEL_ERROR
        headers |= {reason.name: "model_error", status.name: str(error.status)}
    # On any other status the official client would repeat the call.
    if error.retry_after_s is not None and error.status in RETRY_AFTER.statuses:
        headers[RETRY_AFTER.name] = str(error.retry_after_s)
    return ErrorReply(status=error.status, headers=headers, body=msgspec.json.encode(body))


def _message(error: ApiError) -> str:
    text = _text(error.message) or error.code
    if isinstance(error, Unauthorized) and not text.startswith(_AUTH_TEXT):
        # Clients tell a bad key by these words (Azure: serverless endpoints).
        text = f"{_AUTH_TEXT}: {text}"
    return text if len(text) <= _MAX_MESSAGE_CHARS else text[:_MAX_MESSAGE_CHARS] + "…"


def _text(text: str | None) -> str | None:
    """``text`` as UTF-8 can say it: halves of surrogate pairs become question marks."""
    return None if text is None else text.encode("utf-8", "replace").decode()


def _name(name: str | None) -> str | None:
    """A name that the caller may have made up."""
    text = _text(name)
    return text if text is None or len(text) <= _MAX_NAME_CHARS else text[:_MAX_NAME_CHARS] + "…"


def _location(error: ApiError) -> _Location:
    return tuple(_name(step) if isinstance(step, str) else step for step in error.location)


def _value(value: object) -> object:
    """``value`` where JSON can say it."""
    try:
        return msgspec.Raw(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError):
        return None


def _stated(payload: object, status: int | None, headers: Mapping[str, str]) -> ApiError:
    flat: dict[str, Any] = payload if isinstance(payload, dict) else {}
    inner = flat.get("error")
    error: dict[str, Any] = inner if isinstance(inner, dict) else flat
    code = str(error.get("code") or flat.get("code") or "")
    inside = _entries(_inside(error.get("message")))
    details = inside or _entries(error.get("details")) or _entries(flat.get("detail"))
    message = _first_text(
        *(entry.get("msg") for entry in inside),
        error.get("message"),
        flat.get("message"),
        flat.get("detail"),
        inner,
        flat.get("status"),
        *(entry.get("msg") for entry in details),
    )
    if message is None:
        message = "The reply is an error without a message" + (f" ({status})." if status else ".")
    if status == ExtraForbidden.status or code in _REBUILT:
        known = _rebuilt(code, details)
        if known is not None:
            return known
    kind = _kind(code, _status(status, error))
    if issubclass(kind, errors.RateLimited | errors.Unavailable):
        return kind(message, retry_after_s=_seconds(headers.get(RETRY_AFTER.name)))
    location, value = _place(details, error.get("param"))
    return kind(message, location=location, value=value)


def _status(status: int | None, error: Mapping[str, Any]) -> int | None:
    if status is not None:
        return status
    for stated in (error.get("status"), error.get("code")):
        if isinstance(stated, int):
            return stated
        if isinstance(stated, str) and stated.isascii() and stated.isdigit():
            return int(stated[:4])
    return None


def _kind(code: str, status: int | None) -> type[ApiError]:
    kind = _BY_CODE.get(code)
    if kind is not None and status in {None, kind.status}:
        return kind
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return CallerError if status is not None and 400 <= status < 500 else UpstreamError


def _rebuilt(code: str, details: list[dict[str, Any]]) -> ApiError | None:
    """The errors that are made of more than a message."""
    if code == UnknownParameters.code:
        names = tuple(str(entry["loc"][1]) for entry in details if len(entry["loc"]) == 2)
        return UnknownParameters(names) if names else None
    if code == InvalidPolicy.code and details:
        return InvalidPolicy(str(details[0].get("input")))
    for entry in details:
        if entry.get("type") == ExtraForbidden.kind and len(entry["loc"]) == 2:
            return ExtraForbidden(str(entry["loc"][1]), entry.get("input"))
    return None


def _inside(message: object) -> object:
    """What stands inside a message: Azure's model errors are JSON as text, Mistral's as it is."""
    if isinstance(message, str) and message.startswith("{"):
        try:
            message = msgspec.json.decode(message)
        except (msgspec.DecodeError, RecursionError):
            return None
    return message.get("detail") if isinstance(message, dict) else None


def _entries(details: object) -> list[dict[str, Any]]:
    """The entries that name a place, as pydantic and this file write them."""
    listed = details if isinstance(details, list) else [details]
    return [
        entry for entry in listed if isinstance(entry, dict) and isinstance(entry.get("loc"), list)
    ]


def _place(details: list[dict[str, Any]], param: object) -> tuple[errors.Location, object]:
    for entry in details:
        if all(isinstance(step, str | int) for step in entry["loc"]):
            return tuple(entry["loc"]), entry.get("input")
    return (("body", param), None) if isinstance(param, str) and param else ((), None)


def _first_text(*candidates: object) -> str | None:
    for text in candidates:
        if isinstance(text, str) and text:
            return text
    return None


def _seconds(header: str | None) -> int:
    """``Retry-After`` in seconds; a date, or nonsense, stands for one second."""
    text = (header or "").strip()
    return min(int(text), 3600) if text.isascii() and text.isdigit() and len(text) < 10 else 1
