"""What wires share that aren't OpenAI's JSON: how a request gets into another shape.

Rules of this file:
- What was passed through goes in beside what the wire writes, and never replaces it.
- What a wire has no place for is refused by its place in the request, never left out.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from interlingua.errors import ApiError, InvalidValue, Location, RateLimited, Unavailable
from interlingua.http import HttpCall
from interlingua.types.chat import ChatRequest, Content, TextPart, ToolCall
from interlingua.types.explain import wrong
from interlingua.types.lift import check_lifted, lift

from .base import Target

#: How an image begins, for data URLs that don't say what they hold.
_MAGIC = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}


def lifted(request: ChatRequest, honoured: frozenset[str] | None) -> ChatRequest:
    """The request with what was passed through under a known name in that name's place.

    Raises:
        InvalidValue: a value is wrong, or given twice.
    """
    for name, value in request.extra.items():
        if name == "max_completion_tokens" or name in (honoured or ()):
            request = lift(request, name, value)
    check_lifted(request)
    return request


def merged(
    fields: Mapping[str, Any], extra: Mapping[str, Any], location: Location = ("body",)
) -> dict[str, Any]:
    """What the wire writes, and beside it what was passed through.

    Raises:
        InvalidValue: a parameter is there already, under the API's own name for it.
    """
    whole = {**extra, **fields}
    for name, passed in extra.items():
        if name not in fields:
            continue
        place, written = (*location, name), fields[name]
        if isinstance(written, dict) and isinstance(passed, dict):
            whole[name] = merged(written, passed, place)
        elif written != passed:
            raise InvalidValue(
                f"{name} says again what other parameters of this request say: give one of them.",
                location=place,
            )
    return whole


def posted(path: str, fields: Mapping[str, Any], target: Target, **query: str) -> HttpCall:
    return HttpCall(
        path=target.base_path + path,
        query=query,
        headers={
            "accept": "application/json",
            "content-type": "application/json",
            **target.headers,
        },
        body=msgspec.json.encode(fields),
    )


def only_text(content: Content, place: int) -> list[str]:
    """The texts of a system message, which is text alone; empty ones are left out.

    Raises:
        InvalidValue: it holds something else.
    """
    if isinstance(content, str):
        return [content] if content else []
    texts = []
    for number, part in enumerate(content):
        if not isinstance(part, TextPart):
            raise wrong(part_of(place, number), "text: this model's instructions hold no media")
        if part.text:
            texts.append(part.text)
    return texts


def part_of(message: int, number: int) -> Location:
    return ("body", "messages", message, "content", number)


def is_data(url: str) -> bool:
    return url[:5].lower() == "data:"


def inline(url: str, location: Location) -> tuple[str, str]:
    """The media type of a data URL and its data, in base64 as it stands.

    Raises:
        InvalidValue: it isn't in base64, or doesn't say what it is.
    """
    head, comma, data = url[5:].partition(",")
    media_type, *parameters = head.split(";")
    if not comma or "base64" not in parameters:
        raise wrong(location, "a data URL in base64, as in 'data:image/png;base64,…'")
    media_type = media_type.lower()
    if media_type in {"", "application/octet-stream"}:
        media_type = _guessed(data)
    if not media_type:
        raise wrong(location, "a data URL with its media type, as in 'data:image/png;base64,…'")
    return media_type, data


def _guessed(data: str) -> str:
    try:
        start = base64.b64decode(data[:16], validate=True)
    except (binascii.Error, ValueError):
        return ""
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "")


def arguments_of(call: ToolCall, location: Location) -> dict[str, Any]:
    """A tool call's arguments as the object that they are the text of.

    Raises:
        InvalidValue: they are no JSON object.
    """
    try:
        arguments = msgspec.json.decode(call.arguments) if call.arguments.strip() else {}
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise wrong((*location, "function", "arguments"), "the text of a JSON object")
    return arguments


def failure(
    kind: type[ApiError], message: str, location: Location = (), retry_after_s: int = 1
) -> ApiError:
    """An error of that kind, with as much of the rest as it has a place for."""
    if issubclass(kind, RateLimited | Unavailable):
        return kind(message, retry_after_s=retry_after_s)
    return kind(message, location=location)
