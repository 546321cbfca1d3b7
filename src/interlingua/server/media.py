"""Images and audio that a request names by URL: this server fetches nothing.

A URL from a caller that the server would open lets callers reach what only the server can
(server-side request forgery), so anything but a ``data:`` URL is refused.
"""

from interlingua.errors import InvalidValue, Location
from interlingua.types.chat import AudioPart, ChatRequest, ImagePart
from interlingua.types.embeddings import ImageEmbeddingsRequest


def refuse_remote_parts(request: ChatRequest) -> None:
    """Refuse content parts with a URL that would have to be fetched.

    Raises:
        InvalidValue: names the content part.
    """
    for place, message in enumerate(request.messages):
        if message.content is None or isinstance(message.content, str):
            continue
        for number, part in enumerate(message.content):
            where: Location = ("body", "messages", place, "content", number)
            if isinstance(part, ImagePart):
                _check(part.url, (*where, "image_url", "url"))
            elif isinstance(part, AudioPart) and part.url is not None:
                _check(part.url, (*where, "audio_url", "url"))


def refuse_remote_images(request: ImageEmbeddingsRequest) -> None:
    """Refuse images with a URL that would have to be fetched.

    Raises:
        InvalidValue: names the input.
    """
    for place, item in enumerate(request.inputs):
        if item.image is not None:
            _check(item.image, ("body", "input", place, "image"))


def _check(url: str, location: Location) -> None:
    if url[:5].lower() == "data:":
        return
    raise InvalidValue(
        "This server fetches no URLs: send the content itself, as "
        "'data:image/png;base64,…' (with its own media type).",
        location=location,
        value=url if len(url) <= 100 and url.isprintable() else None,
    )
