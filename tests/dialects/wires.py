"""What the tests of dialects share: the dialects, a call, a reply's head, golden files."""

import json
from pathlib import Path

from interlingua.dialects.azure import AzureDialect
from interlingua.dialects.base import Reply
from interlingua.dialects.json_wire import JsonWire
from interlingua.dialects.openai import OpenAIDialect
from interlingua.http import HttpCall
from interlingua.sse import Decoder

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
