"""What is said to llama.cpp's server and what it says, as types.

Rules of this file:
- Only the names of these structs ever reach the engine: it ignores unknown ones and obeys
  its own (``id_slot``, ``ignore_eos``, ``grammar``), so nothing of a caller's goes through
  unread.
- ``/completion``, its own route, is used for text and chat alike: its events are the
  smallest, and its counts are those of one choice.

Source: llama.cpp, tools/server/README.md.
"""

from collections.abc import Mapping

import msgspec
from msgspec import UNSET

from interlingua.errors import InvalidValue
from interlingua.types.chat import FinishReason, Sampling, TokenLogprob
from interlingua.types.usage import Usage

#: A prompt as text, in which control tokens count, or as token ids.
EnginePrompt = str | list[int]

#: Without this list the last event repeats the prompt and every setting.
_LAST_FIELDS = (
    "content",
    "stop",
    "stop_type",
    "stopping_word",
    "tokens_predicted",
    "tokens_evaluated",
    "timings",
    "completion_probabilities",
)
_SEEDS = 2**32 - 1
#: How far back a penalty looks: more tokens than an answer has. The engine refuses -1, which
#: was "all" once, and keeps four bytes for each.
_LOOK_BACK = 2**16


class Generate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of ``POST /completion``: one choice of one prompt."""

    prompt: EnginePrompt
    stream: bool = False
    #: -1: up to the end of the context.
    n_predict: int = -1
    seed: int | None = None
    cache_prompt: bool = True
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repeat_penalty: float | None = None
    #: How many tokens the penalties look back.
    repeat_last_n: int | None = None
    stop: tuple[str, ...] = ()
    logit_bias: tuple[tuple[int, float], ...] = ()
    n_probs: int = 0
    grammar: str = ""
    #: Control tokens that are to appear in the text.
    preserved_tokens: tuple[str, ...] = ()
    response_fields: tuple[str, ...] = ()


class _Timings(msgspec.Struct, frozen=True):
    cache_n: int = 0


class _Token(msgspec.Struct, frozen=True):
    token: str
    logprob: float | None = None
    bytes: tuple[int, ...] | None = None


class _Probability(_Token, frozen=True):
    top_logprobs: tuple[_Token, ...] = ()


class EngineError(msgspec.Struct, frozen=True):
    code: int = 500
    message: str = ""
    type: str = ""
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class Chunk(msgspec.Struct, frozen=True):
    """One event of a streamed completion. The last one has ``stop`` and the counts."""

    content: str = ""
    stop: bool = False
    stop_type: str = ""
    stopping_word: str = ""
    tokens_predicted: int = 0
    tokens_evaluated: int = 0
    timings: _Timings | None = None
    completion_probabilities: tuple[_Probability, ...] = ()
    error: EngineError | None = None

    @property
    def finish_reason(self) -> FinishReason:
        return "length" if self.stop_type == "limit" else "stop"

    @property
    def usage(self) -> Usage:
        """The counts of this choice."""
        return Usage(
            prompt_tokens=self.tokens_evaluated,
            completion_tokens=self.tokens_predicted,
            cached_tokens=self.timings.cache_n if self.timings else None,
        )


class ErrorBody(msgspec.Struct, frozen=True):
    error: EngineError = EngineError()


class Rendered(msgspec.Struct, frozen=True):
    """The reply of ``/apply-template``."""

    prompt: str


class Tokens(msgspec.Struct, frozen=True):
    """The reply of ``/tokenize``."""

    tokens: list[int]


class _Piece(msgspec.Struct, frozen=True):
    piece: str | list[int]


class Pieces(msgspec.Struct, frozen=True):
    """The reply of ``/tokenize`` with pieces: bytes where one is no whole character."""

    tokens: list[_Piece]


class Vector(msgspec.Struct, frozen=True):
    index: int
    embedding: str


class VectorUsage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0


class Vectors(msgspec.Struct, frozen=True):
    """The reply of ``/v1/embeddings`` with base64."""

    data: tuple[Vector, ...]
    usage: VectorUsage = VectorUsage()


def sampling(request: Sampling, prompt: EnginePrompt, *, default_max: int | None) -> Generate:
    """What both operations ask of the engine. ``default_max`` stands for a ``max_tokens``
    that wasn't sent.

    Raises:
        InvalidValue: ``logit_bias`` names something that isn't a token id.
    """
    limit = default_max if request.max_tokens is UNSET else request.max_tokens
    penalised = request.frequency_penalty is not None or request.presence_penalty is not None
    return Generate(
        prompt=prompt,
        stream=True,
        n_predict=-1 if limit is None else limit,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        min_p=request.min_p,
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
        repeat_penalty=request.repetition_penalty,
        repeat_last_n=_LOOK_BACK if penalised else None,
        stop=tuple(text for text in request.stop if text),
        logit_bias=_biases(request.logit_bias or {}),
        response_fields=_LAST_FIELDS,
    )


def seeded(body: Generate, seed: int | None, choice: int) -> Generate:
    """The body with the seed of one choice.

    The engine takes 32 bits, of which 2³² - 1 means "any": an int64 is folded into the rest
    by its remainder, so that equal seeds stay equal. With a seed nothing is taken from the
    prompt cache, for what is computed in other batches differs in its last bits.
    """
    if seed is None:
        return body
    return msgspec.structs.replace(body, seed=(seed + choice) % _SEEDS, cache_prompt=False)


def logprobs(chunk: Chunk, most: int) -> tuple[TokenLogprob, ...]:
    """The chunk's tokens with their probabilities, each with at most ``most`` others."""
    return tuple(
        TokenLogprob(
            token=entry.token,
            logprob=_finite(entry.logprob),
            bytes=entry.bytes,
            top_logprobs=tuple(
                TokenLogprob(token=top.token, logprob=_finite(top.logprob), bytes=top.bytes)
                for top in entry.top_logprobs[:most]
            ),
        )
        for entry in chunk.completion_probabilities
    )


def _biases(biases: Mapping[str, float]) -> tuple[tuple[int, float], ...]:
    found: list[tuple[int, float]] = []
    for key, bias in biases.items():
        if not (key.isascii() and key.isdigit() and len(key) <= 9):
            raise InvalidValue(
                f"'{key[:32]}' is not a token id: logit_bias takes ids as text, as in \"42\".",
                location=("body", "logit_bias"),
            )
        found.append((int(key), bias))
    return tuple(found)


def _finite(logprob: float | None) -> float:
    """Probability zero comes as null or as the lowest float; the API knows neither."""
    return -9999.0 if logprob is None else max(logprob, -9999.0)
