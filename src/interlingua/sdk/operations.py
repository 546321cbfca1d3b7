"""The five operations as plans: from a caller's arguments to the wire, and back to results.

Rules of this file:
- What a call doesn't say, the client's defaults say; ``model_extras`` replace and don't merge.
- ``model_extras`` are what sets ``extra-parameters: pass-through``; a body that the caller wrote
  is sent as it is, without defaults and without that header.
"""

from collections.abc import Callable, Mapping
from typing import IO, Any, Generic, TypeVar
from urllib.parse import urlsplit

from interlingua.errors import ConfigError

from .address import Address
from .changes import HEADER, read_changes
from .credentials import check
from .exchange import Access, Plan, below, exchange, operate, user_agent
from .failures import DecodeError, ResourceNotFoundError, failure
from .mapped import Mapped, decode
from .messages import JsonSchemaFormat
from .observe import Call, Operation, Watch
from .replies import HttpRequest, Reply
from .results import ModelInfo, ModelList, Result
from .settings import Settings
from .streams import Updates

R = TypeVar("R", bound=Result)
U = TypeVar("U", bound=Mapped)
S = TypeVar("S")

#: The first version that tells reasoning apart from the answer (``reasoning_content``).
API_VERSION = "2025-04-01"

JSON = Mapping[str, Any]
Body = JSON | bytes | IO[bytes]

PATHS: Mapping[Operation, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "image_embeddings": "/images/embeddings",
    "info": "/info",
    "models": "/models",
}
#: What the client's arguments may say for every call, by operation.
DEFAULTS: Mapping[str, frozenset[str]] = {
    "chat": frozenset(
        {
            *("frequency_penalty", "presence_penalty", "temperature", "top_p", "max_tokens"),
            *("response_format", "stop", "tools", "tool_choice", "seed", "model", "model_extras"),
        }
    ),
    "completions": frozenset(
        {
            *("frequency_penalty", "presence_penalty", "temperature", "top_p", "max_tokens"),
            *("stop", "seed", "n", "echo", "suffix", "best_of", "logprobs", "model"),
            "model_extras",
        }
    ),
    "embeddings": frozenset(
        {"dimensions", "encoding_format", "input_type", "model", "model_extras"}
    ),
}
DEFAULTS = {**DEFAULTS, "image_embeddings": DEFAULTS["embeddings"], "info": frozenset()}

# Contract: what Microsoft's `load_client` takes for `model_type`, and more of the same.
_CHAT = {
    *("chat_completion", "chat_completions", "chat", "completion", "chat-completion"),
    *("chat-completions", "chat completion", "chat completions"),
}
_EMBEDDINGS = {
    *("embeddings", "embedding", "text_embedding", "text_embeddings", "text-embedding"),
    *("text-embeddings", "text embedding", "text embeddings"),
}
_IMAGES = {f"image{dash}embedding{s}" for dash in "_- " for s in ("", "s")}
_TEXTS = {"text_generation", "text-generation", "completions"}


class Streamed(Generic[U, S]):
    """How a streamed answer is given to the caller."""

    def __init__(self, kind: type[U], stream: Callable[[Any, Updates[U]], S]) -> None:
        self.kind = kind
        self.stream = stream


class Operations:
    """One client's calls, as plans. Keeps the endpoint's model info once it was fetched."""

    def __init__(
        self, operation: Operation, endpoint: str, credential: object, options: dict[str, Any]
    ) -> None:
        """Sort a client's arguments; nothing is sent yet.

        Raises:
            ValueError: the endpoint is no URL, or the key can't be sent.
            TypeError: an argument or a credential that no client takes.
        """
        if endpoint is None:
            raise ValueError("Parameter 'endpoint' must not be None.")
        check(credential)
        try:
            self.address = Address.parse(endpoint)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        if self.address.api_version:
            options.setdefault("api_version", self.address.api_version)
        names = DEFAULTS[operation]
        self._defaults = {name: options.pop(name) for name in list(options) if name in names}
        self.settings = Settings().told("the client", **options)
        self._credential = credential
        self._access = Access(self.address, credential)
        self.model_info: ModelInfo | None = None
        response_format(self._defaults.get("response_format"))  # a wrong one is told now

    def whole(
        self, operation: Operation, kind: type[R], body: Body | None, given: dict[str, Any]
    ) -> Plan[R]:
        """A call with one reply."""
        call, settings = self.prepare(operation, body, given)
        return operate(call, self._access, settings, lambda reply, _: read_result(kind, reply))

    def streamed(
        self, operation: Operation, how: Streamed[U, S], body: Body | None, given: dict[str, Any]
    ) -> Plan[S]:
        """A call whose reply comes in chunks."""
        call, settings = self.prepare(operation, body, given)
        call = call._replace(streams=True)

        def read(reply: Reply, watching: Watch | None) -> S:
            return how.stream(reply, Updates(how.kind, reply, watching))

        return operate(call, self._access, settings, read)

    def info(self, given: dict[str, Any]) -> Plan[ModelInfo]:
        """The endpoint's model, fetched once.

        Raises:
            ResourceNotFoundError: it has no such route.
        """
        if self.model_info is None:
            settings = self.settings.told("get_model_info()", **given)
            call = self._call("info", "GET")
            try:
                self.model_info = yield from operate(
                    call, self._access, settings, lambda reply, _: read_result(ModelInfo, reply)
                )
            except ResourceNotFoundError as error:
                error.message = (
                    "Model information is not available on this endpoint "
                    "(`/info` route not supported)."
                )
                raise
        return self.model_info

    def send(self, request: Any, *, stream: bool, given: dict[str, Any]) -> Plan[Any]:
        """A request as the caller wrote it, with the client's credential; any status returns."""
        settings = self.settings.told("send_request()", **given)
        headers = {"user-agent": user_agent(settings), **settings.headers, **request.headers}
        content = request.content
        if hasattr(content, "read"):
            content = content.read()
        sent = HttpRequest(
            request.method, below(self.address, request.url), headers=headers, content=content
        )
        return exchange(sent, self._access, settings, streams=stream)

    def models(self) -> Plan[ModelList]:
        """The list of deployments: below ``/v1``, whatever the endpoint's own path."""
        base = self.address.base_path
        place = Address(self.address.origin, base if base.endswith("/v1") else "/v1", None)
        call = self._call("models", "GET")
        access = Access(place, self._credential)
        return operate(call, access, self.settings, lambda reply, _: _read_list(reply))

    def prepare(
        self, operation: Operation, body: Body | None, given: dict[str, Any]
    ) -> tuple[Call, Settings]:
        """What is sent, and under which settings."""
        said = {name: given.pop(name) for name in list(given) if name in _PARAMETERS[operation]}
        settings = self.settings.told("the call", **given)
        if body is not None:
            return self._written(operation, body), settings
        parameters = {**self._defaults_of(operation)}
        parameters.update((name, value) for name, value in said.items() if value is not None)
        chosen = response_format(parameters.get("response_format"))
        if chosen is not None:
            parameters["response_format"] = chosen
        extras = parameters.pop("model_extras", None) or {}
        call = self._call(operation, "POST")
        headers = {"extra-parameters": "pass-through"} if extras else {}
        parameters.update((name, value) for name, value in extras.items() if value is not None)
        model = parameters.get("model")
        return call._replace(parameters=parameters, model=model, headers=headers), settings

    def _defaults_of(self, operation: Operation) -> dict[str, Any]:
        names = DEFAULTS[operation]
        return {k: v for k, v in self._defaults.items() if k in names and v is not None}

    def _written(self, operation: Operation, body: Body) -> Call:
        call = self._call(operation, "POST")
        if isinstance(body, Mapping):
            return call._replace(parameters=body, model=body.get("model"))
        raw = body if isinstance(body, bytes) else body.read()
        return call._replace(body=raw)

    def _call(self, operation: Operation, method: str) -> Call:
        origin = urlsplit(self.address.origin)
        return Call(
            operation=operation,
            method=method,
            path=PATHS[operation],
            host=origin.hostname or "",
            port=origin.port or (443 if origin.scheme == "https" else 80),
        )


_INPUTS: Mapping[str, frozenset[str]] = {
    "chat": frozenset({"messages", "stream"}),
    "completions": frozenset({"prompt", "stream"}),
    "embeddings": frozenset({"input"}),
    "image_embeddings": frozenset({"input"}),
    "info": frozenset(),
}
_PARAMETERS = {name: DEFAULTS[name] | inputs for name, inputs in _INPUTS.items()}


def response_format(chosen: object) -> object:
    """The wire's object for what Microsoft's argument takes: two names, or a schema.

    Raises:
        ValueError: it is neither.
    """
    if chosen is None:
        return None
    if isinstance(chosen, JsonSchemaFormat):
        return {"type": "json_schema", "json_schema": chosen}
    if chosen in ("text", "json_object"):
        return {"type": chosen}
    if isinstance(chosen, Mapping) and "type" in chosen:
        return chosen
    raise ValueError(f"Unsupported `response_format` {chosen}")


def streams(body: Body | None, given: Mapping[str, Any]) -> bool:
    """Whether the answer comes in chunks: a written body says so itself."""
    if isinstance(body, Mapping) and isinstance(body.get("stream"), bool):
        return bool(body["stream"])
    return bool(given.get("stream"))


def read_result(kind: type[R], reply: Reply) -> R:
    """A reply's body as a result.

    Raises:
        DecodeError: it is no JSON object.
    """
    try:
        raw = decode(reply.content)
    except (ValueError, TypeError) as error:
        text = f"the reply makes no sense: {error}"
        raise failure(DecodeError, text, response=reply, error=error) from error
    result: R = kind.view(raw)
    result.note(read_changes(reply.headers.get(HEADER)))
    return result


def _read_list(reply: Reply) -> ModelList:
    result = read_result(ModelList, reply)
    if not isinstance(result.get("data"), list):
        raise failure(DecodeError, "the list of models makes no sense", response=reply)
    return result


def client_for(info: ModelInfo) -> Operation:
    """Which operation an endpoint's model has, by what ``/info`` says.

    Raises:
        ValueError: it says nothing, or nothing that there is a client for.
    """
    said = str(info.get("model_type") or "").lower()
    if not said:
        raise ValueError(
            "The AI model information is missing a value for `model type`. "
            "Cannot create an appropriate client."
        )
    for names, operation in _KINDS:
        if said in names:
            return operation
    raise ValueError(f"No client available to support AI model type `{said}`")


_KINDS: tuple[tuple[set[str], Operation], ...] = (
    (_CHAT, "chat"),
    (_EMBEDDINGS, "embeddings"),
    (_IMAGES, "image_embeddings"),
    (_TEXTS, "completions"),
)


def required(body: object, given: Any, **inputs: Any) -> dict[str, Any]:
    """What a call was given, as one mapping; an input that is missing is told by its name."""
    name, first = next(iter(inputs.items()))
    if body is None and first is None:
        raise TypeError(f"missing required argument: {name}")
    return {**given, **{key: value for key, value in inputs.items() if value is not None}}


def fresh(endpoint: str | None, credential: object, options: dict[str, Any]) -> Operations:
    """For a client of all operations: the environment's endpoint and key where none is given."""
    from .environment import access  # noqa: PLC0415 - only these clients read it

    found = access(endpoint, None, kept_key=None)
    made = Operations("info", found.endpoint, credential or found.key, options)
    if "api_version" not in options:
        made.settings = made.settings._replace(api_version=API_VERSION)
    return made


def spoken(messages: Any) -> Any:
    """A conversation; a text is what its user says."""
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return messages
