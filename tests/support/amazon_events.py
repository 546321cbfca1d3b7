"""Replies of Amazon Bedrock's ConverseStream, framed as on its wire.

Source: Amazon event stream encoding; Amazon Bedrock Runtime: ConverseStreamOutput.
"""

import json
import struct
from binascii import crc32
from collections.abc import Mapping

from .scripted_upstream import Reply

EVENT_STREAM = "application/vnd.amazon.eventstream"


def framed(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message; headers are text."""
    named = b""
    for name, value in headers.items():
        key, told = name.encode(), value.encode()
        named += bytes([len(key)]) + key + b"\x07" + struct.pack(">H", len(told)) + told
    return sealed(named, payload)


def sealed(headers: bytes, payload: bytes = b"") -> bytes:
    """A message with its lengths and checksums."""
    message = prelude(len(headers) + len(payload) + 16, len(headers)) + headers + payload
    return message + struct.pack(">I", crc32(message))


def prelude(total: int, headers: int) -> bytes:
    lengths = struct.pack(">II", total, headers)
    return lengths + struct.pack(">I", crc32(lengths))


def event(name: str, body: object) -> bytes:
    headers = {
        ":event-type": name,
        ":content-type": "application/json",
        ":message-type": "event",
    }
    return framed(headers, json.dumps(body).encode())


def exception(name: str, message: str) -> bytes:
    headers = {
        ":exception-type": name,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return framed(headers, json.dumps({"message": message}).encode())


def stream(*messages: bytes) -> Reply:
    return Reply(messages, content_type=EVENT_STREAM)


def said(*texts: str, stop_reason: str = "end_turn") -> tuple[bytes, ...]:
    """A whole turn of text."""
    return (
        event("messageStart", {"role": "assistant"}),
        *(
            event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})
            for text in texts
        ),
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event("messageStop", {"stopReason": stop_reason}),
        event(
            "metadata",
            {
                "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
                "metrics": {"latencyMs": 8},
            },
        ),
    )
