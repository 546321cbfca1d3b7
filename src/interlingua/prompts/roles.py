"""A rendered text → messages: lines that name a role, and images in Markdown."""

import re
from base64 import b64encode
from pathlib import Path

from .mustache import TemplateError

#: ``user:`` on a line by itself, with an optional ``#`` before it. Possessive, so that a long
#: run of spaces costs its length once.
_MARKER = re.compile(
    r"^[^\S\n]*+(?:#[^\S\n]*+)?(assistant|function|system|user)[^\S\n]*+:[^\S\n]*+\n",
    re.IGNORECASE | re.MULTILINE,
)
_IMAGE = re.compile(r"!\[[^\]]*\]\((.*?)(?=\"|\))\)")
_MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}

#: What makes structure of text, in a value that may not, and what stands for it meanwhile.
_SEALED = {"\n": "\ue000", ":": "\ue001", "!": "\ue002"}
_SEAL = str.maketrans(_SEALED)
_UNSEAL = str.maketrans({mark: sign for sign, mark in _SEALED.items()})

Content = str | list[dict[str, object]]


def sealed(value: str) -> str:
    """A value that can neither open a message nor name an image, until it is read."""
    return value.translate(_SEAL)


def read_messages(text: str, folder: Path | None) -> list[dict[str, object]]:
    """The messages; text before the first role is the system's.

    ``folder`` is where the files of images are, in it or below; without one their names are
    passed on as URLs.

    Raises:
        TemplateError: a message is empty, or an image can't be taken.
        OSError: an image's file can't be read.
    """
    markers = list(_MARKER.finditer(text))
    first = text[: markers[0].start() if markers else None].strip()
    messages = [_message("system", first, folder)] if first.translate(_UNSEAL).strip() else []
    ends = [marker.start() for marker in markers[1:]] + [len(text)]
    for marker, end in zip(markers, ends, strict=False):  # no marker, an end all the same
        role, content = marker[1].lower(), text[marker.end() : end].strip()
        if content.translate(_UNSEAL).strip():
            messages.append(_message(role, content, folder))
        elif marker is not markers[-1]:
            raise TemplateError(f"a {role} message is empty, and another follows it")
    if not messages:
        raise TemplateError("the template renders to no message: its text is empty")
    return messages


def _message(role: str, text: str, folder: Path | None) -> dict[str, object]:
    return {"role": role, "content": _content(text, folder)}


def _content(text: str, folder: Path | None) -> Content:
    images = list(_IMAGE.finditer(text))
    if not images:
        return text.translate(_UNSEAL).strip()
    items: list[dict[str, object]] = []
    position = 0
    for image in images:
        items += _text_item(text[position : image.start()])
        # What follows the name is a title, which nothing here takes.
        url = _url(image[1].split(" ")[0].strip().translate(_UNSEAL), folder)
        items.append({"type": "image_url", "image_url": {"url": url}})
        position = image.end()
    return items + _text_item(text[position:])


def _text_item(text: str) -> list[dict[str, object]]:
    text = text.translate(_UNSEAL).strip()
    return [{"type": "text", "text": text}] if text else []


def _url(name: str, folder: Path | None) -> str:
    if folder is None or name.startswith(("http://", "https://", "data:")):
        return name
    file = (folder / name).resolve()
    media_type = _MEDIA_TYPES.get(file.suffix.lower())
    if media_type is None:
        raise TemplateError(f"the image {name!r} is not a .png, .jpg or .jpeg file")
    # A value that the template is filled with can name an image too: it can't reach elsewhere.
    if not file.is_relative_to(folder.resolve()):
        raise TemplateError(f"the image {name!r} is outside {folder}: put it beside the template")
    return f"data:{media_type};base64,{b64encode(file.read_bytes()).decode('ascii')}"
