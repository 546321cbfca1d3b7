"""Chat completions: the answer, whole and streamed, and what a request may hold."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from .calls import Caller, shaped
from .case import Case, expect
from .declared import Declared
from .samples import ASKED, CALLED, NAMED, SCHEMA, TOOL, asking, picture, sound
from .shapes import Chat, Chunk, Message, events, fold, json_object

_PATH = "/chat/completions"
_TOKENS = 8
#: Enough for a small model to fill in the tool's one argument.
_MANY = 64


def cases(caller: Caller, declared: Declared) -> Iterator[Case]:
    """What must hold of a deployment that chats."""
    plain = (
        ("a whole answer has its exact shape", _whole),
        ("a stream is data lines, line feeds and [DONE], nothing else", _spelled),
        ("the chunks of a stream have their exact shape", _chunks),
        ("a whole answer is what its stream folds to", _folded),
        ("max_tokens bounds completion_tokens", _bounded),
        ("texts in other scripts come back unharmed", _scripts),
        ("a client that leaves a stream leaves a healthy server", _left),
        ("a client that leaves before the answer leaves a healthy server", _left_early),
    )
    for name, run in plain:
        yield Case(area="chat", name=name, run=partial(run, caller, declared))
    yield from _roles(caller, declared)
    yield from _senses(caller, declared)
    yield from _formats(caller, declared)
    yield from _tools(caller, declared)
    yield from _reasoning(caller, declared)
    yield _context(caller, declared)


async def ask(caller: Caller, declared: Declared, **fields: Any) -> Chat:
    """The answer to the suite's question."""
    body = declared.body({**asking("chat_completions"), **fields})
    return (await caller.call(_PATH, body)).read(Chat)


async def streamed(
    caller: Caller, declared: Declared, path: str = _PATH, **fields: Any
) -> list[Chunk]:
    body = declared.body({**asking("chat_completions"), **fields, "stream": True})
    got = await caller.call(path, body)
    expect(got.status == 200, f"200 was due and came {got.told}")
    media = got.headers.get("content-type", "").partition(";")[0]
    expect(media == "text/event-stream", f"the stream's content-type is {media!r}")
    return [shaped(data, Chunk) for data in events(got.body)]


async def _whole(caller: Caller, declared: Declared) -> None:
    chat = await ask(caller, declared)
    choice = chat.choices[0]
    expect(len(chat.choices) == 1, f"{len(chat.choices)} choices came unasked")
    expect(choice.index == 0, f"the first choice has the index {choice.index}")
    expect(choice.message.content, "the answer is empty")
    expect(not choice.message.tool_calls, "tools were called that nobody gave")
    expect(chat.usage.prompt_tokens and chat.usage.completion_tokens, f"it counted {chat.usage}")


async def _spelled(caller: Caller, declared: Declared) -> None:
    expect(len(await streamed(caller, declared)) > 1, "the stream is one chunk")


async def _chunks(caller: Caller, declared: Declared) -> None:
    chunks = await streamed(caller, declared)
    first, last = chunks[0], chunks[-1]
    for chunk in chunks:
        same = (chunk.id, chunk.model, chunk.created) == (first.id, first.model, first.created)
        expect(same, "id, model and created change within a stream")
        # Samples of the official client take choices[0] of every chunk.
        expect(chunk.choices, "a chunk came without choices, unasked")
    roles = [place for place, chunk in enumerate(chunks) if _role(chunk)]
    expect(roles == [0], f"the role is in the chunks {roles}, not in the first alone")
    for chunk in chunks:
        delta = chunk.choices[0].delta
        expect(delta.tool_calls or isinstance(delta.content, str), "a delta's content is no text")
    expect(last.choices[0].finish_reason, "the last chunk has no finish reason")
    expect(last.usage is not None, "the last chunk has no usage")
    expect(not any(chunk.usage for chunk in chunks[:-1]), "usage comes before the last chunk")


def _role(chunk: Chunk) -> bool:
    return any(choice.delta.role == "assistant" for choice in chunk.choices)


async def _folded(caller: Caller, declared: Declared) -> None:
    whole = await ask(caller, declared, **declared.steady())
    chunks = await streamed(caller, declared, **declared.steady())
    folded, usage = fold(chunks), chunks[-1].usage
    choice = whole.choices[0]
    expect(folded.text, "the stream says nothing")
    expect(usage is not None and usage.prompt_tokens == whole.usage.prompt_tokens, f"{usage}")
    if declared.exact:
        same = (folded.text, folded.finish_reason) == (choice.message.content, choice.finish_reason)
        expect(same, f"{folded} isn't {choice}")
        expect(usage == whole.usage, f"{usage} isn't {whole.usage}")


async def _bounded(caller: Caller, declared: Declared) -> None:
    chat = await ask(caller, declared, max_tokens=2)
    told = chat.usage.completion_tokens
    expect(told <= 2, f"{told} tokens came where max_tokens is 2")


async def _scripts(caller: Caller, declared: Declared) -> None:
    text = "Grüße, 世界 🌍, שלום, \u0000, \U0001f468‍\U0001f469"
    chat = await ask(caller, declared, messages=[{"role": "user", "content": text}])
    if declared.exact:
        expect(isinstance(chat.said.content, str), "there is no answer")


async def _left(caller: Caller, declared: Declared) -> None:
    body = declared.body({**asking("chat_completions"), "max_tokens": _MANY, "stream": True})
    for _ in range(3):
        async with caller.leaving(_PATH, body) as pieces:
            async for _piece in pieces:
                break
    await ask(caller, declared)


async def _left_early(caller: Caller, declared: Declared) -> None:
    for after_s in (0.0, 0.002, 0.02):
        await caller.abandon(_PATH, declared.body(asking("chat_completions")), after_s)
    await ask(caller, declared)


# -- What a request may hold ----------------------------------------------------------------


_SAYING: dict[str, list[dict[str, object]]] = {
    "system": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASKED}],
    "developer": [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": ASKED},
    ],
    "assistant": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": ASKED},
    ],
    "tool": [
        {"role": "user", "content": "What is the weather?"},
        {"role": "assistant", "content": None, "tool_calls": [CALLED]},
        {"role": "tool", "tool_call_id": "call_1", "content": "7 degrees"},
    ],
}


def _roles(caller: Caller, declared: Declared) -> Iterator[Case]:
    for role, messages in _SAYING.items():
        able = None if declared.can.roles is None else role in declared.can.roles
        if role in {"system", "developer"}:  # it may go on inside another message
            able = able or None
        yield Case(
            area="chat",
            name=f"messages of the role {role}",
            run=partial(_holds, caller, declared, messages, able=able),
        )
    parts = [{"type": "text", "text": "Say:"}, {"type": "text", "text": "one two"}]
    messages = [{"role": "user", "content": parts}]
    yield Case(
        area="chat",
        name="content in parts of text",
        run=partial(_holds, caller, declared, messages, able=True),
    )


def _senses(caller: Caller, declared: Declared) -> Iterator[Case]:
    media = {
        "image": {"type": "image_url", "image_url": {"url": picture(), "detail": "low"}},
        "audio": {"type": "input_audio", "input_audio": {"data": sound(), "format": "wav"}},
    }
    for sense, part in media.items():
        known = declared.can.modalities
        able = None if known is None else sense in known
        messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]
        yield Case(
            area="chat",
            name=f"{sense} content is taken, or refused by its place",
            run=partial(_holds, caller, declared, messages, able=able),
        )


async def _holds(
    caller: Caller, declared: Declared, messages: list[Any], *, able: bool | None
) -> None:
    """They are answered where the deployment is able to, else refused by name."""
    body = declared.body({**asking("chat_completions"), "messages": messages})
    got = await caller.call(_PATH, body)
    if able is True or (able is None and got.status == 200):
        got.read(Chat)
        return
    error = got.error(422, 400) if able is None else got.error(422)
    expect(error.names("messages"), f"the error doesn't name messages: {error}")


def _formats(caller: Caller, declared: Declared) -> Iterator[Case]:
    for kind in ("json_object", "json_schema"):
        formats = declared.can.response_formats
        able = None if formats is None else kind in formats
        if declared.honours("response_format") is False:
            able = False
        yield Case(
            area="chat",
            name=f"the response format {kind}",
            run=partial(_format, caller, declared, kind, able=able),
        )


async def _format(caller: Caller, declared: Declared, kind: str, *, able: bool | None) -> None:
    wanted = SCHEMA if kind == "json_schema" else {"type": kind}
    asked = asking("chat_completions", 'Answer in JSON: {"unit": "c"}')
    settings = declared.steady(response_format=wanted, max_tokens=_MANY)
    body = declared.body({**asked, **settings})
    got = await caller.call(_PATH, body)
    if able is False or (able is None and got.status != 200):
        error = got.error(422, 400) if able is None else got.error(422)
        expect(error.names("response_format"), f"the error doesn't name response_format: {error}")
        return
    choice = got.read(Chat).choices[0]
    if choice.finish_reason == "stop":
        # Reasoning stands before the answer here.
        said = json_object((choice.message.content or "").rpartition("</think>")[2])
        expect(kind == "json_object" or said.get("unit") in {"c", "f"}, f"{said} isn't the schema")


def _tools(caller: Caller, declared: Declared) -> Iterator[Case]:
    able = declared.honours("tools")
    if able and declared.honours("tool_choice") is False:
        able = False
    if able is not False:
        for name, run in (
            ("a tool that is named is called", _called),
            ("a tool call in a stream: id and name once, an index on every piece", _pieces_called),
            ("tool_choice none calls no tool", _uncalled),
        ):
            yield Case(area="chat", name=name, run=partial(run, caller, declared, able=able))
    yield Case(
        area="chat",
        name="a required tool is called, or tools are refused by name",
        run=partial(_required, caller, declared, able=able),
    )


async def _tool_answer(
    caller: Caller, declared: Declared, *, able: bool | None, **fields: Any
) -> Chat | None:
    """``None``: they were refused by name, and that is right."""
    fields = declared.steady(tools=[TOOL], max_tokens=_MANY, **fields)
    got = await caller.call(_PATH, declared.body({**asking("chat_completions"), **fields}))
    if able is True or (able is None and got.status == 200):
        return got.read(Chat)
    error = got.error(422, 400) if able is None else got.error(422)
    expect(error.names("tool"), f"the error doesn't name the tools: {error}")
    return None


def _check_call(message: Message) -> None:
    calls = message.tool_calls or ()
    expect(len(calls) >= 1, "no tool was called")
    expect(calls[0].function.name == "get_weather", f"{calls[0].function.name!r} was called")
    expect("unit" in json_object(calls[0].function.arguments), "the argument is missing")


async def _called(caller: Caller, declared: Declared, *, able: bool | None) -> None:
    chat = await _tool_answer(caller, declared, able=able, tool_choice=NAMED)
    if chat is not None:
        # Azure OpenAI says stop where a choice was named.
        reason = chat.choices[0].finish_reason
        expect(reason in {"tool_calls", "stop"}, f"the finish reason is {reason!r}")
        _check_call(chat.said)


async def _required(caller: Caller, declared: Declared, *, able: bool | None) -> None:
    chat = await _tool_answer(caller, declared, able=able, tool_choice="required")
    if chat is not None:
        expect(chat.choices[0].finish_reason in {"tool_calls", "stop"}, "a wrong finish reason")
        _check_call(chat.said)


async def _uncalled(caller: Caller, declared: Declared, *, able: bool | None) -> None:
    chat = await _tool_answer(caller, declared, able=able, tool_choice="none")
    if chat is not None:
        expect(not chat.said.tool_calls, "a tool was called")


async def _pieces_called(caller: Caller, declared: Declared, *, able: bool | None) -> None:
    if await _tool_answer(caller, declared, able=able, tool_choice=NAMED) is None:
        return
    chunks = await streamed(
        caller, declared, **declared.steady(tools=[TOOL], tool_choice=NAMED, max_tokens=_MANY)
    )
    folded = fold(chunks)
    expect(folded.calls, "no tool was called")
    expect("unit" in json_object(folded.calls[0].function.arguments), "the argument is missing")


# -- Reasoning, context ---------------------------------------------------------------------


def _reasoning(caller: Caller, declared: Declared) -> Iterator[Case]:
    skipped = "" if declared.can.reasoning else "it doesn't declare that it reasons"
    for version, name in (
        ("2024-05-01-preview", "reasoning is in <think> before api-version 2025-04-01"),
        ("2025-05-01", "reasoning is reasoning_content since api-version 2025-04-01"),
    ):
        run = partial(_thinks, caller, declared, version)
        yield Case(area="chat", name=name, run=run, skipped=skipped)


async def _thinks(caller: Caller, declared: Declared, version: str) -> None:
    path = f"{_PATH}?api-version={version}"
    fields = {**asking("chat_completions"), "max_tokens": 256}
    said = (await caller.call(path, declared.body(fields))).read(Chat).said
    folded = fold(await streamed(caller, declared, path, max_tokens=256))
    if version < "2025-04-01":
        for text in (said.content or "", folded.text):
            expect(text.startswith("<think>") and "</think>" in text, f"{text[:60]!r}")
        expect(not said.reasoning_content and not folded.reasoning, "reasoning_content came too")
    else:
        expect(said.reasoning_content and folded.reasoning, "there is no reasoning_content")
        expect("<think>" not in (said.content or "") + folded.text, "<think> is in the content")


def _context(caller: Caller, declared: Declared) -> Case:
    length = declared.can.context_length
    run = partial(_too_long, caller, declared, length or 0)
    skipped = "" if length and length <= 32768 else "it declares no context length up to 32,768"
    return Case(
        area="chat", name="a prompt longer than the context is 400", run=run, skipped=skipped
    )


async def _too_long(caller: Caller, declared: Declared, length: int) -> None:
    messages = [{"role": "user", "content": "word " * (length + 50)}]
    got = await caller.call(_PATH, declared.body({"messages": messages, "max_tokens": _TOKENS}))
    got.error(400)
