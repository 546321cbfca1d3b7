"""Texts to vectors: a tokenizer and an ONNX graph, as a card's ``text_embedding`` says.

Rules of this file:
- Control tokens in a text are plain text; only the tokenizer's own template adds them.
- Token ids that a caller sends are content: the template's tokens go around them as around
  a text's.
- What a text costs is its tokens, template included: that is also what is counted as used.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from interlingua.catalog.card import TextEmbedding
from interlingua.errors import (
    ApiError,
    ContextLengthExceeded,
    InvalidValue,
    Location,
    ModelFileError,
    ModelNotReady,
)
from interlingua.types.models import InputType

from .onnx_graph import Floats, Graph, attempt, unit

Ids = tuple[int, ...]

_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids", "position_ids"})
_OUTPUTS = ("sentence_embedding", "text_embeds", "last_hidden_state", "token_embeddings")
#: A text is read this far for each token that the model takes before its end is looked at:
#: tokens average four characters, and a million of them need not be told apart.
_CHARACTERS_A_TOKEN = 64
#: Runs of more tokens are rare, and what memory they take isn't kept.
_ORDINARY_TOKENS = 1024


class TextTokenizer:
    """Makes token ids of texts. Safe to call from several threads."""

    def __init__(self, path: Path, card: TextEmbedding) -> None:
        """Raises:
        ModelFileError: the file isn't a tokenizer, or lacks the token that pads.
        """
        self._card = card
        self._tokenizer = attempt(path, Tokenizer.from_file, str(path))
        self.pad = self._pad_id(path)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True
        self._before, self._after = self._template()
        self._room = card.max_tokens - len(self._before) - len(self._after)
        if self._room < 1:
            raise ModelFileError(f"{path}: its template alone fills {card.max_tokens} tokens")
        if card.too_long == "truncate":
            self._tokenizer.enable_truncation(card.max_tokens)

    def read_texts(
        self, texts: Sequence[str], input_type: InputType | None, locations: Sequence[Location]
    ) -> list[Ids]:
        """The token ids of each text.

        Raises:
            ContextLengthExceeded: one is too long, and the card says to refuse it.
        """
        prefix = self._card.prefixes.get(input_type or "text", "")
        longest = self._card.max_tokens * _CHARACTERS_A_TOKEN
        if max(map(len, texts), default=0) + len(prefix) > longest:
            read = [self._read_long(prefix + text) for text in texts]
        else:
            whole = [prefix + text for text in texts]
            read = [(tuple(e.ids), True) for e in self._tokenizer.encode_batch_fast(whole)]
        for (ids, whole_text), location in zip(read, locations, strict=True):
            self._check_length(len(ids), whole_text, location)
        return [ids for ids, _whole in read]

    def read_ids(
        self, lists: Sequence[Ids], input_type: InputType | None, locations: Sequence[Location]
    ) -> list[Ids]:
        """The token ids as the model gets them.

        Raises:
            InvalidValue: an id isn't in the vocabulary.
            ContextLengthExceeded: as for texts.
        """
        size = self._tokenizer.get_vocab_size()
        prefix = self._card.prefixes.get(input_type or "text", "")
        before = self._before
        if prefix:
            before += tuple(self._tokenizer.encode(prefix, add_special_tokens=False).ids)
        room = self._card.max_tokens - len(before) - len(self._after)
        made = []
        for ids, location in zip(lists, locations, strict=True):
            wrong = next((number for number in ids if not 0 <= number < size), None)
            if wrong is not None:
                raise InvalidValue(
                    f"{wrong} is no token of this model: ids are from 0 to {size - 1}.",
                    location=location,
                    value=wrong if abs(wrong) < 2**53 else None,
                )
            kept = ids[: max(room, 0)] if self._card.too_long == "truncate" else ids
            made.append((*before, *kept, *self._after))
            self._check_length(len(made[-1]), True, location)
        return made

    def _read_long(self, text: str) -> tuple[Ids, bool]:
        """The ids, and whether they are the whole text's: a text far too long is read only
        as far as it fills the model.
        """
        most = self._card.max_tokens
        end = most * _CHARACTERS_A_TOKEN
        while True:
            ids = tuple(self._tokenizer.encode(text[:end]).ids)
            whole = end >= len(text)
            truncates = self._card.too_long == "truncate"
            if whole or len(ids) > most or (truncates and len(ids) == most):
                return ids, whole
            end *= 4

    def _check_length(self, found: int, whole: bool, location: Location) -> None:  # noqa: FBT001
        if found > self._card.max_tokens:
            raise ContextLengthExceeded(
                f"This model's maximum context length is {self._card.max_tokens} tokens, and this "
                f"input has {'' if whole else 'at least '}{found}. Shorten it.",
                location=location,
            )

    def _template(self) -> tuple[Ids, Ids]:
        """The ids that the tokenizer puts before and after a text."""
        bare = self._tokenizer.encode("a", add_special_tokens=False).ids
        whole = self._tokenizer.encode("a").ids
        for start in range(len(whole) - len(bare) + 1):
            if whole[start : start + len(bare)] == bare:
                return tuple(whole[:start]), tuple(whole[start + len(bare) :])
        return (), ()

    def _pad_id(self, path: Path) -> int:
        """The card's token, else the file's own settings, else ``[PAD]``, else 0."""
        named = self._card.pad_token
        if named is not None:
            found = self._tokenizer.token_to_id(named)
            if found is None:
                raise ModelFileError(f"{path} doesn't know the padding token {named!r}")
            return int(found)
        if self._tokenizer.padding:
            return int(self._tokenizer.padding["pad_id"])
        return int(self._tokenizer.token_to_id("[PAD]") or 0)


class TextTower:
    """Makes vectors of token ids. ``run`` may be called from several threads."""

    def __init__(self, path: Path, *, pad: int, card: TextEmbedding, threads: int) -> None:
        """Raises:
        ModelFileError: the graph can't be fed, or doesn't give vectors.
        """
        self._card = card
        self._pad = pad
        outputs = (card.output,) if card.output else _OUTPUTS
        self._graph = Graph(path, threads=threads, vectors=outputs)
        self._graph.require(_INPUTS)
        if "input_ids" not in self._graph.inputs:
            raise ModelFileError(f"{path} takes no input_ids: it isn't a text model")
        self._width = card.pad_to or self._graph.length("input_ids", 1)
        if self._width and self._width < card.max_tokens:
            raise ModelFileError(f"{path} takes {self._width} tokens: set max_tokens to that")
        #: How many texts a run takes, where the graph fixes it.
        self.rows = self._graph.length("input_ids", 0)
        self.length = self._try_out()

    def size(self, ids: Ids) -> int:
        """What the text costs in a run, in tokens."""
        return self._width or len(ids)

    def run(self, batch: Sequence[Ids]) -> list[Floats | ApiError]:
        """A vector of each text."""
        width = self._width or max(1, *map(len, batch))
        rows = self.rows or len(batch)
        ids = np.full((rows, width), self._pad, np.int64)
        mask = np.zeros((rows, width), np.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens[:width]
            mask[row, : len(tokens)] = 1
        feed: dict[str, npt.NDArray[np.generic]] = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._graph.inputs:
            feed["token_type_ids"] = np.zeros_like(ids)
        if "position_ids" in self._graph.inputs:
            feed["position_ids"] = np.broadcast_to(np.arange(width), ids.shape)
        found = self._graph.run(feed, rare=ids.size > _ORDINARY_TOKENS)
        vectors = self._pool(found, mask)[: len(batch)]
        return finished(vectors, normalize=self._card.normalize)

    def _pool(self, hidden: Floats, mask: npt.NDArray[np.int64]) -> Floats:
        if hidden.ndim == 2:
            return hidden
        weights = mask.astype(np.float32)
        match self._card.pooling:
            case "mean":
                sums = np.einsum("nld,nl->nd", hidden, weights)
                means = sums / np.maximum(weights.sum(1, keepdims=True), 1)
                return np.asarray(means, np.float32)
            case "last":
                last = np.maximum(mask.sum(1) - 1, 0)
                return np.asarray(hidden[np.arange(len(hidden)), last], np.float32)
            case "cls" | "none":
                return np.asarray(hidden[:, 0], np.float32)

    def _try_out(self) -> int:
        """The vectors' length, by a first run."""
        (vector,) = attempt(self._graph.path, self.run, [(self._pad,)])
        if isinstance(vector, ApiError) or vector.ndim != 1:
            raise ModelFileError(
                f"{self._graph.path}: {self._graph.output} isn't a vector a text; name another "
                "one in the card's `output`, or a pooling"
            )
        return len(vector)


class NotFinite(ModelNotReady):
    """A model made a number that is none, as half precision does beyond its range."""


def finished(vectors: Floats, *, normalize: bool) -> list[Floats | ApiError]:
    """The vectors one by one, an error in the place of one that isn't all numbers."""
    finite = [bool(np.isfinite(vector).all()) for vector in vectors]
    with np.errstate(invalid="ignore"):
        rows = unit(vectors) if normalize else vectors
    return [
        row if good else NotFinite("The model made no numbers of this input.")
        for row, good in zip(rows, finite, strict=True)
    ]


def shortened(vector: Floats, length: int | None, *, normalize: bool) -> Floats:
    """The first ``length`` numbers, brought back to length 1 (Matryoshka)."""
    if length is None or length >= len(vector):
        return vector
    return unit(vector[:length]) if normalize else vector[:length]
