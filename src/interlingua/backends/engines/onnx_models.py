"""The models of an ONNX engine's process, and what one call to them is."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np

from interlingua.catalog.card import ImageEmbedding, TextEmbedding
from interlingua.errors import InvalidValue, Location
from interlingua.types.embeddings import Embeddings
from interlingua.types.usage import Usage

from .batching import Batcher, Shape
from .onnx_graph import Floats, unit
from .onnx_image import ImageTower, ImageUrl
from .onnx_text import Ids, TextTokenizer, TextTower, shortened
from .onnx_wire import ImageCall, TextCall

#: Tokens a run: measured with MiniLM, a token is cheapest at 300 to 500 of them, and short
#: runs keep waiting short.
_TOKENS_A_RUN = 384
#: What starting a run costs, in tokens: more padding than that, and two runs are cheaper.
_PADDING = 8
_LEAST_TOKENS = 48
#: More make a run's numbers outgrow the caches and what malloc keeps.
_IMAGES_A_RUN = 2
#: Texts up to this many characters are cheaper to read at once than to hand to a thread.
_SHORT_CHARACTERS = 4096


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the server sends at start. Paths that are ``None`` stand for what the model lacks."""

    socket: str
    key: str
    tokenizer: str | None = None
    text: str | None = None
    vision: str | None = None
    text_embedding: TextEmbedding = TextEmbedding()
    image_embedding: ImageEmbedding = ImageEmbedding()
    #: How many runs at once, and the threads of each.
    workers: int = 1
    threads_a_run: int = 1


class _Texts:
    """A tokenizer and its tower."""

    def __init__(self, settings: Settings, executor: ThreadPoolExecutor) -> None:
        assert settings.tokenizer
        assert settings.text
        card = settings.text_embedding
        self._tokenizer = TextTokenizer(Path(settings.tokenizer), card)
        self.tower = TextTower(
            Path(settings.text),
            pad=self._tokenizer.pad,
            card=card,
            threads=settings.threads_a_run,
        )
        shape = Shape(
            workers=settings.workers,
            budget=max(_TOKENS_A_RUN, 4 * (card.pad_to or 0)),
            padding=_PADDING,
            least=_LEAST_TOKENS,
            most_items=self.tower.rows or 64,
        )
        self._batcher = Batcher[Ids, Floats](self.tower.run, executor=executor, shape=shape)
        self._long_texts = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")

    async def embed(
        self,
        call: TextCall,
        locations: Sequence[Location],
    ) -> tuple[list[Floats], int]:
        """The vectors, and how many tokens the texts have."""
        ids = await self._read(call, locations)
        sizes = [self.tower.size(tokens) for tokens in ids]
        return await self._batcher.submit(ids, sizes), sum(map(len, ids))

    async def _read(self, call: TextCall, locations: Sequence[Location]) -> list[Ids]:
        if call.ids:
            return self._tokenizer.read_ids(call.ids, call.input_type, locations)
        arguments = (call.texts, call.input_type, locations)
        if sum(map(len, call.texts)) <= _SHORT_CHARACTERS:
            return self._tokenizer.read_texts(*arguments)
        loop = asyncio.get_running_loop()
        read = self._tokenizer.read_texts
        return await loop.run_in_executor(self._long_texts, read, *arguments)


class Models:
    """A text model, an image model, or the two towers of a joint one.

    The towers of a joint model make vectors in one space. An input with an image and a text
    gets the mean of both unit vectors, brought back to length 1.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises:
        ModelFileError: a file can't be used.
        """
        self._settings = settings
        executor = ThreadPoolExecutor(settings.workers, thread_name_prefix="run")
        self._texts = _Texts(settings, executor) if settings.text else None
        self._images: Batcher[ImageUrl, Floats] | None = None
        if settings.vision:
            tower = ImageTower(
                Path(settings.vision),
                card=settings.image_embedding,
                threads=settings.threads_a_run,
            )
            shape = Shape(
                workers=settings.workers,
                budget=_IMAGES_A_RUN,
                most_items=tower.rows or _IMAGES_A_RUN,
            )
            self._images = Batcher(tower.run, executor=executor, shape=shape)

    async def embed(self, call: TextCall) -> Embeddings:
        """The vectors of texts or of lists of token ids.

        Raises:
            ApiError: an input is at fault, or too much waits already.
        """
        count = len(call.ids) or len(call.texts)
        locations: list[Location] = [("body", "input", index) for index in range(count)]
        if self._texts is None:
            raise InvalidValue("This model embeds images only.", location=("body", "input"))
        vectors, tokens = await self._texts.embed(call, locations)
        return self._embeddings(vectors, call.dimensions, tokens)

    async def embed_images(self, call: ImageCall) -> Embeddings:
        """The vectors of images, of texts, and of both together.

        Raises:
            ApiError: as for ``embed``.
        """
        images = [
            ImageUrl(item.image, ("body", "input", index, "image"))
            for index, item in enumerate(call.inputs)
            if item.image is not None
        ]
        text_vectors, tokens = await self._embed_texts(call)
        seen, said = iter(await self._embed_urls(images)), iter(text_vectors)
        vectors = [
            _joint(
                next(seen) if item.image is not None else None,
                next(said) if item.text is not None else None,
            )
            for item in call.inputs
        ]
        return self._embeddings(vectors, call.dimensions, tokens)

    async def _embed_urls(self, images: list[ImageUrl]) -> list[Floats]:
        if images and self._images is None:
            raise InvalidValue("This model embeds texts only.", location=images[0].location)
        return await self._images.submit(images, [1] * len(images)) if self._images else []

    async def _embed_texts(self, call: ImageCall) -> tuple[list[Floats], int]:
        said = [(n, item.text) for n, item in enumerate(call.inputs) if item.text is not None]
        if not said:
            return [], 0
        locations: list[Location] = [("body", "input", index, "text") for index, _text in said]
        if self._texts is None:
            raise InvalidValue("This model embeds images only.", location=locations[0])
        texts = tuple(text for _index, text in said)
        return await self._texts.embed(TextCall(texts=texts, input_type=call.input_type), locations)

    def _embeddings(
        self, vectors: Sequence[Floats], dimensions: int | None, tokens: int
    ) -> Embeddings:
        card = self._settings.text_embedding if self._texts else self._settings.image_embedding
        cut = (shortened(vector, dimensions, normalize=card.normalize) for vector in vectors)
        return Embeddings(
            vectors=tuple(vector.astype("<f4", copy=False).tobytes() for vector in cut),
            usage=Usage(prompt_tokens=tokens),
        )


def _joint(image: Floats | None, text: Floats | None) -> Floats:
    if image is None or text is None:
        vector = text if image is None else image
        assert vector is not None
        return vector
    return unit(np.add(unit(image), unit(text)))
