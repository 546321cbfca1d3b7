"""The data files that the samples read and their package lacks."""

import json
import struct
import zlib
from pathlib import Path

CHAT = {
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "How many feet are in a mile?"},
    ],
    "max_tokens": 200,
}
PROMPTY = """---
name: Hotel
description: Answers the questions of a hotel's guests
model:
  api: chat
  configuration:
    azure_deployment: smollm2
  parameters:
    temperature: 0.2
    max_tokens: 200
---
system:
You are an AI assistant in a hotel. You help guests with their requests and provide
information about the hotel and its services.

# context
{{#rules}}
{{rule}}
{{/rules}}

{{#chat_history}}
{{role}}:
{{content}}
{{/chat_history}}

user:
{{input}}
"""


def write(folder: Path) -> None:
    """Put them where the samples look for them."""
    for place in (folder, folder / "async_samples"):
        (place / "example_chat.json").write_text(json.dumps(CHAT), "utf-8")
    (folder / "sample1.prompty").write_text(PROMPTY, "utf-8")
    (folder / "sample1.png").write_bytes(picture(96, 72))
    (folder / "hello_how_are_you.mp3").write_bytes(silence(20))


def picture(width: int, height: int) -> bytes:
    """A PNG file with a pattern in three colours."""
    rows = b"".join(
        b"\0" + bytes(v for x in range(width) for v in (x * 5 & 255, y * 3 & 255, x * y & 255))
        for y in range(height)
    )
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def silence(frames: int) -> bytes:
    """An MP3 file without a sound: MPEG 1 layer III, 128 kbit/s, 44.1 kHz."""
    return (bytes.fromhex("fffb9000") + bytes(413)) * frames
