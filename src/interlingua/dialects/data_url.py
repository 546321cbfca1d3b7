"""Images and audio inside a request, for wires that want their bytes and kind apart."""

import base64
import binascii
from typing import NamedTuple

from interlingua.errors import InvalidValue, Location

#: What begins a file, for data that doesn't say what it is.
_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}
_UNNAMED = frozenset({"", "application/octet-stream"})


class Data(NamedTuple):
    """``data`` is base64, as it came."""

    media_type: str
    data: str


def read_data_url(url: str, location: Location) -> Data:
    """The media type and the base64 of a ``data:`` URL.

    Raises:
        InvalidValue: it isn't one, or not in base64.
    """
    head, comma, data = url.partition(",")
    scheme, _, kinds = head.partition(":")
    kind, *options = kinds.lower().split(";")
    if scheme.lower() != "data" or not comma or "base64" not in options:
        raise InvalidValue(
            "This provider takes content as data: URLs in base64 only: "
            "'data:image/png;base64,…' (with its own media type).",
            location=location,
        )
    if kind in _UNNAMED:
        kind = _looked_at(data) or kind
    return Data(kind, data)


def _looked_at(data: str) -> str | None:
    try:
        beginning = base64.b64decode(data[:16])
    except (binascii.Error, ValueError):
        return None
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for mark, kind in _BEGINNINGS.items() if beginning.startswith(mark)), None)
