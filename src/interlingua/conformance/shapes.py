"""The shapes of replies, as strictly as this API's documents state them.

They are written down here once more, and not taken from the server's own dialects, so that
the suite doesn't judge the server by itself. Members that aren't here are allowed.

Source: Azure AI Model Inference REST reference (chat completions, completions, embeddings,
images embeddings, info); OpenAI API reference for the OpenAI routes.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from .case import Deviation, expect

Count = Annotated[int, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1)]
#: Seconds, and no milliseconds: between 2001 and 2096.
Created = Annotated[int, Meta(ge=1_000_000_000, le=4_000_000_000)]
#: Any other crashes the official client's tracing.
Finish = Literal["stop", "length", "content_filter", "tool_calls"]


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: Count
    total_tokens: Count
    completion_tokens: Count = 0

    def __post_init__(self) -> None:
        if self.total_tokens != self.prompt_tokens + self.completion_tokens:
            raise ValueError("usage doesn't add up")


class Function(msgspec.Struct, frozen=True):
    name: Text
    arguments: str


class ToolCall(msgspec.Struct, frozen=True):
    id: Text
    type: Literal["function"]
    function: Function


class Message(msgspec.Struct, frozen=True):
    role: Literal["assistant"]
    content: str | None
    tool_calls: tuple[ToolCall, ...] | None = None
    reasoning_content: str | None | UnsetType = UNSET


class Choice(msgspec.Struct, frozen=True):
    index: Count
    finish_reason: Finish
    message: Message


class Chat(msgspec.Struct, frozen=True):
    id: Text
    object: Literal["chat.completion"]
    created: Created
    model: Text
    choices: Annotated[tuple[Choice, ...], Meta(min_length=1)]
    usage: Usage

    @property
    def said(self) -> Message:
        return self.choices[0].message


class PieceOfFunction(msgspec.Struct, frozen=True):
    name: Text | None = None
    arguments: str = ""


class PieceOfCall(msgspec.Struct, frozen=True):
    index: Count
    id: Text | None = None
    type: Literal["function"] | None = None
    function: PieceOfFunction = PieceOfFunction()


class Delta(msgspec.Struct, frozen=True):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | None | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: tuple[PieceOfCall, ...] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, frozen=True):
    index: Count
    delta: Delta
    finish_reason: Finish | None = None


class Chunk(msgspec.Struct, frozen=True):
    id: Text
    object: Literal["chat.completion.chunk"]
    created: Created
    model: Text
    choices: tuple[ChunkChoice, ...]
    usage: Usage | None = None


class TextChoice(msgspec.Struct, frozen=True):
    index: Count
    text: str
    finish_reason: Literal["stop", "length", "content_filter"] | None


class Completion(msgspec.Struct, frozen=True):
    """A whole text completion or a chunk of one: they have one shape."""

    id: Text
    object: Literal["text_completion"]
    created: Created
    model: Text
    choices: tuple[TextChoice, ...]
    usage: Usage | None = None


class Vector(msgspec.Struct, frozen=True):
    index: Count
    object: Literal["embedding"]
    embedding: str | tuple[float, ...]


class Embeddings(msgspec.Struct, frozen=True):
    object: Literal["list"]
    model: Text
    data: tuple[Vector, ...]
    usage: Usage
    id: Text | UnsetType = UNSET


class Info(msgspec.Struct, frozen=True):
    model_name: Text
    model_type: Text
    model_provider_name: str


class Problem(msgspec.Struct, frozen=True):
    code: Text | None
    message: Text
    param: str | None = None
    details: tuple[object, ...] | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """Azure.Core.Foundations.ErrorResponse; ``error`` is an object on every route."""

    error: Problem
    detail: object = None

    def names(self, parameter: str) -> bool:
        """Whether the error says which parameter it is about."""
        said = [self.error.param or "", self.error.message, str(self.error.details or "")]
        return any(parameter in text for text in [*said, str(self.detail or "")])


def events(raw: bytes) -> list[bytes]:
    """The data of a stream's events before ``[DONE]``.

    Raises:
        Deviation: it is spelled otherwise than the official client reads it: each event
            ``data: `` and a line, two line feeds after it, and ``[DONE]`` as the last one.
    """
    expect(b"\r" not in raw, "the stream has carriage returns")
    expect(raw.endswith(b"data: [DONE]\n\n"), f"the stream ends with {raw[-40:]!r}")
    lines = raw.removesuffix(b"\n\n").split(b"\n\n")
    for line in lines:
        expect(line.startswith(b"data: "), f"an event begins with {line[:20]!r}, not 'data: '")
        expect(b"\n" not in line, f"an event has several lines: {line[:60]!r}")
    data = [line.removeprefix(b"data: ") for line in lines]
    expect(b"[DONE]" not in data[:-1], "[DONE] isn't the last event")
    return data[:-1]


class Folded(msgspec.Struct, frozen=True):
    """A streamed choice, put together."""

    text: str
    reasoning: str
    calls: tuple[ToolCall, ...]
    finish_reason: Finish


def fold(chunks: list[Chunk]) -> Folded:
    """The first choice of a stream as a whole.

    Raises:
        Deviation: its pieces don't make one.
    """
    mine = [choice for chunk in chunks for choice in chunk.choices if choice.index == 0]
    ends = [choice.finish_reason for choice in mine if choice.finish_reason]
    expect(len(ends) == 1, f"a choice has {len(ends)} finish reasons in its stream")
    expect(mine[-1].finish_reason, "a choice goes on after its finish reason")
    return Folded(
        text="".join(choice.delta.content or "" for choice in mine),
        reasoning="".join(choice.delta.reasoning_content or "" for choice in mine),
        calls=_calls([call for choice in mine for call in choice.delta.tool_calls or ()]),
        finish_reason=ends[0],
    )


def _calls(pieces: list[PieceOfCall]) -> tuple[ToolCall, ...]:
    ids: dict[int, str] = {}
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for piece in pieces:
        place = piece.index
        for known, given, what in (
            (ids, piece.id, "id"),
            (names, piece.function.name, "name"),
        ):
            if given is not None:
                expect(place not in known, f"the {what} of a tool call comes twice")
                known[place] = given
        expect(place in ids, "a tool call's first piece has no id")
        arguments[place] = arguments.get(place, "") + piece.function.arguments
    expect(list(ids) == list(range(len(ids))), f"tool calls count {list(ids)}, not from 0")
    for text in arguments.values():
        json_object(text)
    return tuple(
        ToolCall(ids[place], "function", Function(names.get(place, ""), arguments[place]))
        for place in ids
    )


def json_object(text: str | None) -> dict[str, object]:
    """``text`` as a JSON object.

    Raises:
        Deviation: it is none.
    """
    try:
        return msgspec.json.decode(text or "", type=dict[str, object])
    except msgspec.DecodeError as error:
        raise Deviation(f"{(text or '')[:80]!r} is no JSON object: {error}") from error
