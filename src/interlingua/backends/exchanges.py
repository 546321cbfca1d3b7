"""The file of recorded exchanges: what a line says, and when two requests are the same.

Rules of this file:
- A line is a JSON object. A *server* line says with which settings was served from then on,
  a *deployment* line who answered, and an *exchange* is one call of one deployment.
- Requests are told apart by what they ask, after negotiation: not by their dialect or
  route, by how the answer is delivered, by the order of keys, or by ids.
- No secret is written: what carries one by its name or form is replaced before requests are
  compared, so that a replay finds them all the same.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Literal

import msgspec
from msgspec import NODEFAULT, UNSET

from interlingua import errors
from interlingua.errors import ApiError, InternalError, UnknownParameters
from interlingua.types.chat import AssistantMessage, ChatDelta, ChatRequest, ToolMessage
from interlingua.types.completions import CompletionDelta, CompletionRequest
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import Capabilities, ExtraParameters, ModelInfo, Operation
from interlingua.types.usage import Usage

#: The format that this version writes, and the newest that it reads.
FORMAT = 1

Request = ChatRequest | CompletionRequest | EmbeddingsRequest | ImageEmbeddingsRequest
Plain = dict[str, object]
Ending = Literal["whole", "failed", "cancelled"]

HIDDEN = "[secret]"
#: Of these the answer is the same whatever they say.
_DELIVERY = frozenset({"stream", "include_usage", "limit_name", "encoding_format"})
#: A long image is told by its digest: what it shows isn't needed again.
_LONGEST_DATA_URL = 256
_SECRET_NAMES = frozenset(
    {
        "access_token",
        "api_key",
        "apikey",
        "authorization",
        "client_secret",
        "cookie",
        "password",
        "secret",
        "set_cookie",
        "token",
        "x_api_key",
    }
)
_SECRET_FORMS = re.compile(
    r"(?i)(?P<before>\bbearer\s+|[?&](?:api-?key|api_key|key|code|token|access_token|sig|"
    r"signature|subscription-key|x-amz-(?:credential|signature|security-token))=)"
    r"[^\s\"'&]{8,}|\bsk-[\w-]{16,}"
)


class Served(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="kind",
    tag="deployment",
):
    """A deployment as its callers saw it."""

    name: str
    #: Further names of it: the model's.
    also_known_as: tuple[str, ...] = ()
    #: What the config says of who is asked when.
    settings: dict[str, object] = {}
    info: ModelInfo
    capabilities: Capabilities
    #: Whether the caller's name for the model goes on, so that it decides about the answer.
    forwards_model: bool = False

    def written(self) -> Plain:
        plain: Plain = msgspec.to_builtins(self)
        return {**plain, "capabilities": _sparse(self.capabilities, Capabilities())}


class ServerLine(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="server"
):
    """The settings that decide about replies."""

    format: int = FORMAT
    version: str
    #: The config's own.
    endpoints: tuple[dict[str, object], ...] = ()
    extra_parameters: ExtraParameters
    model_type: Literal["service", "documentation", "enum"]
    max_body_bytes: int

    def written(self) -> Plain:
        """The format comes first and always: it says how to read the rest."""
        return {"kind": "server", "format": self.format, **msgspec.to_builtins(self)}


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error of the API, by the name of its class."""

    type: str
    message: str
    location: tuple[str | int, ...] = ()
    value: object = None
    retry_after_s: int | None = None
    #: The unknown parameters, where the error is about them.
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.type not in _kinds():
            raise ValueError(f"there is no error {self.type!r}")

    def error(self) -> ApiError:
        """The same error again."""
        kind = _kinds()[self.type]
        # Some are made of more than a message; all of them are made of this.
        error = kind.__new__(kind)
        ApiError.__init__(
            error,
            self.message,
            location=self.location,
            value=self.value,
            retry_after_s=self.retry_after_s,
        )
        if isinstance(error, UnknownParameters):
            error.names = self.names
        error.staged = True
        return error


class ExchangeLine(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="exchange"
):
    """A call of a deployment and what came of it. Times are seconds since it began."""

    deployment: str
    operation: Operation
    request: Plain
    ending: Ending
    took_s: float
    chat: tuple[tuple[float, ChatDelta], ...] = ()
    completion: tuple[tuple[float, CompletionDelta], ...] = ()
    vectors: tuple[bytes, ...] = ()
    usage: Usage | None = None
    error: Failure | None = None

    def __post_init__(self) -> None:
        if (self.error is not None) != (self.ending == "failed"):
            raise ValueError("an exchange that failed, and no other, has an error")

    def written(self) -> Plain:
        """Each delta says only what it brings."""
        plain: Plain = msgspec.to_builtins(self, builtin_types=(bytes,))
        if self.chat:
            plain["chat"] = [(at_s, _sparse(delta, ChatDelta())) for at_s, delta in self.chat]
        if self.completion:
            plain["completion"] = [
                (at_s, _sparse(delta, CompletionDelta())) for at_s, delta in self.completion
            ]
        return plain


Line = ServerLine | Served | ExchangeLine


def failure(error: BaseException) -> Failure | None:
    """What was raised, as the file says it; ``None``: the caller left."""
    if not isinstance(error, Exception):
        return None
    if not isinstance(error, ApiError):
        error = InternalError("The server failed.")
    return Failure(
        type=type(error).__name__,
        message=_text(error.message),
        location=error.location,
        value=_harmless(error.value),
        retry_after_s=error.retry_after_s,
        names=error.names if isinstance(error, UnknownParameters) else (),
    )


def operation_of(request: Request) -> Operation:
    match request:
        case ChatRequest():
            return "chat_completions"
        case CompletionRequest():
            return "completions"
        case EmbeddingsRequest():
            return "embeddings"
        case ImageEmbeddingsRequest():
            return "image_embeddings"


def canonical(request: Request, served: Served) -> Plain:
    """What the request asks, as plain data without defaults: equal for equal questions."""
    ids: dict[str, str] = {}
    plain = _plain_struct(request, ids)
    return {
        name: value
        for name, value in plain.items()
        if name not in _DELIVERY and (name != "model" or served.forwards_model)
    }


def key(deployment: str, operation: Operation, request: Plain) -> bytes:
    """What equal exchanges share."""
    asked = msgspec.json.encode([deployment.lower(), operation, request], order="sorted")
    return hashlib.sha256(asked).digest()[:16]


def differences(recorded: object, asked: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Where two requests differ, and how as far as short values may be told."""
    for kind in (dict, list):
        if isinstance(recorded, kind) or isinstance(asked, kind):
            recorded = kind() if recorded is None else recorded
            asked = kind() if asked is None else asked
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in sorted(recorded.keys() | asked.keys()):
            step = f"{path}.{name[:64]}" if path else name[:64]
            yield from differences(recorded.get(name), asked.get(name), step)
    elif isinstance(recorded, list) and isinstance(asked, list):
        if len(recorded) != len(asked):
            yield path, f"recorded {len(recorded)} of them, asked {len(asked)}"
        for place, pair in enumerate(zip(recorded, asked, strict=False)):
            yield from differences(*pair, f"{path}[{place}]")
    elif recorded != asked or type(recorded) is not type(asked):
        said = [_said(recorded), _said(asked)]
        yield path, f"recorded {said[0]}, asked {said[1]}" if all(said) else ""


def _said(value: object) -> str:
    """A value in a message: never a text, which may be a prompt."""
    if value is None:
        return "nothing"
    return msgspec.json.encode(value).decode() if isinstance(value, bool | int | float) else ""


def _plain_struct(value: msgspec.Struct, ids: dict[str, str]) -> Plain:
    config = value.__struct_config__
    plain: Plain = {}
    if config.tag is not None:
        plain[config.tag_field or "type"] = config.tag
    for field in msgspec.structs.fields(value):
        inner = getattr(value, field.name)
        if inner is UNSET or inner == _default(field):
            continue
        plain[field.encode_name] = _plain(inner, ids)
    match value:
        case AssistantMessage(tool_calls=calls) if calls:
            plain["tool_calls"] = [
                {**_plain_struct(call, ids), "id": _ordinal(call.id, ids)} for call in calls
            ]
        case ToolMessage(tool_call_id=str(tool_call_id)):
            plain["tool_call_id"] = _ordinal(tool_call_id, ids)
        case _:
            pass
    return plain


def _sparse(value: msgspec.Struct, default: msgspec.Struct) -> Plain:
    plain: Plain = msgspec.to_builtins(value, order="sorted")
    usual: Plain = msgspec.to_builtins(default)
    return {name: inner for name, inner in plain.items() if inner != usual[name]}


def _default(field: msgspec.structs.FieldInfo) -> object:
    if field.default_factory is not NODEFAULT:
        return field.default_factory()
    return field.default


def _plain(value: object, ids: dict[str, str]) -> object:
    match value:
        case msgspec.Struct():
            return _plain_struct(value, ids)
        case str():
            return _scrubbed(value)
        case Mapping():
            return {
                _text(str(name)): HIDDEN if _is_secret(name, inner) else _plain(inner, ids)
                for name, inner in value.items()
            }
        case tuple() | list():
            return [_plain(inner, ids) for inner in value]
        case _:
            return value


def _ordinal(text: str, ids: dict[str, str]) -> str:
    """An id by its place among the request's ids: models make up new ones each time."""
    return ids.setdefault(text, f"id-{len(ids) + 1}")


def _is_secret(name: object, value: object) -> bool:
    return isinstance(value, str) and str(name).lower().replace("-", "_") in _SECRET_NAMES


def _scrubbed(text: str) -> str:
    if text[:5].lower() == "data:" and len(text) > _LONGEST_DATA_URL:
        kind = text[:64].partition(",")[0].partition(";")[0]
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        return f"{kind};sha256={digest}"
    return _SECRET_FORMS.sub(lambda match: f"{match['before'] or ''}{HIDDEN}", _text(text))


def _text(text: str) -> str:
    """As UTF-8 can say it."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _harmless(value: object) -> object:
    """The value where JSON can say it."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError):
        return None


@cache
def _kinds() -> dict[str, type[ApiError]]:
    return {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, ApiError)
    }
