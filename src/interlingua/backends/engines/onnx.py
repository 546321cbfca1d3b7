"""Text, image and joint embeddings by onnxruntime, in a process of their own.

The server's side of it: nothing here imports the engine's libraries.
"""

import os
from collections.abc import Mapping, Sequence

import msgspec

from interlingua.backends.base import CallContext
from interlingua.catalog.card import Card, FileRole, ImageEmbedding, TextEmbedding
from interlingua.errors import InvalidValue, ModelFileError, ModelNotReady, UpstreamError
from interlingua.http import HttpCall
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import Capabilities, ModelInfo, Operation, merge

from .model import EngineModel
from .onnx_wire import EMBED, EMBED_IMAGES, ImageCall, TextCall, read_failure

_PROGRAM = "interlingua.backends.engines.onnx_process"
#: The engine makes batches of the calls that it has, so it is given many.
_TEXT_CALLS = 256
#: Bodies with images are large.
_IMAGE_CALLS = 64
_ENVIRONMENT: Mapping[str, str] = {
    # Its threads are ours to count.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # glibc gives each run's memory back to the kernel and takes it anew: a fifth of the time.
    # 64 MiB are kept instead. Blocks beyond 12 MiB, as Pillow's for large images (just under
    # 16), are still given back.
    "MALLOC_TRIM_THRESHOLD_": "67108864",
    "MALLOC_MMAP_THRESHOLD_": "12582912",
}
_OPERATIONS: Mapping[str, frozenset[Operation]] = {
    "onnx-text": frozenset({"embeddings"}),
    "onnx-image": frozenset({"image_embeddings"}),
    "onnx-joint": frozenset({"embeddings", "image_embeddings"}),
}
#: The engine's settings, and the files that they name.
_PATHS: Mapping[str, Mapping[str, FileRole]] = {
    "onnx-text": {"text": "model", "tokenizer": "tokenizer"},
    "onnx-image": {"vision": "model"},
    "onnx-joint": {"text": "text", "vision": "vision", "tokenizer": "tokenizer"},
}


class OnnxBackend:
    """Answers text and image embeddings out of one engine process."""

    def __init__(self, model: EngineModel) -> None:
        card = model.stored.card
        self.info = ModelInfo(
            model_name=model.name, model_type=card.type, model_provider_name=card.publisher
        )
        stated = merge(card.capabilities, model.capabilities)
        self.capabilities = merge(_capabilities(card, stated), stated)
        self.concurrency = _TEXT_CALLS if card.engine == "onnx-text" else _IMAGE_CALLS
        self.process = model.launch(
            model.name,
            program=_PROGRAM,
            settings=_settings(model),
            environment={**_ENVIRONMENT, **model.environment},
        )

    async def open(self) -> None:
        """See :meth:`interlingua.backends.base.Backend.open`."""
        await self.process.open()

    async def close(self) -> None:
        """See :meth:`interlingua.backends.base.Backend.close`."""
        await self.process.close()

    async def embed(self, request: EmbeddingsRequest, call: CallContext) -> Embeddings:
        """A vector of each text, or of each list of token ids."""
        del call  # its deadline ends this coroutine, and with it the exchange
        body = TextCall(
            texts=tuple(text for text in request.inputs if isinstance(text, str)),
            ids=tuple(ids for ids in request.inputs if not isinstance(ids, str)),
            input_type=request.input_type,
            dimensions=request.dimensions,
        )
        return await self._exchange(EMBED, _packed(body, request.inputs))

    async def embed_images(self, request: ImageEmbeddingsRequest, call: CallContext) -> Embeddings:
        """A vector of each image, text, or image with a text."""
        del call
        body = ImageCall(
            inputs=request.inputs, input_type=request.input_type, dimensions=request.dimensions
        )
        return await self._exchange(EMBED_IMAGES, _packed(body, request.inputs))

    async def _exchange(self, path: str, body: bytes) -> Embeddings:
        """What the engine makes of the body.

        Raises:
            ModelNotReady: the engine is down, failed at this call, or ended during it.
            UpstreamError: it sent what makes no sense.
            ApiError: the caller's fault, as the engine found it.
        """
        try:
            async with self.process.transport.send(HttpCall(path=path, body=body)) as reply:
                content = b"".join([chunk async for chunk in reply.chunks])
        except UpstreamError as error:
            raise ModelNotReady("The model's engine ended during the call. Try again.") from error
        if reply.status != 200:
            raise read_failure(content)
        try:
            return msgspec.msgpack.decode(content, type=Embeddings)
        except msgspec.DecodeError as error:
            raise UpstreamError("The engine sent a reply that makes no sense.") from error


def create(model: EngineModel) -> OnnxBackend:
    """The entry points ``onnx-text``, ``onnx-image`` and ``onnx-joint``."""
    return OnnxBackend(model)


def _capabilities(card: Card, stated: Capabilities) -> Capabilities:
    """What these engines honour with a model of that card, beyond what is stated."""
    text, joint = card.engine != "onnx-image", card.engine == "onnx-joint"
    prefixes = (card.text_embedding or TextEmbedding()).prefixes if text else {}
    types = stated.input_types or frozenset({"text", *prefixes})
    parameters = {"encoding_format"}
    if stated.dimensions:
        parameters.add("dimensions")
    if types != {"text"}:
        parameters.add("input_type")
    return Capabilities(
        operations=_OPERATIONS[card.engine or ""],
        parameters=frozenset(parameters),
        extensions=frozenset(),
        passes_through=False,
        encoding_formats=frozenset({"float", "base64", "binary", "ubinary", "int8", "uint8"}),
        input_types=types,
        dimensions=frozenset(),
        image_text=joint,
        context_length=card.context_length,
    )


def _settings(model: EngineModel) -> dict[str, object]:
    """What the process is told, as JSON values: see :class:`.onnx_models.Settings`."""
    card, files = model.stored.card, model.stored.files
    paths = _PATHS[card.engine or ""]
    missing = [role for role in paths.values() if role not in files]
    if missing:
        raise ModelFileError(
            f"{card.name} lacks the file for {missing[0]}: name it in the card's files"
        )
    workers, threads = _shares(model.threads or _cores())
    return {
        **{setting: str(files[role]) for setting, role in paths.items()},
        "text_embedding": msgspec.to_builtins(card.text_embedding or TextEmbedding()),
        "image_embedding": msgspec.to_builtins(card.image_embedding or ImageEmbedding()),
        "workers": workers,
        "threads_a_run": threads,
    }


def _shares(threads: int) -> tuple[int, int]:
    """How many runs at once, and the threads of each.

    Runs of one thread each give the most vectors a second; beyond eight of them a lone call
    gains more by more threads.
    """
    workers = min(threads, 8)
    return workers, max(1, threads // workers)


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _packed(body: TextCall | ImageCall, inputs: Sequence[object]) -> bytes:
    """The body as it goes over the socket.

    Raises:
        InvalidValue: a text isn't Unicode, or a number is beyond 64 bits.
    """
    try:
        return msgspec.msgpack.encode(body)
    except (UnicodeEncodeError, OverflowError) as error:
        place = next(n for n, item in enumerate(inputs) if not _can_be_packed(item))
        what = "a text of valid Unicode" if isinstance(error, UnicodeError) else "token ids"
        raise InvalidValue(
            f"This input can't be read: it must be {what}.", location=("body", "input", place)
        ) from error


def _can_be_packed(item: object) -> bool:
    try:
        msgspec.msgpack.encode(item)
    except (UnicodeEncodeError, OverflowError):
        return False
    return True
