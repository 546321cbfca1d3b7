"""Image files as ``data:`` URLs, known by their content and not by their names."""

import base64
from pathlib import Path

import click

#: How each format begins.
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


def data_url(path: Path) -> str:
    """The file's content as a URL.

    Raises:
        click.BadParameter: the file is no image of a format that the API takes.
        OSError: it can't be read.
    """
    content = path.read_bytes()
    kind = media_type(content)
    if kind is None:
        raise click.BadParameter(f"{path} is not a PNG, JPEG, WebP or GIF image")
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def media_type(content: bytes) -> str | None:
    for signature, kind in _SIGNATURES:
        if content.startswith(signature):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return None
