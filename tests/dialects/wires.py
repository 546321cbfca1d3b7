"""What the tests of dialects share: the dialects, a call, a reply's head, golden files."""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from interlingua.dialects.azure import AzureDialect
from interlingua.dialects.base import ClientDialect, Reply
from interlingua.dialects.json_wire import JsonWire
from interlingua.dialects.openai import OpenAIDialect
from interlingua.http import HttpCall
from interlingua.sse import Decoder
from interlingua.types.chat import ChatCompletion, ChatDelta
from interlingua.types.chat_fold import ChatFold

AZURE = AzureDialect()
OPENAI = OpenAIDialect()
BOTH: tuple[JsonWire, ...] = (AZURE, OPENAI)
ID = "7a4b2d9c0f5e4b7c9d1e2f3a4b5c6d7e"
REPLY = Reply(id=ID, created=1730000000, model="phi-3-mini")
REPLY_2025 = Reply(id=ID, created=1730000000, model="phi-3-mini", api_version="2025-04-01")


def call(body: object, **headers: str) -> HttpCall:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpCall(
        path="/x",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=data,
    )


def golden(name: str) -> bytes:
    return (Path(__file__).parent / "golden" / name).read_bytes()


def events(stream: bytes) -> list[object]:
    """The events' JSON; the last, ``[DONE]``, as text. Only LF and ``data: `` are allowed."""
    assert b"\r" not in stream
    assert all(line.startswith(b"data: ") for line in stream.split(b"\n\n") if line)
    decoded = Decoder().feed(stream)
    return [json.loads(data) if data != b"[DONE]" else "[DONE]" for data in decoded]


def heard(dialect: ClientDialect, stream: bytes, cuts: Iterable[int] = ()) -> list[ChatDelta]:
    """The deltas of a provider's stream that arrives in these pieces and ends."""
    reader, decoder = dialect.chat_reader(), dialect.event_decoder()
    places = [0, *sorted(cuts), len(stream)]
    data = [data for a, b in pairwise(places) for data in decoder.feed(stream[a:b])]
    deltas = [delta for event in [*data, *decoder.finish()] for delta in reader.read(event)]
    reader.finish()
    return deltas


def folded(deltas: Iterable[ChatDelta]) -> ChatCompletion:
    fold = ChatFold()
    for delta in deltas:
        fold.add(delta)
    return fold.done()
