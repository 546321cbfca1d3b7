"""Chat completions by llama.cpp's server.

Rules of this file:
- Everything is streamed from the engine, one call of it a choice; a unary answer is the
  fold of the same deltas. Closing a generator closes its connection, which cancels.
- A tool call is held back until it is whole; if it is cut, nothing of it is shown.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

import msgspec
from msgspec.structs import replace

from interlingua.errors import Location, UpstreamError
from interlingua.types.chat import (
    ChatDelta,
    ChatRequest,
    FinishReason,
    JsonObjectFormat,
    JsonSchemaFormat,
    TokenLogprob,
    ToolCallDelta,
)
from interlingua.types.usage import Usage

from . import grammar, lark
from . import tools as calls
from .choices import together
from .llamacpp_client import LlamaServer
from .llamacpp_wire import Chunk, Generate, logprobs, sampling, seeded
from .prompting import Prompt, Prompter
from .thinking import CLOSE, OPEN, Thinking
from .tools import ToolUse

_SCHEMA: Location = ("body", "response_format", "json_schema", "schema")


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One chat call, ready for the engine. ``body`` is that of the first phase: the text."""

    request: ChatRequest
    body: Generate
    opened: bool
    tools: ToolUse | None = None
    #: Whether the text has to be JSON.
    json: bool = False


class ChatEngine:
    """Answers chats with one model. ``reasons``: whether it thinks aloud."""

    def __init__(
        self, server: LlamaServer, prompter: Prompter, *, reasons: bool, at_once: int
    ) -> None:
        self._server = server
        self._prompter = prompter
        self._reasons = reasons
        self._at_once = at_once

    async def answer(self, request: ChatRequest) -> AsyncGenerator[ChatDelta]:
        """The deltas of every choice; usage comes with the last of them."""
        plan = await self._plan(request)
        choices = request.n or 1
        if plan.body.n_predict == 0:
            for index in range(choices):
                yield ChatDelta(index=index, finish_reason="length")
            counted = await self._server.count(plan.body.prompt)
            yield ChatDelta(usage=Usage(prompt_tokens=counted))
            return
        sources = [partial(self._choice, plan, index) for index in range(choices)]
        async with aclosing(together(sources, at_once=self._at_once)) as deltas:
            async for delta in deltas:
                yield delta

    async def _plan(self, request: ChatRequest) -> _Plan:
        language = await self._server.language() if _constrains(request) else lark
        use = calls.tool_use(request, language)
        text_grammar = await self._text_grammar(request, language)
        if use is not None:
            await self._check_tools(request, use, language)
        prompt = await self._prompter.prompt(request.messages, use.tools if use else ())
        if text_grammar and prompt.opened:
            closed = await self._prompter.extended(prompt.tokens, "", f"\n{CLOSE}\n\n")
            prompt = Prompt(closed, opened=False)
        body = sampling(request, prompt.tokens, default_max=None)
        preserved: tuple[str, ...] = (OPEN, CLOSE) if self._reasons else ()
        stop = body.stop
        if use is not None:
            preserved += (calls.MARKER,)
            stop += (calls.MARKER,)
            if text_grammar:
                text_grammar = language.or_text(text_grammar, calls.MARKER)
        body = replace(
            body,
            grammar=text_grammar,
            preserved_tokens=preserved,
            stop=stop,
            n_probs=_asked_logprobs(request),
        )
        return _Plan(
            request=request,
            body=body,
            opened=prompt.opened and self._reasons,
            tools=use,
            json=bool(text_grammar),
        )

    async def _text_grammar(self, request: ChatRequest, language: grammar.Language) -> str:
        wanted = request.response_format
        if isinstance(wanted, JsonSchemaFormat) and wanted.schema is not None:
            grammar.check(wanted.schema, _SCHEMA)
            try:
                made = language.document(grammar.closed(wanted.schema))
            except grammar.NotHeld as error:
                raise grammar.refusal(_SCHEMA, str(error)) from error
            if not await self._server.holds(made):
                raise grammar.refusal(_SCHEMA)
            return made
        if isinstance(wanted, JsonObjectFormat | JsonSchemaFormat):
            return language.any_object()
        return ""

    async def _check_tools(
        self, request: ChatRequest, use: ToolUse, language: grammar.Language
    ) -> None:
        """Refuse a function whose parameters the engine can't hold the model to."""
        if await self._server.holds(use.grammar):
            return
        for index, tool in enumerate(request.tools):
            schema = calls.arguments(tool, index)
            if not await self._server.holds(language.document(schema)):
                raise grammar.refusal(calls.place(index))
        raise grammar.refusal(("body", "tools"))

    async def _choice(self, plan: _Plan, index: int) -> AsyncGenerator[ChatDelta]:
        body = seeded(plan.body, plan.request.seed, index)
        voice = Voice(
            index,
            thinking=Thinking(opened=plan.opened) if self._reasons else None,
            remembers=plan.json or plan.tools is not None,
            top_logprobs=(plan.request.top_logprobs or 0) if plan.request.logprobs else None,
        )
        if plan.tools is None or not plan.tools.forced:
            async with aclosing(self._server.generate(body)) as chunks:
                async for chunk in chunks:
                    if delta := voice.say(chunk):
                        yield delta
            if delta := voice.rest():
                yield delta
            if not _calls_a_tool(plan, voice.ends[0]):
                yield voice.end(json=plan.json)
                return
        call = await self._call(plan, body, voice)
        if call is not None:
            yield ChatDelta(index=index, tool_calls=(call,))
        finish: FinishReason = "tool_calls" if call else "length"
        yield ChatDelta(index=index, finish_reason=finish, usage=voice.usage)

    async def _call(self, plan: _Plan, body: Generate, voice: "Voice") -> ToolCallDelta | None:
        """The second phase: after the marker, a call that the grammar holds. ``None``: cut."""
        assert plan.tools
        left = body.n_predict
        if left > 0 and voice.ends:
            left = max(left - voice.ends[0].tokens_predicted, 0)
        if left == 0:
            return None
        then = f"{calls.MARKER}\n"
        if plan.opened and plan.tools.forced:
            then = f"\n{CLOSE}\n\n{then}"
        body = replace(
            body,
            prompt=await self._prompter.extended(body.prompt, voice.said, then),
            n_predict=left,
            grammar=plan.tools.grammar,
            stop=(),
            n_probs=0,
        )
        text = ""
        async with aclosing(self._server.generate(body)) as chunks:
            async for chunk in chunks:
                text += chunk.content
                if chunk.stop:
                    voice.ends.append(chunk)
        call = calls.read_call(text)
        if call is None:
            if voice.ends[-1].finish_reason == "length":
                return None
            raise UpstreamError("The engine's tool call doesn't follow its grammar.")
        return ToolCallDelta(id=call.id, name=call.name, arguments=call.arguments)


class Voice:
    """Turns the engine's events of one choice into deltas.

    ``remembers``: whether the whole text is needed at the end.
    """

    def __init__(
        self,
        index: int,
        *,
        thinking: Thinking | None,
        remembers: bool,
        top_logprobs: int | None,
    ) -> None:
        self._index = index
        self._thinking = thinking
        self._remembers = remembers
        self._top_logprobs = top_logprobs
        self._texts: list[str] = []
        self._thought_tokens: int | None = None
        #: The last events of the engine's calls for this choice.
        self.ends: list[Chunk] = []

    @property
    def said(self) -> str:
        """The text so far, as the model wrote it, where it is remembered."""
        return "".join(self._texts)

    @property
    def usage(self) -> Usage:
        """The counts so far. What a second call of the engine reads again isn't counted."""
        return replace(
            self.ends[0].usage,
            completion_tokens=sum(end.tokens_predicted for end in self.ends),
            reasoning_tokens=self._thought_tokens,
        )

    def say(self, chunk: Chunk) -> ChatDelta | None:
        """What the event says, if anything."""
        text, thought = chunk.content, ""
        if chunk.stop:
            self.ends.append(chunk)
        if self._remembers:
            self._texts.append(text)
        if self._thinking is not None:
            thought, text = self._thinking.feed(text)
            if self._thinking.inside:
                self._thought_tokens = chunk.tokens_predicted
        probabilities: tuple[TokenLogprob, ...] = ()
        if self._top_logprobs is not None:
            probabilities = logprobs(chunk, self._top_logprobs)
        if not (text or thought or probabilities):
            return None
        return ChatDelta(index=self._index, text=text, reasoning=thought, logprobs=probabilities)

    def rest(self) -> ChatDelta | None:
        """What was held back when the engine ended."""
        if self._thinking is None:
            return None
        thought, text = self._thinking.finish()
        if not (text or thought):
            return None
        return ChatDelta(index=self._index, text=text, reasoning=thought)

    def end(self, *, json: bool) -> ChatDelta:
        """The finish reason and the counts.

        Raises:
            UpstreamError: the text had to be JSON, wasn't cut, and isn't.
        """
        last = self.ends[-1]
        if json and last.stop_type == "eos":
            try:
                msgspec.json.decode(self.said)
            except msgspec.DecodeError as error:
                raise UpstreamError("The engine's text doesn't follow its grammar.") from error
        return ChatDelta(index=self._index, finish_reason=last.finish_reason, usage=self.usage)


def _calls_a_tool(plan: _Plan, end: Chunk) -> bool:
    """Whether the text ended with the marker of a call (and not with a stop of the caller's)."""
    return (
        plan.tools is not None
        and end.stopping_word == calls.MARKER
        and calls.MARKER not in plan.request.stop
    )


def _asked_logprobs(request: ChatRequest) -> int:
    return max(request.top_logprobs or 0, 1) if request.logprobs else 0


def _constrains(request: ChatRequest) -> bool:
    """Whether the engine's grammar language matters."""
    return bool(request.tools) or isinstance(
        request.response_format, JsonObjectFormat | JsonSchemaFormat
    )
