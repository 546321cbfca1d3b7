"""The same deployments on the OpenAI routes, for clients that speak that dialect.

Source: OpenAI API reference: the chat completion object and its chunks, embeddings, errors.
"""

from collections.abc import Iterator
from functools import partial

from .calls import Caller, Got, shaped
from .case import Case, expect
from .declared import Declared
from .samples import asking
from .shapes import Chat, Chunk, Embeddings, events

_CHAT = "/v1/chat/completions"


def cases(caller: Caller, declared: Declared) -> Iterator[Case]:
    """What must hold of a deployment under ``/v1``."""
    listed: list[tuple[str, object]] = [("the list of models has it", _models)]
    if "chat_completions" in declared.operations:
        listed += [
            ("a whole chat", _whole),
            ("a stream has no usage unasked", _unasked),
            ("a stream has a last chunk with usage where it is asked for", _asked),
            ("errors have OpenAI's shape", _error),
        ]
    if "embeddings" in declared.operations:
        listed.append(("embeddings, as numbers and as base64", _embeddings))
    skipped = "" if declared.has_openai else "the server has no /v1/models"
    for name, run in listed:
        assert callable(run)
        checked = partial(run, caller, declared)
        yield Case(area="OpenAI routes", name=name, run=checked, skipped=skipped)


async def _models(caller: Caller, declared: Declared) -> None:
    got = await caller.get("/v1/models")
    expect(got.status == 200, f"200 was due and came {got.told}")
    if declared.name:
        due = f'"id":"{declared.name}"'.encode()
        expect(due in got.body.replace(b'": "', b'":"'), f"{declared.name} isn't in the list")


async def _whole(caller: Caller, declared: Declared) -> None:
    body = declared.body(asking("chat_completions"))
    expect((await caller.call(_CHAT, body)).read(Chat).said.content, "the answer is empty")


async def _stream(caller: Caller, declared: Declared, **fields: object) -> list[Chunk]:
    body = declared.body({**asking("chat_completions"), **fields, "stream": True})
    got: Got = await caller.call(_CHAT, body)
    expect(got.status == 200, f"200 was due and came {got.told}")
    return [shaped(data, Chunk) for data in events(got.body)]


async def _unasked(caller: Caller, declared: Declared) -> None:
    chunks = await _stream(caller, declared)
    expect(all(chunk.choices for chunk in chunks), "a chunk came without choices")
    expect(not any(chunk.usage for chunk in chunks), "usage came unasked")


async def _asked(caller: Caller, declared: Declared) -> None:
    chunks = await _stream(caller, declared, stream_options={"include_usage": True})
    last = chunks[-1]
    expect(not last.choices and last.usage is not None, f"the last chunk is {last}")
    expect(all(chunk.choices for chunk in chunks[:-1]), "another chunk has no choices")


async def _error(caller: Caller, declared: Declared) -> None:
    body = declared.body({**asking("chat_completions"), "temperature": "hot"})
    error = (await caller.call(_CHAT, body)).error(400, 422)
    expect(error.error.param == "temperature", f"the param is {error.error.param!r}")


async def _embeddings(caller: Caller, declared: Declared) -> None:
    for encoding, kind in (("float", tuple), ("base64", str)):
        body = declared.body({**asking("embeddings"), "encoding_format": encoding})
        vector = (await caller.call("/v1/embeddings", body)).read(Embeddings).data[0].embedding
        expect(isinstance(vector, kind), f"{encoding}: the vector is {type(vector).__name__}")
