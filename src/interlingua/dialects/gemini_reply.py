"""Replies of the Gemini API's ``generateContent``, whole and streamed, and its errors.

A stream's events have the shape of a whole reply, so one reader reads both.

Sources: Gemini API reference, *GenerateContentResponse*, *FinishReason*, *UsageMetadata*;
*Troubleshooting*, for the errors; google.rpc.Status and its details (AIP-193).
"""

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Raw

from interlingua import errors
from interlingua.errors import ApiError, CallerError, Location, UpstreamError
from interlingua.types.chat import (
    ChatCompletion,
    ChatDelta,
    FinishReason,
    TokenLogprob,
    ToolCallDelta,
)
from interlingua.types.chat_fold import ChatFold
from interlingua.types.usage import Usage

from . import error_wire
from .native_wire import failure
from .reply_wire import decode_reply, finite

#: Anything else that ends a candidate is a stop.
_FINISH_REASONS: dict[str, FinishReason] = {
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
}
#: What the model made of the turn is no answer.
_BROKEN = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
    }
)
_KINDS: dict[str, type[ApiError]] = {
    "INVALID_ARGUMENT": CallerError,
    "OUT_OF_RANGE": CallerError,
    # The free tier isn't there in every country: billing must be enabled.
    "FAILED_PRECONDITION": errors.Unauthorized,
    "UNAUTHENTICATED": errors.Unauthorized,
    "PERMISSION_DENIED": errors.Unauthorized,
    "NOT_FOUND": errors.UnknownModel,
    "RESOURCE_EXHAUSTED": errors.RateLimited,
    "INTERNAL": errors.InternalError,
    "UNAVAILABLE": errors.Unavailable,
    "DEADLINE_EXCEEDED": errors.DeadlineExceeded,
}
_BAD_KEY = "API_KEY_INVALID"
_LONGEST_WAIT_S = 3600

#: Our names of the fields that we write, in the spelling of the API's field violations.
_NAMES = {
    "contents": "messages",
    "system_instruction": "messages",
    "tools": "tools",
    "tool_config": "tool_choice",
    "max_output_tokens": "max_tokens",
    "stop_sequences": "stop",
    "candidate_count": "n",
    "response_logprobs": "logprobs",
    "logprobs": "top_logprobs",
    "response_mime_type": "response_format",
    "response_json_schema": "response_format",
    "thinking_config": "reasoning_effort",
}
_OWN = frozenset({"temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty"})


class _FunctionCall(msgspec.Struct, frozen=True):
    name: str = ""
    id: str | None = None
    args: Raw = Raw(b"{}")


class _Part(msgspec.Struct, frozen=True, rename="camel"):
    """Parts of other kinds say nothing; a signature says nothing to our caller."""

    text: str = ""
    thought: bool = False
    function_call: _FunctionCall | None = None


class _Content(msgspec.Struct, frozen=True):
    parts: tuple[_Part, ...] = ()


class _Token(msgspec.Struct, frozen=True, rename="camel"):
    token: str = ""
    log_probability: float | None = None


class _Top(msgspec.Struct, frozen=True):
    candidates: tuple[_Token, ...] = ()


class _Logprobs(msgspec.Struct, frozen=True, rename="camel"):
    chosen_candidates: tuple[_Token, ...] = ()
    top_candidates: tuple[_Top, ...] = ()


class _Candidate(msgspec.Struct, frozen=True, rename="camel"):
    index: int = 0
    content: _Content = _Content()
    finish_reason: str | None = None
    logprobs_result: _Logprobs | None = None


class _Usage(msgspec.Struct, frozen=True, rename="camel"):
    prompt_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None


class _Feedback(msgspec.Struct, frozen=True, rename="camel"):
    block_reason: str | None = None


class _Chunk(msgspec.Struct, frozen=True, rename="camel"):
    candidates: tuple[_Candidate, ...] = ()
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    response_id: str = ""
    error: object = None


_CHUNK = msgspec.json.Decoder(_Chunk)


class ContentReader:
    """Reads one reply, whole or by its events. Not safe to share."""

    def __init__(self) -> None:
        #: How many calls each candidate has made.
        self._calls: dict[int, int] = {}
        self._done: set[int] = set()
        self._told_usage = False

    def read(self, data: bytes) -> tuple[ChatDelta, ...]:
        chunk = decode_reply(_CHUNK, data)
        if chunk.error is not None:
            raise read_stated(chunk.error)
        deltas = [self._candidate(candidate, chunk) for candidate in chunk.candidates]
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
            deltas.append(self._blocked())
        over = self._done and self._done >= self._calls.keys()
        if over and chunk.usage_metadata is not None and not self._told_usage:
            self._told_usage = True
            deltas.append(ChatDelta(usage=_read_usage(chunk.usage_metadata)))
        return tuple(delta for delta in deltas if delta.speaks or delta.logprobs or delta.usage)

    def finish(self) -> None:
        if not self._done or not self._done >= self._calls.keys():
            raise UpstreamError("The reply ended before its finishReason.")

    def _candidate(self, candidate: _Candidate, chunk: _Chunk) -> ChatDelta:
        index = candidate.index
        made = self._calls.setdefault(index, 0)
        parts = candidate.content.parts
        calls = tuple(
            _read_call(part.function_call, made + number, f"{chunk.response_id}/{index}")
            for number, part in enumerate(part for part in parts if part.function_call)
            if part.function_call is not None
        )
        self._calls[index] += len(calls)
        reason = self._reason(candidate.finish_reason, index)
        return ChatDelta(
            index=index,
            text="".join(part.text for part in parts if not part.thought),
            reasoning="".join(part.text for part in parts if part.thought),
            tool_calls=calls,
            finish_reason=reason,
            logprobs=tuple(_read_logprobs(candidate.logprobs_result)),
        )

    def _reason(self, reason: str | None, index: int) -> FinishReason | None:
        if not reason:
            return None
        if reason in _BROKEN:
            raise UpstreamError(f"The provider ended its reply with {reason}.")
        self._done.add(index)
        return _FINISH_REASONS.get(reason, "tool_calls" if self._calls[index] else "stop")

    def _blocked(self) -> ChatDelta:
        """The prompt was; there are no candidates then."""
        self._done.add(0)
        return ChatDelta(finish_reason="content_filter")


def read_content(body: bytes) -> ChatCompletion:
    """A whole answer.

    Raises:
        ApiError: the reply is an error.
        UpstreamError: it makes no sense.
    """
    reader, fold = ContentReader(), ChatFold()
    for delta in reader.read(body):
        fold.add(delta)
    reader.finish()
    return fold.done()


def _read_call(call: _FunctionCall, place: int, reply: str) -> ToolCallDelta:
    """A whole call. Older models give it no id: then it is made of what the reply says."""
    arguments = bytes(call.args).decode(errors="replace")
    made = sha256(f"{reply}/{place}/{call.name}/{arguments}".encode()).hexdigest()
    return ToolCallDelta(
        index=place, id=call.id or f"call_{made[:24]}", name=call.name, arguments=arguments
    )


def _read_logprobs(result: _Logprobs | None) -> Iterator[TokenLogprob]:
    if result is None:
        return
    for place, token in enumerate(result.chosen_candidates):
        tops = result.top_candidates[place].candidates if place < len(result.top_candidates) else ()
        yield TokenLogprob(
            token.token,
            _logprob(token),
            None,
            tuple(TokenLogprob(t.token, _logprob(t)) for t in tops),
        )


def _logprob(token: _Token) -> float:
    # The wire leaves zeros out.
    return finite(token.log_probability or 0.0)


def _read_usage(usage: _Usage) -> Usage:
    """Thoughts are not among the candidates' tokens, and are the completion's here."""
    return Usage(
        prompt_tokens=usage.prompt_token_count + usage.tool_use_prompt_token_count,
        completion_tokens=usage.candidates_token_count + (usage.thoughts_token_count or 0),
        cached_tokens=usage.cached_content_token_count,
        reasoning_tokens=usage.thoughts_token_count,
    )


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error that a reply states. Never raises."""
    try:
        payload: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        payload = None
    if isinstance(payload, list) and payload:
        # So a stream that isn't one of events states it.
        payload = payload[0]
    error = payload.get("error") if isinstance(payload, dict) else None
    return _typed(error) or error_wire.read_error(status, headers, body)


def read_stated(error: object) -> ApiError:
    """The error inside a stream, or in a reply with status 200."""
    return _typed(error) or error_wire.read_stated(error)


def _typed(error: object) -> ApiError | None:
    if not isinstance(error, dict):
        return None
    kind = _KINDS.get(str(error.get("status")))
    if kind is None:
        return None
    details = error.get("details")
    entries = [e for e in details if isinstance(e, dict)] if isinstance(details, list) else []
    if any(entry.get("reason") == _BAD_KEY for entry in entries):
        kind = errors.Unauthorized
    message = str(error.get("message") or "The provider gave no reason.")
    return failure(kind, message, _place(entries), _wait_s(entries))


def _place(entries: list[dict[str, Any]]) -> Location:
    """The first parameter of ours in google.rpc.BadRequest's field violations."""
    for entry in entries:
        violations = entry.get("fieldViolations")
        for violation in violations if isinstance(violations, list) else ():
            field = violation.get("field") if isinstance(violation, dict) else None
            for step in re.findall(r"\w+", field) if isinstance(field, str) else ():
                name = _NAMES.get(step) or (step if step in _OWN else None)
                if name is not None:
                    return ("body", name)
    return ()


def _wait_s(entries: list[dict[str, Any]]) -> int:
    """What google.rpc.RetryInfo says, as in ``"34.07s"``, in whole seconds."""
    for entry in entries:
        delay = entry.get("retryDelay")
        found = re.fullmatch(r"(\d{1,9})(\.\d{1,9})?s", delay) if isinstance(delay, str) else None
        if found is not None:
            return max(1, min(_LONGEST_WAIT_S, int(found[1]) + bool(found[2])))
    return 1
