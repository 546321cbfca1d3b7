"""The requests of the suite, as data: the least of each operation, and values of parameters.

Source: Azure AI Model Inference REST reference, the tables of each request's body.
"""

import base64
import struct
import zlib
from typing import Any

import msgspec

from interlingua.types.models import Operation

ROUTES: dict[Operation, str] = {
    "info": "/info",
    "chat_completions": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "image_embeddings": "/images/embeddings",
}

ASKED = "Say: one two three"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"unit": {"type": "string", "enum": ["c", "f"]}},
            "required": ["unit"],
            "additionalProperties": False,
        },
    },
}
CALLED = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"unit":"c"}'},
}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "unit",
        "strict": True,
        "schema": TOOL["function"]["parameters"],  # type: ignore[index]  # it is a table
    },
}


class Sample(msgspec.Struct, frozen=True):
    """A parameter, with what it may be and what it may not."""

    name: str
    good: object
    bad: tuple[object, ...]
    #: What else the body must say for it.
    beside: dict[str, object] = {}


_SAMPLING = (
    Sample("temperature", 0.5, ("hot", -1)),
    Sample("top_p", 0.9, ("most", 2)),
    Sample("max_tokens", 4, (-1, "few", 1.5)),
    Sample("stop", ["§"], (7, [""])),
    Sample("seed", 7, ("seven", 0.5)),
    Sample("frequency_penalty", 0.5, (3, "much")),
    Sample("presence_penalty", 0.5, (-3, "much")),
    Sample("stream", False, ("yes", 1)),
)
#: The parameters of each operation that the API knows.
PARAMETERS: dict[Operation, tuple[Sample, ...]] = {
    "chat_completions": (
        *_SAMPLING,
        Sample("response_format", {"type": "text"}, ({"type": "xml"}, "json")),
        Sample("tools", [TOOL], ([], "get_weather", [{"type": "function"}])),
        Sample("tool_choice", "auto", ("maybe", 7), {"tools": [TOOL]}),
    ),
    "completions": _SAMPLING,
    "embeddings": (
        Sample("encoding_format", "float", ("hex", 8)),
        Sample("input_type", "text", ("poem", 1)),
        Sample("dimensions", None, (0, -8, "many")),
    ),
    "image_embeddings": (
        Sample("encoding_format", "float", ("hex", 8)),
        Sample("dimensions", None, (0, -8, "many")),
    ),
}
#: Values of names that a deployment may list as its extensions.
EXTENSIONS: dict[str, object] = {
    "best_of": 1,
    "n": 1,
    "top_k": 5,
    "min_p": 0.1,
    "logprobs": True,
    "top_logprobs": None,
    "logit_bias": {"5": 1},
    "parallel_tool_calls": False,
    "max_completion_tokens": 4,
    "repeat_penalty": 1.1,
    "user": "somebody",
    "reasoning_effort": "low",
    "typical_p": 0.9,
}


def asking(operation: Operation, text: str = ASKED) -> dict[str, Any]:
    """The least that a request of this operation says."""
    match operation:
        case "chat_completions":
            return {"messages": [{"role": "user", "content": text}], "max_tokens": 8}
        case "completions":
            return {"prompt": text, "max_tokens": 8}
        case "embeddings":
            return {"input": [text]}
        case "image_embeddings":
            return {"input": [{"image": picture()}]}
        case "info":
            return {}


def least(operation: Operation) -> dict[str, Any]:
    """A request whose answer doesn't matter: as few tokens as show that there is one."""
    bounded = operation in {"chat_completions", "completions"}
    return {**asking(operation), **({"max_tokens": 2} if bounded else {})}


def picture(shade: int = 128, side: int = 8) -> str:
    """A grey square as a data URL of a PNG."""
    row = b"\0" + bytes((shade, 255 - shade, 64)) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(row * side)), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return "data:image/png;base64," + base64.b64encode(png).decode()


def sound() -> str:
    """A tenth of a second of silence: a WAV file in base64."""
    data = bytes(1600)
    head = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16
    )
    return base64.b64encode(head + struct.pack("<4sI", b"data", len(data)) + data).decode()
