"""One call as one span, under the conventions that azure-ai-inference 1.0.0b9 follows.

Rules of this file:
- Nothing that a server answers may raise here: what has an unknown shape is left out.
- Content (messages, texts, the names and arguments of tools) is only ever in events, and only
  when it is recorded: not in a stream that breaks off either.
- A stream's attributes are the last ones that its chunks name, whichever chunk that is.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from time import time_ns

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from interlingua.sdk.observe import Call

SYSTEM = "az.ai.inference"
#: What the conventions call the operations that are traced.
_NAMES = {
    "chat": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "image_embeddings": "embeddings",
}
_HTTPS_PORT = 443
#: Azure Monitor keeps microseconds: closer events would lose their order.
_EVENT_DISTANCE_NS = 1000

Json = Mapping[str, object]


class Tracing:
    """Begins a span for each call (``sdk.observe.Observer``)."""

    def __init__(self, records_content: bool) -> None:  # noqa: FBT001 - its one argument
        self.records_content = records_content
        self._tracer = trace.get_tracer("interlingua")

    def begin(self, call: Call) -> "SpanWatch | None":
        name = _NAMES.get(call.operation or "")
        if name is None:
            return None
        span = self._tracer.start_span(
            f"{name} {call.model}" if call.model else name,
            kind=SpanKind.CLIENT,
            attributes=_request_attributes(name, call),
        )
        watch = SpanWatch(span, self.records_content)
        if self.records_content:
            watch.record_messages(call.parameters)
        return watch


def _request_attributes(name: str, call: Call) -> dict[str, str | int | float]:
    attributes: dict[str, str | int | float] = {
        "gen_ai.operation.name": name,
        "gen_ai.system": SYSTEM,
        "gen_ai.request.model": call.model or name,
        "server.address": call.host,
    }
    if call.port != _HTTPS_PORT:
        attributes["server.port"] = call.port
    for parameter in ("max_tokens", "temperature", "top_p"):
        value = call.parameters.get(parameter)
        if isinstance(value, int | float):
            attributes[f"gen_ai.request.{parameter}"] = value
    return attributes


class SpanWatch:
    """One call's span (``sdk.observe.Watch``)."""

    def __init__(self, span: Span, records_content: bool) -> None:  # noqa: FBT001 - as above
        self._span = span
        self._records = records_content
        self._last_event_ns = 0
        self._fold: _Fold | None = None

    def record_messages(self, parameters: Json) -> None:
        for message in _objects(parameters.get("messages")):
            if role := _plain(message.get("role")):
                self._event(f"gen_ai.{role}.message", _plain(message))

    def headers(self) -> Mapping[str, str]:
        """``traceparent`` and what else the process propagates."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier, context=trace.set_span_in_context(self._span))
        return carrier

    def replied(self, result: object) -> None:
        reply = _object(result)
        choices = list(_objects(reply.get("choices")))
        self._response_attributes(reply)
        self._finish_reasons([_reason(choice) for choice in choices])
        for position, choice in enumerate(choices):
            self._event("gen_ai.choice", self._choice(choice, position))

    def opened(self) -> None:
        self._fold = _Fold(keeps_text=self._records)

    def updated(self, update: object) -> None:
        if self._fold is not None:
            self._fold.add(_object(update))

    def ended(self, error: BaseException | None) -> None:
        if self._fold is not None:
            self._end_stream(self._fold, broken=error is not None)
        if error is not None and not isinstance(error, GeneratorExit):
            self._span.set_status(StatusCode.ERROR, description=str(error))
            self._span.set_attribute("error.type", _type_name(error))
        self._span.end()

    def _end_stream(self, fold: "_Fold", *, broken: bool) -> None:
        self._response_attributes(fold.reply)
        choices = fold.choices(broken=broken)
        if fold.has_choices:
            self._finish_reasons([_reason(choice) for choice in choices])
        for choice in choices:
            self._event("gen_ai.choice", self._choice(choice, 0))

    def _response_attributes(self, reply: Json) -> None:
        usage = _object(reply.get("usage"))
        for name, value in (
            ("gen_ai.response.id", reply.get("id")),
            ("gen_ai.response.model", reply.get("model")),
            ("gen_ai.usage.input_tokens", usage.get("prompt_tokens")),
            ("gen_ai.usage.output_tokens", usage.get("completion_tokens")),
        ):
            if isinstance(value, str | int):
                self._span.set_attribute(name, value)

    def _finish_reasons(self, reasons: Sequence[str]) -> None:
        if reasons:
            self._span.set_attribute("gen_ai.response.finish_reasons", reasons)

    def _choice(self, choice: Json, position: int) -> Json:
        """What the event says of a choice."""
        message = _object(choice.get("message"))
        said: dict[str, object] = {}
        if self._records and ("content" in message or "text" in choice):
            said["content"] = message.get("content", choice.get("text"))
        if calls := list(_objects(message.get("tool_calls"))):
            shown = _plain if self._records else _nameless
            said["tool_calls"] = [shown(call) for call in calls]
        index = choice.get("index", position)
        event: dict[str, object] = {"finish_reason": _reason(choice), "index": index}
        return {"message": said, **event} if said else event

    def _event(self, name: str, content: object) -> None:
        at_ns = max(time_ns(), self._last_event_ns + _EVENT_DISTANCE_NS)
        self._last_event_ns = at_ns
        self._span.add_event(
            name,
            {"gen_ai.system": SYSTEM, "gen_ai.event.content": json.dumps(content, default=str)},
            timestamp=at_ns,
        )


class _Fold:
    """The chunks of a stream as one reply."""

    def __init__(self, *, keeps_text: bool) -> None:
        self._keeps_text = keeps_text
        self.reply: dict[str, object] = {}
        self._choices: dict[int, _FoldedChoice] = {}

    @property
    def has_choices(self) -> bool:
        return bool(self._choices)

    def add(self, update: Json) -> None:
        for name in ("id", "model", "usage"):
            if update.get(name):
                self.reply[name] = update[name]
        for choice in _objects(update.get("choices")):
            index = choice.get("index")
            place = index if isinstance(index, int) else 0
            self._at(place).add(choice)

    def choices(self, *, broken: bool) -> list[dict[str, object]]:
        """The choices; of a broken stream at least one, whose finish reason tells it."""
        if broken and not self._choices:
            self._at(0)
        return [
            folded.choice(index, broken=broken) for index, folded in sorted(self._choices.items())
        ]

    def _at(self, place: int) -> "_FoldedChoice":
        return self._choices.setdefault(place, _FoldedChoice(keeps_text=self._keeps_text))


class _FoldedChoice:
    def __init__(self, *, keeps_text: bool) -> None:
        self._keeps_text = keeps_text
        self._texts: list[str] = []
        self._calls: dict[object, dict[str, str]] = {}
        self._reason: object = None

    def add(self, choice: Json) -> None:
        delta = _object(choice.get("delta"))
        text = delta.get("content") or choice.get("text")
        if self._keeps_text and isinstance(text, str):
            self._texts.append(text)
        for call in _objects(delta.get("tool_calls")):
            self._add_call(call)
        self._reason = choice.get("finish_reason") or self._reason

    def _add_call(self, delta: Json) -> None:
        """By index; where a server gives none, an id begins a call and the rest adds to it."""
        place = delta.get("index")
        if place is None:
            place = len(self._calls) - (0 if delta.get("id") or not self._calls else 1)
        call = self._calls.setdefault(place, {"id": "", "name": "", "arguments": ""})
        function = _object(delta.get("function"))
        call["id"] = str(delta.get("id") or call["id"])
        call["name"] = str(function.get("name") or call["name"])
        if self._keeps_text:
            call["arguments"] += str(function.get("arguments") or "")

    def choice(self, index: int, *, broken: bool) -> dict[str, object]:
        message: dict[str, object] = {"content": "".join(self._texts)} if self._texts else {}
        if self._calls:
            message["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["arguments"]},
                }
                for call in self._calls.values()
            ]
        reason = self._reason or ("error" if broken else None)
        return {"message": message, "finish_reason": reason, "index": index}


def _nameless(call: Json) -> object:
    """A call of a tool without what was said in it."""
    return {"id": _plain(call.get("id")), "type": _plain(call.get("type", "function"))}


def _reason(choice: Json) -> str:
    return str(_plain(choice.get("finish_reason")) or "none")


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _object(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _objects(value: object) -> Iterator[Json]:
    if isinstance(value, Sequence):
        yield from (item for item in value if isinstance(item, Mapping))


def _plain(value: object) -> object:
    """As JSON has it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value
