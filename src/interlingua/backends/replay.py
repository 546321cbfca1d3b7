"""Replay: a backend that answers with what was recorded.

Rules of this file:
- It needs no model, no key and no network, and answers the same request in the same way.
- Equal requests are answered in the order in which they were recorded; the last answer is
  then given again and again.
- The file is indexed when it is opened and read when an answer is needed: memory holds
  digests only.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import msgspec

from interlingua.errors import ConfigError, NotRecorded, UpstreamError
from interlingua.types.chat import ChatDelta, ChatRequest
from interlingua.types.completions import CompletionDelta, CompletionRequest
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import Operation
from interlingua.types.usage import Usage

from .base import CallContext
from .exchanges import (
    FORMAT,
    ExchangeLine,
    Line,
    Plain,
    Request,
    Served,
    ServerLine,
    canonical,
    differences,
    key,
    operation_of,
)

Delta = TypeVar("Delta", ChatDelta, CompletionDelta)
Timing = Literal["instant", "real"]

_CONCURRENCY = 256
#: How many differences an error names.
_MOST_NAMED = 5
_WIRE_NAMES = {"prompts": "prompt", "inputs": "input"}
_LINES: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


class _Head(msgspec.Struct, frozen=True):
    kind: str = ""
    format: int = FORMAT


class _Place(msgspec.Struct, frozen=True):
    """Where an exchange stands in the file, and what its request is made of."""

    line: int
    offset: int
    length: int
    pieces: frozenset[int]


class Exchanges:
    """A file of recorded exchanges, by what was asked."""

    def __init__(self, path: Path) -> None:
        """Read through the whole file once.

        Raises:
            ConfigError: it can't be read, or a line of it makes no sense.
        """
        self._path = path
        self._server: ServerLine | None = None
        self._served: dict[str, Served] = {}
        self._places: dict[bytes, list[_Place]] = {}
        self._turns: dict[bytes, int] = {}
        self._by_operation: dict[tuple[str, Operation], list[_Place]] = {}
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise ConfigError(
                f"--replay: {path} can't be read: {error.strerror}. A recording is made with "
                "`interlingua serve --record FILE`."
            ) from error
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    @property
    def server(self) -> ServerLine:
        """The settings of the server that was recorded last."""
        assert self._server is not None
        return self._server

    @property
    def served(self) -> Sequence[Served]:
        """Every deployment that was served, as it was last."""
        return tuple(self._served.values())

    def close(self) -> None:
        self._file.close()

    def find(self, request: Request, served: Served) -> ExchangeLine:
        """The next recorded exchange of this request.

        Raises:
            NotRecorded: there is none; says what the nearest one has otherwise.
        """
        operation = operation_of(request)
        asked = canonical(request, served)
        wanted = key(served.name, operation, asked)
        places = self._places.get(wanted)
        if places is None:
            raise self._not_recorded(served.name, operation, asked)
        turn = self._turns.get(wanted, 0)
        self._turns[wanted] = turn + 1
        return self._exchange(places[min(turn, len(places) - 1)])

    def _read(self) -> None:
        offset = 0
        for number, data in enumerate(self._file, 1):
            line = self._line(number, data)
            match line:
                case ServerLine():
                    self._server = line
                case Served():
                    self._served[line.name.lower()] = line
                case ExchangeLine():
                    pieces = frozenset(_pieces_of(line.request))
                    self._index(line, _Place(number, offset, len(data), pieces))
            offset += len(data)
        if not self._served:
            raise ConfigError(
                f"--replay: {self._path} is empty: nothing was recorded. A recording is made "
                "with `interlingua serve --record FILE`."
            )

    def _line(self, number: int, data: bytes) -> Line:
        if not data.endswith(b"\n"):
            raise self._damaged(number, "it ends in its middle")
        try:
            head = msgspec.json.decode(data, type=_Head)
            if head.format > FORMAT:
                raise ConfigError(
                    f"--replay: {self._path}, line {number}: it has the format {head.format}, "
                    f"and this version reads up to {FORMAT}. Replay it with a newer one."
                )
            line = _LINES.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._damaged(number, str(error)) from error
        if self._server is None and not isinstance(line, ServerLine):
            raise self._damaged(number, "a recording begins with the server's settings")
        return line

    def _damaged(self, number: int, reason: str) -> ConfigError:
        return ConfigError(
            f"--replay: {self._path}, line {number} is no line of a recording: {reason}. Delete "
            "the line, or record again."
        )

    def _index(self, line: ExchangeLine, place: _Place) -> None:
        name = line.deployment.lower()
        if name not in self._served:
            raise self._damaged(place.line, f"no deployment {line.deployment!r} was served")
        wanted = key(name, line.operation, line.request)
        self._places.setdefault(wanted, []).append(place)
        self._by_operation.setdefault((name, line.operation), []).append(place)

    def _exchange(self, place: _Place) -> ExchangeLine:
        self._file.seek(place.offset)
        line = _LINES.decode(self._file.read(place.length))
        assert isinstance(line, ExchangeLine)
        return line

    def _not_recorded(self, deployment: str, operation: Operation, asked: Plain) -> NotRecorded:
        remedy = "Record it with `interlingua serve --record`."
        candidates = self._by_operation.get((deployment.lower(), operation))
        if not candidates:
            return NotRecorded(
                f"The recording has no exchange of the operation {operation!r} with the "
                f"deployment {deployment!r}. {remedy}"
            )
        pieces = frozenset(_pieces_of(asked))
        nearest = max(candidates, key=lambda place: len(place.pieces & pieces))
        found = list(differences(self._exchange(nearest).request, asked))
        named = [_wire_path(path) for path, _ in found]
        told = ", ".join(
            f"{path} ({said})" if said else path
            for path, (_, said) in zip(named[:_MOST_NAMED], found, strict=False)
        )
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        return NotRecorded(
            f"The recording has no such request to the deployment {deployment!r}. The nearest, "
            f"of line {nearest.line}, differs in {told}{more}. {remedy}",
            location=("body", *named[:1]),
        )


def _wire_path(path: str) -> str:
    """A path of the neutral request as the wire spells it."""
    path = path.removeprefix("extra.")
    for name, wire in _WIRE_NAMES.items():
        if path.startswith(name):
            return wire + path.removeprefix(name)
    return path


def _pieces_of(request: Plain) -> Iterator[int]:
    """What the request is made of, each a number: what two have in common is near."""
    for name, value in request.items():
        for place, piece in enumerate(value if isinstance(value, list) else [value]):
            yield hash(msgspec.json.encode([name, place, piece], order="sorted"))


class Replay:
    """Answers as one deployment of the recording did."""

    def __init__(self, served: Served, exchanges: Exchanges, *, timing: Timing = "instant") -> None:
        self.info = served.info
        self.capabilities = served.capabilities
        self.concurrency = _CONCURRENCY
        self._served = served
        self._exchanges = exchanges
        self._timing: Timing = timing

    async def open(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """The file is its reader's."""

    async def chat(self, request: ChatRequest, call: CallContext) -> AsyncGenerator[ChatDelta]:
        del call
        began = asyncio.get_running_loop().time()
        exchange = self._exchanges.find(request, self._served)
        for at_s, delta in exchange.chat:
            await self._wait(began + at_s)
            yield delta
        await self._end(exchange, began)

    async def complete(
        self, request: CompletionRequest, call: CallContext
    ) -> AsyncGenerator[CompletionDelta]:
        del call
        began = asyncio.get_running_loop().time()
        exchange = self._exchanges.find(request, self._served)
        for at_s, delta in exchange.completion:
            await self._wait(began + at_s)
            yield delta
        await self._end(exchange, began)

    async def embed(self, request: EmbeddingsRequest, call: CallContext) -> Embeddings:
        del call
        return await self._vectors(request)

    async def embed_images(self, request: ImageEmbeddingsRequest, call: CallContext) -> Embeddings:
        del call
        return await self._vectors(request)

    async def _vectors(self, request: EmbeddingsRequest | ImageEmbeddingsRequest) -> Embeddings:
        began = asyncio.get_running_loop().time()
        exchange = self._exchanges.find(request, self._served)
        await self._end(exchange, began)
        return Embeddings(vectors=exchange.vectors, usage=exchange.usage or Usage())

    async def _end(self, exchange: ExchangeLine, began: float) -> None:
        """As it ended then: whole, failed, or with nobody there to hear more."""
        await self._wait(began + exchange.took_s)
        if exchange.error is not None:
            raise exchange.error.error()
        if exchange.ending == "cancelled":
            raise UpstreamError("The recording ends here: its caller had left.")

    async def _wait(self, until: float) -> None:
        """Others run between two deltas in any case."""
        left_s = until - asyncio.get_running_loop().time() if self._timing == "real" else 0
        await asyncio.sleep(max(left_s, 0))
