"""Chat completions: the request, its messages, and the deltas of the answer.

Ranges are the contract's (Azure: ChatCompletionsOptions) unless a comment says otherwise.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from .usage import Usage

FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]
Name64 = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$")]

# The ranges, named once: dialects and pass-through validate against the same ones.
Penalty = Annotated[float, Meta(ge=-2, le=2)]
#: The spec says at most 1, the documentation any non-negative: 2 is accepted everywhere.
Temperature = Annotated[float, Meta(ge=0, le=2)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
#: The upper end is what engines count in.
TokenCount = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
ChoiceCount = Annotated[int, Meta(ge=1, le=128)]
LogitBias = Annotated[dict[str, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=1024)]
TopLogprobs = Annotated[int, Meta(ge=0, le=20)]


class TextPart(msgspec.Struct, frozen=True, tag="text"):
    text: str


class ImagePart(msgspec.Struct, frozen=True, tag="image"):
    """``url`` is a ``data:`` URL or, where the config allows, a remote one."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class AudioPart(msgspec.Struct, frozen=True, tag="audio"):
    """Either ``data`` (base64) with its ``format``, or a ``url``."""

    data: str | None = None
    format: str | None = None
    url: str | None = None


Part = TextPart | ImagePart | AudioPart
Content = str | tuple[Part, ...]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """``arguments`` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


class SystemMessage(msgspec.Struct, frozen=True, tag_field="role", tag="system"):
    content: Content


class DeveloperMessage(msgspec.Struct, frozen=True, tag_field="role", tag="developer"):
    content: Content


class UserMessage(msgspec.Struct, frozen=True, tag_field="role", tag="user"):
    content: Content
    name: str | None = None


class AssistantMessage(msgspec.Struct, frozen=True, tag_field="role", tag="assistant"):
    content: Content | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    name: str | None = None


class ToolMessage(msgspec.Struct, frozen=True, tag_field="role", tag="tool"):
    content: Content | None = None
    tool_call_id: str | None = None


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call. ``parameters`` is a JSON schema."""

    name: Name64
    description: str | None = None
    parameters: Mapping[str, object] | None = None
    strict: bool | None = None


class NamedTool(msgspec.Struct, frozen=True):
    """The tool choice that forces one function."""

    name: str


ToolChoice = Literal["auto", "none", "required"] | NamedTool


class TextFormat(msgspec.Struct, frozen=True, tag="text"):
    pass


class JsonObjectFormat(msgspec.Struct, frozen=True, tag="json_object"):
    pass


class JsonSchemaFormat(msgspec.Struct, frozen=True, tag="json_schema", kw_only=True):
    name: Name64
    schema: Mapping[str, object] | None = None
    description: str | None = None
    strict: bool | None = None


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """What chat and text completions share."""

    model: str | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    temperature: Temperature | None = None
    top_p: Fraction | None = None
    #: ``None``: up to the context's end. ``UNSET``: the route's default.
    max_tokens: TokenCount | None | UnsetType = UNSET
    stop: tuple[str, ...] = ()
    seed: Seed | None = None
    stream: bool = False
    #: ``stream_options.include_usage``: the OpenAI dialect's way to ask for usage in a stream.
    include_usage: bool | None = None
    #: Known on the OpenAI routes; elsewhere extra parameters that an engine may list.
    n: ChoiceCount | None = None
    logit_bias: LogitBias | None = None
    top_k: TokenCount | None = None
    min_p: Fraction | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    #: Top-level fields that the dialect doesn't know, as decoded JSON.
    extra: Mapping[str, object] = {}


class ChatRequest(Sampling, frozen=True, kw_only=True):
    """A chat completion to be made. ``messages`` is never empty."""

    messages: tuple[Message, ...]
    response_format: ResponseFormat | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    modalities: tuple[Literal["text", "audio"], ...] | None = None
    user_security_context: Mapping[str, object] | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    audio: Mapping[str, object] | None = None
    #: How the caller spelled ``max_tokens``: OpenAI has two names of it, and a provider may
    #: know only one.
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


class TokenLogprob(msgspec.Struct, frozen=True):
    """``bytes`` are the token's own, since a token may be part of a character."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top_logprobs: tuple["TokenLogprob", ...] = ()


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a tool call. ``id`` and ``name`` come once, with the call's first piece."""

    index: int = 0
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class ChatDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the answer, of one choice.

    ``usage`` is the whole call's and comes once, with or after the last finish reason.
    """

    index: int = 0
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: FinishReason | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    usage: Usage | None = None

    @property
    def speaks(self) -> bool:
        """Whether this delta says something: only then may status 200 be sent."""
        return bool(
            self.text or self.reasoning or self.refusal or self.tool_calls or self.finish_reason
        )


class ChatChoice(msgspec.Struct, frozen=True, kw_only=True):
    index: int = 0
    #: ``None`` with tool calls and nothing said.
    text: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def speaks(self) -> bool:
        """Whether it says something; a reply where nothing does is no answer."""
        return bool(
            self.text or self.reasoning or self.refusal or self.tool_calls or self.finish_reason
        )


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer, folded from its deltas."""

    choices: tuple[ChatChoice, ...]
    usage: Usage = Usage()
