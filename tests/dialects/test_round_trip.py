"""What a dialect writes it reads back as it was: ``read(write(x)) == x``."""

from dataclasses import dataclass
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from interlingua.dialects.base import Reply, Target
from interlingua.dialects.json_wire import JsonWire
from interlingua.http import HttpCall
from interlingua.sse import Decoder
from interlingua.types import chat
from interlingua.types.chat_fold import ChatFold, CompletionFold
from interlingua.types.completions import (
    Completion,
    CompletionChoice,
    CompletionDelta,
    CompletionRequest,
)
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest, ImageInput
from interlingua.types.usage import Usage

from .wires import AZURE, BOTH, OPENAI, REPLY_2025

TEXT = st.text(max_size=6)
NAME = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
BOOL = st.none() | st.booleans()
PENALTY = st.none() | st.floats(-2, 2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
#: Names that no dialect knows.
EXTRA = st.dictionaries(TEXT.map(lambda name: "x-" + name), JSON, max_size=3)


def tuples(values: st.SearchStrategy[Any], *, least: int = 0) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, min_size=least, max_size=3).map(tuple)


PARTS = st.one_of(
    st.builds(chat.TextPart, TEXT),
    st.builds(chat.ImagePart, TEXT, st.sampled_from([None, "auto", "low", "high"])),
    st.builds(chat.AudioPart, data=TEXT, format=st.none() | TEXT),
    st.builds(chat.AudioPart, url=TEXT),
)
CONTENT = TEXT | tuples(PARTS, least=1)
CALLS = tuples(st.builds(chat.ToolCall, id=TEXT, name=TEXT, arguments=TEXT))
MESSAGES = st.one_of(
    st.builds(chat.SystemMessage, CONTENT),
    st.builds(chat.DeveloperMessage, CONTENT),
    st.builds(chat.UserMessage, CONTENT, st.none() | TEXT),
    st.builds(
        chat.AssistantMessage,
        st.none() | CONTENT,
        CALLS,
        st.none() | TEXT,
        st.none() | TEXT,
    ),
    st.builds(chat.ToolMessage, st.none() | CONTENT, st.none() | TEXT),
)
TOOLS = tuples(
    st.builds(
        chat.Tool,
        name=NAME,
        description=st.none() | TEXT,
        parameters=st.none() | OBJECT,
        strict=BOOL,
    )
)
FORMATS = st.one_of(
    st.none(),
    st.builds(chat.TextFormat),
    st.builds(chat.JsonObjectFormat),
    st.builds(
        chat.JsonSchemaFormat,
        name=NAME,
        schema=st.none() | OBJECT,
        description=st.none() | TEXT,
        strict=BOOL,
    ),
)
SAMPLING: dict[str, st.SearchStrategy[Any]] = {
    "model": st.none() | TEXT,
    "frequency_penalty": PENALTY,
    "presence_penalty": PENALTY,
    "temperature": st.none() | st.floats(0, 2),
    "top_p": st.none() | st.floats(0, 1),
    "max_tokens": st.just(UNSET) | st.none() | st.integers(0, 2**31 - 1),
    "stop": tuples(st.text(min_size=1, max_size=3)),
    "seed": st.none() | st.integers(-(2**63), 2**63 - 1),
    "stream": st.booleans(),
    "extra": EXTRA,
}
OPENAI_SAMPLING: dict[str, st.SearchStrategy[Any]] = {
    **SAMPLING,
    "n": st.none() | st.integers(1, 128),
    "logit_bias": st.none() | st.dictionaries(TEXT, st.floats(-100, 100), max_size=3),
    "include_usage": BOOL,
}
CHAT: dict[str, st.SearchStrategy[Any]] = {
    "messages": tuples(MESSAGES, least=1),
    "response_format": FORMATS,
    "modalities": st.sampled_from([None, ("text",), ("text", "audio")]),
    "user_security_context": st.none() | OBJECT,
}
OPENAI_CHAT: dict[str, st.SearchStrategy[Any]] = {
    "logprobs": st.just(True),
    "top_logprobs": st.none() | st.integers(0, 20),
    "parallel_tool_calls": BOOL,
    "reasoning_effort": st.none() | TEXT,
    "audio": st.none() | OBJECT,
}
PROMPTS = tuples(st.text(min_size=1, max_size=5), least=1) | tuples(
    tuples(st.integers(0, 99), least=1), least=1
)


@st.composite
def chat_requests(draw: st.DrawFn, kinds: dict[str, st.SearchStrategy[Any]]) -> chat.ChatRequest:
    fields = {name: draw(kind) for name, kind in kinds.items()}
    fields["tools"] = draw(TOOLS)
    choices: list[Any] = [None, "auto", "none"]
    if fields["tools"]:
        choices += ["required", chat.NamedTool(fields["tools"][0].name)]
    fields["tool_choice"] = draw(st.sampled_from(choices))
    return chat.ChatRequest(**fields)


def there_and_back(dialect: JsonWire, operation: str, request: Any) -> Any:
    """What a server reads of the call that a client makes of the request."""
    sent: HttpCall = getattr(dialect, f"write_{operation}_call")(request, Target())
    policy = sent.headers.get("extra-parameters")
    assert policy == ("pass-through" if request.extra and dialect is AZURE else None)
    return getattr(dialect, f"read_{operation}")(sent)


@given(chat_requests({**SAMPLING, **CHAT}))
def test_azure_chat_requests(request: chat.ChatRequest) -> None:
    assert there_and_back(AZURE, "chat", request) == request


@given(chat_requests({**OPENAI_SAMPLING, **CHAT, **OPENAI_CHAT}))
def test_openai_chat_requests(request: chat.ChatRequest) -> None:
    assert there_and_back(OPENAI, "chat", request) == request


@given(st.builds(CompletionRequest, **SAMPLING, prompts=PROMPTS))
def test_azure_completion_requests(request: CompletionRequest) -> None:
    assert there_and_back(AZURE, "completion", request) == request


@given(
    st.builds(
        CompletionRequest,
        **OPENAI_SAMPLING,
        prompts=PROMPTS,
        echo=BOOL,
        suffix=st.none() | TEXT,
        best_of=st.none() | st.integers(1, 128),
        logprobs=st.none() | st.integers(0, 5),
    )
)
def test_openai_completion_requests(request: CompletionRequest) -> None:
    assert there_and_back(OPENAI, "completion", request) == request


OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.none() | TEXT,
    "dimensions": st.none() | st.integers(1, 65536),
    "encoding_format": st.sampled_from([None, "float", "base64", "int8", "ubinary"]),
    "input_type": st.sampled_from([None, "text", "query", "document"]),
    "extra": EXTRA,
}
IMAGES = st.builds(ImageInput, image=st.text(min_size=1), text=st.none() | TEXT)


@given(st.builds(EmbeddingsRequest, **OPTIONS, inputs=PROMPTS), st.sampled_from(BOTH))
def test_embeddings_requests(request: EmbeddingsRequest, dialect: JsonWire) -> None:
    assert there_and_back(dialect, "embeddings", request) == request


@given(
    st.builds(ImageEmbeddingsRequest, **OPTIONS, inputs=tuples(IMAGES, least=1)),
    st.sampled_from(BOTH),
)
def test_image_embeddings_requests(request: ImageEmbeddingsRequest, dialect: JsonWire) -> None:
    assert there_and_back(dialect, "image_embeddings", request) == request


def test_a_calls_address_is_the_targets() -> None:
    target = Target(
        base_path="/models", model="m", api_version="v", headers={"api-key": "k", "accept": "x"}
    )
    request = chat.ChatRequest(messages=(chat.UserMessage("x"),), model="other", top_k=3)
    for dialect in BOTH:
        call = dialect.write_chat_call(request, target)
        assert (call.method, call.path) == ("POST", "/models/chat/completions")
        assert call.query == {"api-version": "v"}
        assert (call.headers["api-key"], call.headers["accept"]) == ("k", "x")
        body = msgspec.json.decode(call.body)
        assert (body["model"], body["top_k"]) == ("m", 3)
        assert ("extra-parameters" in call.headers) == (dialect is AZURE)
    info = AZURE.write_info_call(target)
    assert (info.method, info.path, info.query["model"]) == ("GET", "/models/info", "m")
    for operation, request_ in (
        ("embeddings", EmbeddingsRequest(inputs=("x",))),
        ("image_embeddings", ImageEmbeddingsRequest(inputs=(ImageInput(image="x"),))),
        ("completion", CompletionRequest(prompts=("x",))),
    ):
        sent = getattr(AZURE, f"write_{operation}_call")(request_, target)
        assert msgspec.json.decode(sent.body)["model"] == "m"


LOGPROB = st.floats(-9000, 0)
TOKENS = tuples(
    st.builds(
        chat.TokenLogprob,
        TEXT,
        LOGPROB,
        st.none() | tuples(st.integers(0, 255)),
        tuples(st.builds(chat.TokenLogprob, TEXT, LOGPROB)),
    )
)
REASONS = st.sampled_from(["stop", "length", "content_filter", "tool_calls"])
COUNT = st.integers(0, 2**31)
USAGE = st.builds(Usage, COUNT, COUNT, st.none() | COUNT, st.none() | COUNT)


@dataclass
class Story:
    """The deltas of one answer, all choices mixed, each ended once, usage at the end."""

    deltas: list[Any]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    choices = draw(st.integers(1, 3))
    deltas: list[Any] = []
    calls: dict[tuple[int, int], int] = {}
    for _ in range(draw(st.integers(0, 8))):
        index = draw(st.integers(0, choices - 1))
        # The numbers of a choice's calls follow each other.
        known = len([place for place in calls if place[0] == index])
        call = draw(st.integers(0, known))
        first = (index, call) not in calls
        calls_made: tuple[chat.ToolCallDelta, ...] = ()
        if draw(st.booleans()):
            calls[index, call] = 1
            calls_made = (
                chat.ToolCallDelta(
                    index=call,
                    id=f"call_{index}_{call}" if first else None,
                    name=draw(NAME) if first else None,
                    arguments=draw(TEXT),
                ),
            )
        deltas.append(
            chat.ChatDelta(
                index=index,
                text=draw(TEXT),
                reasoning=draw(st.just("") | TEXT),
                refusal=draw(st.just("") | TEXT),
                tool_calls=calls_made,
                logprobs=draw(st.just(()) | TOKENS),
            )
        )
    deltas += [chat.ChatDelta(index=i, finish_reason=draw(REASONS)) for i in range(choices)]
    deltas.append(chat.ChatDelta(usage=draw(USAGE)))
    return Story(deltas)


def folded(fold: Any, deltas: list[Any]) -> Any:
    for delta in deltas:
        fold.add(delta)
    return fold.done()


def through(writer: Any, reader: Any, deltas: list[Any]) -> list[Any]:
    stream = b"".join(writer.write(delta) for delta in deltas) + writer.finish()
    read = [delta for data in Decoder().feed(stream) for delta in reader.read(data)]
    reader.finish()
    return read


ASKED = chat.ChatRequest(messages=(chat.UserMessage("x"),), stream=True, include_usage=True)


@given(stories(), st.sampled_from(BOTH))
def test_a_streamed_chat_tells_the_same_story(story: Story, dialect: JsonWire) -> None:
    writer = dialect.chat_writer(ASKED, REPLY_2025)
    read = through(writer, dialect.chat_reader(), story.deltas)
    assert folded(ChatFold(), read) == folded(ChatFold(), story.deltas)


@given(stories(), st.sampled_from(BOTH))
def test_a_whole_chat_is_read_as_it_was(story: Story, dialect: JsonWire) -> None:
    completion = folded(ChatFold(), story.deltas)
    assert dialect.read_chat(dialect.write_chat(completion, REPLY_2025)) == completion


@given(stories())
def test_thinking_inside_the_content_is_the_same_streamed_and_whole(story: Story) -> None:
    old = Reply(id=REPLY_2025.id, created=1, model="m")
    # One thought before the text: a whole reply has room for no more.
    thoughts = [delta for delta in story.deltas if delta.reasoning and delta.index == 0][:1]
    plain = [msgspec.structs.replace(delta, reasoning="") for delta in story.deltas]
    deltas = [chat.ChatDelta(reasoning=delta.reasoning) for delta in thoughts] + plain
    read = through(AZURE.chat_writer(ASKED, old), AZURE.chat_reader(), deltas)
    whole = AZURE.read_chat(AZURE.write_chat(folded(ChatFold(), deltas), old))
    assert folded(ChatFold(), read) == whole


PLAIN_TOKENS = tuples(
    st.builds(
        chat.TokenLogprob,
        TEXT,
        LOGPROB,
        st.none(),
        # Here they are the keys of an object.
        st.lists(
            st.builds(chat.TokenLogprob, TEXT, LOGPROB),
            max_size=3,
            unique_by=lambda token: token.token,
        ).map(tuple),
    )
)


@st.composite
def text_stories(draw: st.DrawFn) -> list[CompletionDelta]:
    choices = draw(st.integers(1, 3))
    piece = st.builds(
        CompletionDelta,
        index=st.integers(0, choices - 1),
        text=TEXT,
        logprobs=st.just(()) | PLAIN_TOKENS,
    )
    return [
        *draw(st.lists(piece, max_size=6)),
        *[CompletionDelta(index=i, finish_reason=draw(REASONS)) for i in range(choices)],
        CompletionDelta(usage=draw(USAGE)),
    ]


@given(text_stories(), st.sampled_from(BOTH))
def test_text_completions_are_read_as_they_were(
    deltas: list[CompletionDelta], dialect: JsonWire
) -> None:
    request = CompletionRequest(prompts=("x",), include_usage=True)
    writer = dialect.completion_writer(request, REPLY_2025)
    whole: Completion = folded(CompletionFold(), deltas)
    read = through(writer, dialect.completion_reader(), deltas)
    assert folded(CompletionFold(), read) == whole
    assert dialect.read_completion(dialect.write_completion(whole, REPLY_2025)) == whole
    assert all(isinstance(choice, CompletionChoice) for choice in whole.choices)
