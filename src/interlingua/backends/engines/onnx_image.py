"""Pixels to vectors: an ONNX graph, as a card's ``image_embedding`` says."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from interlingua.catalog.card import ImageEmbedding
from interlingua.errors import ApiError, InvalidValue, Location, ModelFileError

from .images import ImageReader
from .onnx_graph import Floats, Graph, attempt
from .onnx_text import finished

_OUTPUTS = ("image_embeds", "pooler_output", "features", "last_hidden_state")


class ImageUrl:
    """A ``data:`` URL, and where it stands in the request."""

    __slots__ = ("location", "url")

    def __init__(self, url: str, location: Location) -> None:
        self.url = url
        self.location = location


class ImageTower:
    """Makes vectors of images. ``run`` may be called from several threads."""

    def __init__(self, path: Path, *, card: ImageEmbedding, threads: int) -> None:
        """Raises:
        ModelFileError: the graph can't be fed, or doesn't give vectors.
        """
        self._card = card
        outputs = (card.output,) if card.output else _OUTPUTS
        self._graph = Graph(path, threads=threads, vectors=outputs)
        self._graph.require(frozenset({card.input}))
        if card.input not in self._graph.inputs:
            raise ModelFileError(f"{path} takes no {card.input}: name its input in the card")
        self._reader = ImageReader(card)
        #: How many images a run takes, where the graph fixes it.
        self.rows = self._graph.length(card.input, 0)
        self.length = self._try_out()

    def run(self, batch: Sequence[ImageUrl]) -> list[Floats | ApiError]:
        """A vector of each image, or what is wrong with it.

        Images are unpacked here and not before, so that only those of one run are in memory.
        """
        read = [self._read(image) for image in batch]
        good = [pixels for pixels in read if not isinstance(pixels, ApiError)]
        vectors = iter(self._embed(good) if good else [])
        return [pixels if isinstance(pixels, ApiError) else next(vectors) for pixels in read]

    def _read(self, image: ImageUrl) -> Floats | InvalidValue:
        try:
            return self._reader.read(image.url, image.location)
        except InvalidValue as error:
            return error

    def _embed(self, images: Sequence[Floats]) -> list[Floats | ApiError]:
        rows = self.rows or len(images)
        filled = [*images, *[images[0]] * (rows - len(images))]
        found = self._graph.run({self._card.input: np.stack(filled)})[: len(images)]
        if found.ndim == 3:
            found = found[:, 0]  # a vision transformer's tokens, the first of which is the whole
        elif found.ndim == 4:
            found = found.mean(axis=(2, 3))  # a convolution's map
        return finished(found, normalize=self._card.normalize)

    def _try_out(self) -> int:
        """The vectors' length, by a first run."""
        grey = np.zeros((3, self._card.size, self._card.size), np.float32)
        (vector,) = attempt(self._graph.path, self._embed, [grey])
        if isinstance(vector, ApiError) or vector.ndim != 1:
            raise ModelFileError(
                f"{self._graph.path}: {self._graph.output} isn't a vector an image; name another "
                "one in the card's `output`"
            )
        return len(vector)
