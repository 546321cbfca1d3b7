"""Images and audio that a request names by URL: which would have to be fetched.

A URL from a caller that the server would open lets callers reach what only the server can
(server-side request forgery). So remote images are found here, and :mod:`.remote_images`
decides on them; remote audio is refused, since no engine takes audio.
"""

from collections.abc import Mapping
from typing import TypeVar

from msgspec.structs import replace

from interlingua.errors import InvalidValue, Location
from interlingua.types.chat import AudioPart, ChatRequest, ImagePart
from interlingua.types.embeddings import ImageEmbeddingsRequest

#: A request that may have images in it.
Pictured = TypeVar("Pictured", ChatRequest, ImageEmbeddingsRequest)


def remote_images(request: ChatRequest | ImageEmbeddingsRequest) -> dict[Location, str]:
    """The URLs of images that would have to be fetched, by their place in the request.

    Raises:
        InvalidValue: names a content part with audio that would have to be fetched.
    """
    if isinstance(request, ImageEmbeddingsRequest):
        return {
            _input(place): item.image
            for place, item in enumerate(request.inputs)
            if item.image is not None and _is_remote(item.image)
        }
    found: dict[Location, str] = {}
    for place, message in enumerate(request.messages):
        if message.content is None or isinstance(message.content, str):
            continue
        for number, part in enumerate(message.content):
            if isinstance(part, ImagePart) and _is_remote(part.url):
                found[_part(place, number)] = part.url
            elif isinstance(part, AudioPart) and part.url is not None and _is_remote(part.url):
                raise InvalidValue(
                    "This server fetches no audio: send it as 'data:audio/wav;base64,…' (with "
                    "its own media type).",
                    location=("body", "messages", place, "content", number, "audio_url", "url"),
                )
    return found


def with_images(request: Pictured, images: Mapping[Location, str]) -> Pictured:
    """The request with other URLs at some of its images' places."""
    if isinstance(request, ImageEmbeddingsRequest):
        inputs = tuple(
            replace(item, image=images.get(_input(place), item.image))
            for place, item in enumerate(request.inputs)
        )
        return replace(request, inputs=inputs)
    messages = []
    for place, message in enumerate(request.messages):
        if isinstance(message.content, tuple):
            content = tuple(
                replace(part, url=images.get(_part(place, number), part.url))
                if isinstance(part, ImagePart)
                else part
                for number, part in enumerate(message.content)
            )
            message = replace(message, content=content)  # noqa: PLW2901 - the same message
        messages.append(message)
    return replace(request, messages=tuple(messages))


def _input(place: int) -> Location:
    return ("body", "input", place, "image")


def _part(place: int, number: int) -> Location:
    return ("body", "messages", place, "content", number, "image_url", "url")


def _is_remote(url: str) -> bool:
    return url[:5].lower() != "data:"
