"""The model behind every scripted provider: a function of the request, whatever the wire.

It says a greeting and what it was asked, word by word, each a token; it calls the tool that
it is told to, answers in JSON where that is asked for, and thinks where its row's models do.

Rules of this folder:
- A module is a provider's wire, named as the registry's dialect (``-`` as ``_``). It has
  ``served(row)``, which models of the row are served, and ``answer(row, request)``, the reply.
- A request that the provider's document doesn't allow is refused as the provider refuses it.
- Where a reply has a quirk, the document or thread that tells of it stands beside it.
"""

import base64
import hashlib
import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from interlingua.types.models import ModelType

#: Every chunk of a stream is cut here and there, in the middle of a character too.
GREETING = "Grüße 🌍"
THOUGHTS = ("Let me ", "think: ü ", "so be it.")
KEY = "cnry-conformance-0b8c7f3a91d2"
LENGTH = 16

_WORD = re.compile(r"\s*\S+")


@dataclass(frozen=True)
class Served:
    """A model that a scripted provider has, and what a config says of it besides."""

    type: ModelType
    model: str | None = "theirs"
    settings: Mapping[str, object] = field(default_factory=dict)
    capabilities: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """An answer, before a wire spells it."""

    words: tuple[str, ...]
    finish: str
    prompt_tokens: int
    #: The arguments of each call of the tool named.
    tool: str | None = None
    arguments: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def completion_tokens(self) -> int:
        return len(self.words) or 5 * len(self.arguments)


def say(
    texts: Sequence[str],
    *,
    limit: int | None = None,
    stop: Sequence[str] = (),
    as_json: bool = False,
    tool: str | None = None,
    calls: int = 1,
) -> Said:
    """What the model says to the last of these texts, with at most ``limit`` tokens."""
    prompt = sum(len(words(text)) for text in texts) or 1
    if tool is not None:
        return Said((), "tool_calls", prompt, tool, ('{"unit": "c"}',) * calls)
    text = '{"unit": "c"}' if as_json else f"{GREETING} {texts[-1] if texts else ''}"
    ends = [place for place in map(text.find, stop) if place >= 0]
    spoken = words(text[: min(ends)] if ends else text)
    if limit is not None and len(spoken) > limit:
        return Said(tuple(spoken[:limit]), "length", prompt)
    return Said(tuple(spoken), "stop", prompt)


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def vector(text: str, length: int = LENGTH) -> list[float]:
    """Numbers that follow from the text alone."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return [(digest[place % 32] - 127.5) / 128 for place in range(length)]


def cut(data: bytes, pieces: int = 3) -> tuple[bytes, ...]:
    """``data`` in pieces that end where they fall, in the middle of characters too."""
    at = data.find("🌍".encode())
    if at >= 0:
        return (data[: at + 2], data[at + 2 :])
    size = max(1, len(data) // pieces)
    return tuple(data[start : start + size] for start in range(0, len(data), size))


def dumps(body: object) -> str:
    """JSON with its characters as they are, so that cuts fall inside them."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def encoded(numbers: Sequence[float], kind: str) -> str | list[float] | list[int]:
    """A vector as providers encode it (Cohere: embedding types; Voyage: output_dtype)."""
    match kind:
        case "base64":
            return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
        case "int8" | "uint8":
            return [round(number * 127) + 128 * (kind == "uint8") for number in numbers]
        case "binary" | "ubinary":
            signs = "".join("01"[number > 0] for number in numbers)
            octets = [int(signs[start : start + 8], 2) for start in range(0, len(signs), 8)]
            return [octet - 128 * (kind == "binary") for octet in octets]
        case _:
            return list(numbers)


def authorized(headers: Mapping[str, str]) -> bool:
    """Whether a call carries the key of the config, in whichever header."""
    return any(KEY in value for value in headers.values())


def named_events(*events: tuple[str, object]) -> tuple[bytes, ...]:
    """Server-sent events with names, cut where they fall."""
    lines = [f"event: {name}\ndata: {dumps(data)}\n\n".encode() for name, data in events]
    return tuple(piece for line in lines for piece in cut(line))
