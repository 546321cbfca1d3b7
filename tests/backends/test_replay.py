"""What was recorded is answered again, and nothing else."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from interlingua import errors
from interlingua.backends.base import CallContext
from interlingua.backends.echo import EchoBackend
from interlingua.backends.exchanges import Served, ServerLine, canonical, failure, key
from interlingua.backends.recording import Recorder, Recording
from interlingua.backends.replay import Exchanges, Replay
from interlingua.errors import (
    ApiError,
    ConfigError,
    ExtraForbidden,
    InvalidPolicy,
    NotRecorded,
    RateLimited,
    Unavailable,
    UnknownParameters,
    UpstreamError,
)
from interlingua.types.chat import (
    AssistantMessage,
    ChatDelta,
    ChatRequest,
    ImagePart,
    SystemMessage,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolMessage,
    UserMessage,
)
from interlingua.types.completions import CompletionRequest
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest, ImageInput
from interlingua.types.usage import Usage

CALL = CallContext(id="0" * 32)
SECRET = "canary/0123456789"
pytestmark = pytest.mark.anyio


def served(backend: EchoBackend, *, forwards_model: bool = False) -> Served:
    return Served(
        name="echo",
        settings={"aliases": ["other"]},
        info=backend.info,
        capabilities=backend.capabilities,
        forwards_model=forwards_model,
    )


START = ServerLine(version="1", extra_parameters="error", model_type="service", max_body_bytes=1024)


class Scripted(EchoBackend):
    """Answers with the next of these lists of deltas, then raises what stands among them."""

    def __init__(self, *answers: list[ChatDelta | Exception]) -> None:
        super().__init__()
        self.answers = list(answers)

    async def chat(  # type: ignore[explicit-override]  # typing.override comes with 3.12
        self, request: ChatRequest, call: CallContext
    ) -> AsyncGenerator[ChatDelta]:
        del request, call
        for each in self.answers.pop(0):
            if isinstance(each, Exception):
                raise each
            yield each


class Tape:
    """Records what a backend says, then replays it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.exchanges: Exchanges | None = None

    def recording(self, backend: EchoBackend, *, forwards_model: bool = False) -> Recording:
        self.recorder = Recorder(self.path, [SECRET])
        self.recorder.add(START)
        return Recording(backend, served(backend, forwards_model=forwards_model), self.recorder)

    def replay(self, timing: str = "instant") -> Replay:
        self.recorder.close()
        self.exchanges = Exchanges(self.path)
        return Replay(self.exchanges.served[0], self.exchanges, timing=timing)  # type: ignore[arg-type]  # one of the two


@pytest.fixture
def tape(tmp_path: Path) -> Iterator[Tape]:
    tape = Tape(tmp_path / "exchanges.jsonl")
    yield tape
    if tape.exchanges is not None:
        tape.exchanges.close()


def ask(text: str = "one two", **fields: object) -> ChatRequest:
    return ChatRequest(messages=(UserMessage(text),), **fields)  # type: ignore[arg-type]  # of a request


async def said(backend: Recording | Replay | EchoBackend, request: ChatRequest) -> list[ChatDelta]:
    return [delta async for delta in backend.chat(request, CALL)]


async def test_all_operations_are_answered_as_they_were(tape: Tape) -> None:
    completion = CompletionRequest(prompts=("one two", (1, 2)))
    texts = EmbeddingsRequest(inputs=("a", "b"), dimensions=16)
    images = ImageEmbeddingsRequest(inputs=(ImageInput(image="data:,x", text="t"),))
    recording = tape.recording(EchoBackend())
    await recording.open()
    first = await said(recording, ask())
    continued = [delta async for delta in recording.complete(completion, CALL)]
    vectors = await recording.embed(texts, CALL)
    pictured = await recording.embed_images(images, CALL)
    await recording.close()

    replay = tape.replay()
    await replay.open()
    assert (replay.info, replay.capabilities) == (recording.info, recording.capabilities)
    assert await said(replay, ask()) == first
    assert [delta async for delta in replay.complete(completion, CALL)] == continued
    assert await replay.embed(texts, CALL) == vectors
    assert await replay.embed_images(images, CALL) == pictured
    await replay.close()


async def test_every_field_of_a_delta_comes_back(tape: Tape) -> None:
    logprob = TokenLogprob("é", -0.1, (195, 169), (TokenLogprob("e", -2.5),))
    answer = [
        ChatDelta(reasoning="hm"),
        ChatDelta(index=1, text="é", refusal="no", logprobs=(logprob,)),
        ChatDelta(tool_calls=(ToolCallDelta(index=1, id="c", name="f", arguments="{}"),)),
        ChatDelta(finish_reason="tool_calls", usage=Usage(1, 2, cached_tokens=1)),
    ]
    recording = tape.recording(Scripted(list(answer)))
    await said(recording, ask())
    assert await said(tape.replay(), ask()) == answer


async def test_equal_requests_are_answered_in_order_then_with_the_last_again(tape: Tape) -> None:
    answers = [[ChatDelta(text=str(n), finish_reason="stop")] for n in range(3)]
    recording = tape.recording(Scripted(*answers))  # type: ignore[arg-type]  # lists
    for _ in range(3):
        await said(recording, ask())
    replay = tape.replay()
    texts = [(await said(replay, ask()))[0].text for _ in range(5)]
    assert texts == ["0", "1", "2", "2", "2"]


async def test_what_failed_fails_again_at_the_same_place(tape: Tape) -> None:
    broken = [ChatDelta(text="one"), UpstreamError("It broke off.")]
    limited = [RateLimited("Slowly.", retry_after_s=7)]
    defect = [ZeroDivisionError("what only the log may say")]
    recording = tape.recording(Scripted(broken, limited, defect))
    for kind in (UpstreamError, RateLimited, ZeroDivisionError):
        with pytest.raises(kind):
            await said(recording, ask())
    assert "only the log" not in tape.path.read_text()

    replay = tape.replay()
    broken_again = replay.chat(ask(), CALL)
    assert (await anext(broken_again)).text == "one"
    with pytest.raises(UpstreamError, match="It broke off"):
        await anext(broken_again)
    with pytest.raises(RateLimited, match="Slowly") as slowly:
        await said(replay, ask())
    assert slowly.value.retry_after_s == 7
    with pytest.raises(errors.InternalError):
        await said(replay, ask())


async def test_embeddings_that_failed_fail_again(tape: Tape) -> None:
    texts = EmbeddingsRequest(inputs=("!fail status=503 retry_after=4",))
    images = ImageEmbeddingsRequest(inputs=(ImageInput(text="!fail status=429"),))
    recording = tape.recording(EchoBackend())
    for backend in (recording, tape):
        again = backend.replay() if isinstance(backend, Tape) else backend
        with pytest.raises(Unavailable) as failed:
            await again.embed(texts, CALL)
        assert failed.value.retry_after_s == 4
        with pytest.raises(RateLimited):
            await again.embed_images(images, CALL)


async def test_who_left_is_recorded_as_that(tape: Tape) -> None:
    usage = ChatDelta(finish_reason="stop", usage=Usage(1, 1))
    answers = [[ChatDelta(text="one"), ChatDelta(text="two")], [ChatDelta(text="all"), usage]]
    recording = tape.recording(Scripted(*answers))  # type: ignore[arg-type]  # lists
    early = recording.chat(ask(), CALL)
    await anext(early)
    await early.aclose()
    late = recording.chat(ask(), CALL)
    await anext(late)
    await anext(late)
    await late.aclose()
    endings = [json.loads(line)["ending"] for line in tape.path.read_text().splitlines()[2:]]
    assert endings == ["cancelled", "whole"]

    replay = tape.replay()
    left = replay.chat(ask(), CALL)
    assert (await anext(left)).text == "one"
    with pytest.raises(UpstreamError, match="its caller had left"):
        await anext(left)
    assert len(await said(replay, ask())) == 2


async def test_a_cancelled_call_is_recorded_as_that(tape: Tape) -> None:
    recording = tape.recording(EchoBackend())
    texts = EmbeddingsRequest(inputs=("!fail stall",))
    task = asyncio.create_task(recording.embed(texts, CALL))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    with pytest.raises(UpstreamError, match="its caller had left"):
        await tape.replay().embed(texts, CALL)


KINDS = sorted(
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, ApiError)
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_the_same_again(kind: str) -> None:
    made = {
        "UnknownParameters": lambda: UnknownParameters(("a", "b")),
        "InvalidPolicy": lambda: InvalidPolicy("maybe"),
        "ExtraForbidden": lambda: ExtraForbidden("top_k", 3),
    }
    error: ApiError = made.get(kind, lambda: getattr(errors, kind)("What was wrong."))()
    error.location = ("body", "messages", 0)
    told = failure(error)
    assert told is not None
    again = told.error()
    assert again.staged
    again.staged = error.staged
    assert (type(again), again.args, vars(again)) == (type(error), error.args, vars(error))


def key_of(request: ChatRequest | EmbeddingsRequest, *, forwards_model: bool = False) -> bytes:
    each = served(EchoBackend(), forwards_model=forwards_model)
    return key("echo", "chat_completions", canonical(request, each))


def test_delivery_ids_and_the_order_of_keys_make_no_difference() -> None:
    assert key_of(ask()) == key_of(
        ask(stream=True, include_usage=True, limit_name="max_completion_tokens", model="other")
    )
    schema = {"type": "object", "properties": {}}
    turned = dict(reversed(schema.items()))
    tools = [(Tool(name="f", parameters=each),) for each in (schema, turned)]
    assert key_of(ask(tools=tools[0])) == key_of(ask(tools=tools[1]))
    conversations = [
        ChatRequest(
            messages=(
                UserMessage("Hi"),
                AssistantMessage(None, (ToolCall(id=call, name="f", arguments="{}"),)),
                ToolMessage("1", call),
            )
        )
        for call in ("call_1", "call_2")
    ]
    assert key_of(conversations[0]) == key_of(conversations[1])
    texts = [EmbeddingsRequest(inputs=("a",), encoding_format=e) for e in (None, "base64")]  # type: ignore[arg-type]  # literals
    assert key_of(texts[0]) == key_of(texts[1])


@pytest.mark.parametrize(
    "other",
    [
        ask("one three"),
        ask(temperature=0.0),
        ask(max_tokens=None),
        ask(extra={"a": 1}),
        ChatRequest(messages=(SystemMessage("one two"),)),
    ],
)
def test_what_is_asked_otherwise_is_another_request(other: ChatRequest) -> None:
    assert key_of(ask()) != key_of(other)


def test_the_callers_name_for_the_model_counts_where_it_goes_on() -> None:
    one, two = ask(model="one"), ask(model="two")
    assert key_of(one) == key_of(two)
    assert key_of(one, forwards_model=True) != key_of(two, forwards_model=True)


async def test_no_secret_is_written(tape: Tape) -> None:
    recording = tape.recording(EchoBackend())
    request = ChatRequest(
        messages=(
            SystemMessage((ImagePart("https://host/a.png?sig=abcdefghijkl&size=2"),)),
            SystemMessage("Call it with Bearer abcdefghijkl."),
            UserMessage(f"say {SECRET} canary%2F0123456789"),
        ),
        extra={"api_key": "hidden-by-name", "more": [{"Cookie": "hidden-by-name"}]},
    )
    first = await said(recording, request)
    written = tape.path.read_text()
    for secret in (SECRET, "0123456789", "abcdefghijkl", "hidden-by-name"):
        assert secret not in written
    assert "[secret]&size=2" in written
    assert "".join(delta.text for delta in first).startswith(f"say {SECRET}")


async def test_an_image_is_kept_as_its_digest(tape: Tape) -> None:
    recording = tape.recording(EchoBackend())
    image = ImageInput(image="data:image/png;base64," + "A" * 100_000)
    request = ImageEmbeddingsRequest(inputs=(image,))
    first = await recording.embed_images(request, CALL)
    assert len(tape.path.read_bytes()) < 10_000
    replay = tape.replay()
    assert await replay.embed_images(request, CALL) == first
    other = ImageEmbeddingsRequest(inputs=(ImageInput(image=f"{image.image}B"),))
    with pytest.raises(NotRecorded):
        await replay.embed_images(other, CALL)


async def test_an_unrecorded_request_is_told_what_the_nearest_has_otherwise(tape: Tape) -> None:
    recording = tape.recording(EchoBackend())
    await said(recording, ask("another", temperature=1.0))
    await said(recording, ask("one two", temperature=0.5, stop=("x", "y")))
    replay = tape.replay()
    with pytest.raises(NotRecorded) as told:
        await said(replay, ask("one two", temperature=0.7, stop=("x",), extra={"safe": 1}))
    assert told.value.status == 404
    assert told.value.message == (
        "The recording has no such request to the deployment 'echo'. The nearest, of line 4, "
        "differs in safe (recorded nothing, asked 1), stop (recorded 2 of them, asked 1), "
        "temperature (recorded 0.5, asked 0.7). Record it with `interlingua serve --record`."
    )
    assert told.value.location == ("body", "safe")
    with pytest.raises(NotRecorded, match=r"differs in messages\[0\].content\. Record") as told:
        await said(replay, ask("a secret prompt", temperature=1.0))
    with pytest.raises(NotRecorded, match="no exchange of the operation 'completions'"):
        await anext(replay.complete(CompletionRequest(prompts=("a",)), CALL))


async def test_real_timing_is_the_recorded_one(tape: Tape) -> None:
    recording = tape.recording(EchoBackend())
    slow = ask("!fail delay=0.3\none two")
    await said(recording, slow)
    replay = tape.replay("real")
    loop = asyncio.get_running_loop()
    began = loop.time()
    deltas = replay.chat(slow, CALL)
    await anext(deltas)
    assert loop.time() - began >= 0.3
    assert len([delta async for delta in deltas]) == 2


async def test_a_file_is_continued_and_a_torn_line_of_it_removed(
    tape: Tape, caplog: pytest.LogCaptureFixture
) -> None:
    await said(tape.recording(EchoBackend()), ask("one"))
    tape.recorder.close()
    tape.path.chmod(0o644)
    with tape.path.open("ab") as file:
        file.write(b'{"kind":"exchange","dep')
    await said(tape.recording(EchoBackend()), ask("two"))
    assert "in the middle of a line" in caplog.text
    assert tape.path.stat().st_mode & 0o777 == 0o600
    replay = tape.replay()
    for text in ("one", "two"):
        assert (await said(replay, ask(text)))[0].text == text


def test_no_other_file_is_overwritten(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(ConfigError, match="is no recording"):
        Recorder(notes, [])
    assert notes.read_text() == "mine"
    with pytest.raises(ConfigError, match="can't be written: Is a directory"):
        Recorder(tmp_path, [])


async def test_several_servers_may_write_into_one_file(tape: Tape) -> None:
    first = tape.recording(EchoBackend())
    other = Tape(tape.path)
    second = other.recording(EchoBackend())
    await asyncio.gather(said(first, ask("one")), said(second, ask("two")))
    other.recorder.close()
    replay = tape.replay()
    for text in ("one", "two"):
        assert (await said(replay, ask(text)))[0].text == text


def refusal(path: Path, *lines: str, end: str = "\n") -> str:
    path.write_text("".join(f"{line}\n" for line in lines).removesuffix("\n") + end)
    with pytest.raises(ConfigError) as refused:
        Exchanges(path)
    return str(refused.value)


async def test_what_cannot_be_replayed_is_told_by_its_line(tape: Tape, tmp_path: Path) -> None:
    await said(tape.recording(EchoBackend()), ask())
    tape.recorder.close()
    start, echo, exchange = tape.path.read_text().splitlines()
    path = tmp_path / "other"
    assert "line 2 is no line of a recording" in refusal(path, start, "nonsense", echo, exchange)
    assert "line 2 is no line of a recording" in refusal(path, start, exchange[:-3], exchange)
    torn = refusal(path, start, echo, exchange, exchange[:20], end="")
    assert "line 4 is no line of a recording: it ends in its middle" in torn
    newer = start.replace('"format":1', '"format":2')
    assert "line 2: it has the format 2" in refusal(path, start, newer)
    assert "line 1 is no line" in refusal(path, echo)
    other = exchange.replace('"deployment":"echo"', '"deployment":"gone"')
    assert "line 3 is no line of a recording: no deployment 'gone'" in refusal(
        path, start, echo, other
    )
    failed = exchange.replace('"whole"', '"failed"')
    assert "line 3 is no line" in refusal(path, start, echo, failed)
    path.write_text("")
    with pytest.raises(ConfigError, match="is empty"):
        Exchanges(path)
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        Exchanges(tmp_path / "missing")


async def test_what_cannot_be_written_fails_no_call(
    tape: Tape, caplog: pytest.LogCaptureFixture
) -> None:
    recording = tape.recording(EchoBackend())
    tape.recorder.close()
    tape.recorder._file = os.open("/dev/full", os.O_RDWR)
    assert (await said(recording, ask()))[0].text == "one"
    tape.recorder.close()
    assert "was not recorded" in caplog.text
