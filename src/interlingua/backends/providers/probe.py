"""Whether a provider would serve a deployment, found out without spending anything.

Rules of this file:
- Its list of models is asked for, where its row says that it has one; tokens are spent only by
  :func:`attempt`, which somebody must have asked for.
- What can't be told so is ``unchecked``, never guessed.
"""

import difflib
from collections.abc import Iterator
from typing import Literal

import msgspec

from interlingua.backends.base import CallContext
from interlingua.errors import ApiError, DeadlineExceeded, Unavailable
from interlingua.types.chat import ChatRequest, UserMessage
from interlingua.types.completions import CompletionRequest
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest, ImageInput

from .http import Upstream

_CALL = CallContext(id="check")
#: A white pixel.
_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEA"
    "sVsfXgAAAABJRU5ErkJggg=="
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one provider said. ``problem``: why it wouldn't serve; ``remark``: what is open."""

    #: ``None``: it wasn't asked.
    reachable: bool | None
    credential: Literal["accepted", "refused", "unchecked"] = "unchecked"
    model: Literal["known", "unlisted", "unchecked"] = "unchecked"
    problem: str | None = None
    remark: str | None = None


class _Entry(msgspec.Struct, frozen=True):
    id: str | None = None
    name: str | None = None


class _Listed(msgspec.Struct, frozen=True):
    """OpenAI: ``data``; Gemini and Cohere: ``models``; Azure: /info describes one model."""

    data: tuple[_Entry, ...] | None = None
    models: tuple[_Entry, ...] | None = None
    model_name: str | None = None


async def look(upstream: Upstream, *, model: str | None, lists: str) -> Finding:
    """What the provider's list of models tells; ``lists`` is its path."""
    try:
        status, body = await upstream.look(lists)
    except ApiError as error:
        return _failed(error)
    if status in {401, 402, 403}:
        return Finding(
            reachable=True,
            credential="refused",
            problem=f"it refused the credential (status {status}): check the key in the "
            "environment, or what it is entitled to",
        )
    if status != 200:
        return Finding(reachable=True, remark=_open(status, lists))
    try:
        return _listed(tuple(_names(body)), model)
    except msgspec.DecodeError:
        return Finding(
            reachable=True,
            remark=f"what answers at {lists} is no list of models: check base_url, or use --try",
        )


def _listed(names: tuple[str, ...], model: str | None) -> Finding:
    """What a list of models says of the one that is wanted."""
    if model is None or not names:
        return Finding(reachable=True, credential="accepted")
    if _short(model) in map(_short, names):
        return Finding(reachable=True, credential="accepted", model="known")
    return Finding(
        reachable=True,
        credential="accepted",
        model="unlisted",
        remark=f"its list of {len(names)} models doesn't have {model!r}{_nearest(model, names)}",
    )


async def attempt(upstream: Upstream) -> Finding:
    """What one smallest call says. It may cost a few tokens."""
    operations = upstream.capabilities.operations or frozenset()
    try:
        if "chat_completions" in operations:
            chat = ChatRequest(messages=(UserMessage("Say OK."),), max_tokens=16)
            async for _ in upstream.chat(chat, _CALL):
                pass
        elif "completions" in operations:
            text = CompletionRequest(prompts=("OK",), max_tokens=1)
            async for _ in upstream.complete(text, _CALL):
                pass
        elif "embeddings" in operations:
            await upstream.embed(EmbeddingsRequest(inputs=("OK",)), _CALL)
        else:
            images = ImageEmbeddingsRequest(inputs=(ImageInput(image=_PIXEL),))
            await upstream.embed_images(images, _CALL)
    except ApiError as error:
        return _failed(error)
    return Finding(reachable=True, credential="accepted", model="known")


def _failed(error: ApiError) -> Finding:
    gone = isinstance(error, Unavailable | DeadlineExceeded)
    return Finding(reachable=not gone, problem=error.message)


def _open(status: int, lists: str) -> str:
    if status in {404, 405, 501}:
        return f"it has nothing at {lists} (status {status}): check base_url, or use --try"
    return f"it answered with status {status}: try again later"


def _names(body: bytes) -> Iterator[str]:
    listed = msgspec.json.decode(body, type=_Listed | tuple[_Entry, ...])
    if isinstance(listed, _Listed):
        if listed.model_name is not None:
            yield listed.model_name
        entries = listed.data or listed.models or ()
        if not entries and listed.model_name is None and listed.data is None:
            raise msgspec.ValidationError("no list")
    else:
        entries = listed
    for entry in entries:
        if name := entry.id or entry.name:
            yield name


def _short(name: str) -> str:
    """Without publisher and the tag that stands for none."""
    return name.lower().rpartition("/")[2].removesuffix(":latest")


def _nearest(model: str, names: tuple[str, ...]) -> str:
    short = {_short(name): name for name in names}
    near = difflib.get_close_matches(_short(model), short, n=2)
    return f"; near to it: {', '.join(short[name] for name in near)}" if near else ""
