"""Text completions: the request's body, the reply and its stream.

A reply and a chunk have the same shape here (Azure: CreateCompletionResponse; OpenAI "The
completion object").
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from interlingua.errors import UpstreamError
from interlingua.sse import DONE
from interlingua.types.chat import FinishReason, TokenLogprob
from interlingua.types.completions import (
    Completion,
    CompletionChoice,
    CompletionDelta,
    CompletionRequest,
    Prompt,
)
from interlingua.types.explain import wrong

from .base import Reply
from .error_wire import read_stated
from .reply_wire import (
    Ends,
    Envelope,
    Tail,
    UsageWire,
    decode_reply,
    encoded,
    envelope,
    event,
    finite,
    read_finish,
    read_usage,
    write_usage,
)
from .sampling_wire import (
    Choices,
    SamplingBody,
    StreamOptionsChoice,
    TokenBias,
    read_sampling,
    write_sampling,
)
from .texts_wire import Texts, read_texts, write_texts

_encode_text = msgspec.json.Encoder().encode


class CompletionBody(SamplingBody, frozen=True, kw_only=True):
    """What the Azure AI Model Inference API knows; any other name is an extra parameter."""

    prompt: Annotated[Texts, Meta(description="What is to be continued.")]


class OpenAICompletionBody(CompletionBody, frozen=True, kw_only=True):
    """What the OpenAI API knows; any other name is an extra parameter."""

    n: Choices = None
    best_of: Annotated[
        Annotated[int, Meta(ge=1, le=128)] | None,
        Meta(description="Of so many answers the likeliest `n`."),
    ] = None
    echo: Annotated[bool | None, Meta(description="Whether the answer begins with the prompt.")] = (
        None
    )
    suffix: Annotated[str | None, Meta(description="What is to follow the answer.")] = None
    logprobs: Annotated[
        Annotated[int, Meta(ge=0, le=5)] | None,
        Meta(description="The probabilities of so many likely tokens, at each place."),
    ] = None
    logit_bias: TokenBias = None
    stream_options: StreamOptionsChoice = None


class _Logprobs(msgspec.Struct, frozen=True):
    tokens: Sequence[str] | None = None
    token_logprobs: Sequence[float | None] | None = None
    top_logprobs: Sequence[dict[str, float | None] | None] | None = None
    text_offset: Sequence[int] | None = None


class _Choice(msgspec.Struct, frozen=True, kw_only=True):
    index: int | None = 0
    text: str | None = ""
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _ChoiceOut(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    text: str = ""
    logprobs: _Logprobs | None = None
    finish_reason: FinishReason | None = None


class CompletionReply(Envelope, frozen=True, kw_only=True):
    """A whole answer; also the data of one event of a stream."""

    object: Literal["text_completion"] = "text_completion"
    choices: Sequence[_ChoiceOut] = ()


class _CompletionIn(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] | None = None
    usage: UsageWire | None = None
    error: object = None


_REPLY = msgspec.json.Decoder(_CompletionIn)
_CHUNK = msgspec.json.Decoder(_CompletionIn | None)


def read_completion(body: CompletionBody, extra: Mapping[str, object]) -> CompletionRequest:
    """The request, with every parameter judged.

    Raises:
        InvalidValue: a prompt is empty, or values don't go together.
    """
    fields = read_sampling(body)
    fields["prompts"] = read_texts(fields.pop("prompt"), "prompt")
    fields["extra"] = extra
    request = CompletionRequest(**fields)
    for place, prompt in enumerate(request.prompts):
        if not prompt:
            many = isinstance(body.prompt, tuple)
            raise wrong(("body", "prompt", place) if many else ("body", "prompt"), "non-empty")
    return request


def write_completion(request: CompletionRequest, model: str | None) -> dict[str, Any]:
    """The body's fields; ``model`` replaces the request's own."""
    fields = write_sampling(request, model)
    prompts: tuple[Prompt, ...] = fields.pop("prompts")
    fields["prompt"] = write_texts(prompts)
    return fields


def write_completion_reply(completion: Completion, reply: Reply, prefix: str) -> bytes:
    """The reply's body; ``prefix`` is put before its id."""
    choices = tuple(
        _ChoiceOut(
            index=choice.index,
            text=choice.text,
            logprobs=_write_logprobs(choice.logprobs, 0),
            finish_reason=choice.finish_reason,
        )
        for choice in completion.choices
    )
    head = envelope(CompletionReply, reply, prefix)
    return encoded(
        msgspec.structs.replace(head, choices=choices, usage=write_usage(completion.usage))
    )


def read_completion_reply(body: bytes) -> Completion:
    """A provider's whole answer.

    Raises:
        ApiError: the reply is an error.
        UpstreamError: it makes no sense.
    """
    reply = decode_reply(_REPLY, body)
    if reply.error is not None:
        raise read_stated(reply.error)
    if not reply.choices:
        raise UpstreamError("The reply has no choices.")
    choices = tuple(
        CompletionChoice(
            index=place if choice.index is None else choice.index,
            text=choice.text or "",
            finish_reason=read_finish(choice.finish_reason),
            logprobs=_read_logprobs(choice.logprobs),
        )
        for place, choice in enumerate(reply.choices)
    )
    usage = {"usage": read_usage(reply.usage)} if reply.usage else {}
    return Completion(choices=choices, **usage)


class CompletionStreamWriter:
    """Writes one reply. Not safe to share."""

    def __init__(self, head: Envelope, tail: Tail) -> None:
        self._head = head
        self._tail = tail
        #: What stands around the text, for each choice that a text can go on at once.
        self._around: dict[int, tuple[bytes, bytes]] = {}
        #: Where the next token of a choice begins, in characters.
        self._offsets: dict[int, int] = {}

    def write(self, delta: CompletionDelta) -> bytes:
        around = self._around.get(delta.index)
        if around is None or not delta.text or delta.finish_reason or delta.logprobs or delta.usage:
            return self._write(delta)
        return around[0] + _encode_text(delta.text) + around[1]

    def finish(self) -> bytes:
        return self._tail.release() + DONE

    def _write(self, delta: CompletionDelta) -> bytes:
        parts: list[bytes] = []
        index = delta.index
        if delta.speaks or delta.logprobs:
            parts.append(self._tail.release())
        if delta.text or delta.logprobs:
            if index not in self._around:
                self._around[index] = self._halves(index)
            offset = self._offsets.get(index, 0)
            logprobs = _write_logprobs(delta.logprobs, offset)
            self._offsets[index] = offset + sum(len(token.token) for token in delta.logprobs)
            chunk = _ChoiceOut(index=index, text=delta.text, logprobs=logprobs)
            parts.append(event(self._chunk(chunk)))
        if delta.finish_reason:
            # What follows must first release the chunk that is held back.
            self._around.clear()
            chunk = _ChoiceOut(index=index, finish_reason=delta.finish_reason)
            parts.append(self._tail.hold(self._chunk(chunk)))
        if delta.usage is not None:
            parts.append(self._tail.settle(delta.usage))
        return b"".join(parts)

    def _chunk(self, choice: _ChoiceOut) -> Envelope:
        return msgspec.structs.replace(self._head, choices=(choice,))

    def _halves(self, index: int) -> tuple[bytes, bytes]:
        before, mark, after = event(self._chunk(_ChoiceOut(index=index))).partition(b'"text":""')
        return before + mark[:-2], after


class CompletionStreamReader:
    """Reads one reply. Not safe to share."""

    def __init__(self) -> None:
        self._ends = Ends()

    def read(self, data: bytes) -> tuple[CompletionDelta, ...]:
        if data.strip() in {b"[DONE]", b""}:
            return ()
        chunk = decode_reply(_CHUNK, data)
        if chunk is None:
            return ()
        if chunk.error is not None:
            raise read_stated(chunk.error)
        deltas = [delta for choice in chunk.choices or () if (delta := self._read(choice))]
        usage = self._ends.usage(chunk.usage, alone=not chunk.choices)
        if usage is not None and deltas:
            deltas[-1] = msgspec.structs.replace(deltas[-1], usage=usage)
        elif usage is not None:
            deltas.append(CompletionDelta(usage=usage))
        return tuple(deltas)

    def finish(self) -> None:
        self._ends.check()

    def _read(self, choice: _Choice) -> CompletionDelta | None:
        reason = read_finish(choice.finish_reason)
        self._ends.see(choice.index or 0, reason)
        delta = CompletionDelta(
            index=choice.index or 0,
            text=choice.text or "",
            finish_reason=reason,
            logprobs=_read_logprobs(choice.logprobs),
        )
        return delta if delta.speaks or delta.logprobs else None


def _write_logprobs(tokens: tuple[TokenLogprob, ...], offset: int) -> _Logprobs | None:
    """The four parallel lists; ``offset`` is where the first token begins."""
    if not tokens:
        return None
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.token)
    return _Logprobs(
        tokens=[token.token for token in tokens],
        token_logprobs=[finite(token.logprob) for token in tokens],
        top_logprobs=[
            {top.token: finite(top.logprob) for top in token.top_logprobs} for token in tokens
        ]
        if any(token.top_logprobs for token in tokens)
        else None,
        text_offset=offsets,
    )


def _read_logprobs(wire: _Logprobs | None) -> tuple[TokenLogprob, ...]:
    if wire is None or not wire.tokens:
        return ()
    tokens = wire.tokens
    chances = [*(wire.token_logprobs or ()), *[None] * len(tokens)]
    tops = [*(wire.top_logprobs or ()), *[None] * len(tokens)]
    return tuple(
        TokenLogprob(
            token,
            # Of the first token of an echoed prompt nothing is known.
            chance or 0.0,
            None,
            tuple(TokenLogprob(text, value or 0.0) for text, value in (top or {}).items()),
        )
        for token, chance, top in zip(tokens, chances, tops, strict=False)
    )
