"""Recording: a backend that keeps what another one was asked and said.

Rules of this file:
- An exchange is written when it has ended, whichever way, by one call of the system: a server
  that is killed leaves whole lines. Several processes may write to one file.
- Recording never changes an answer, nor fails one: what can't be written is logged.
"""

import asyncio
import errno
import fcntl
import logging
import os
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import quote

import msgspec

from interlingua.errors import ConfigError
from interlingua.types.chat import ChatDelta, ChatRequest
from interlingua.types.completions import CompletionDelta, CompletionRequest
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest

from .base import (
    Backend,
    CallContext,
    ChatBackend,
    CompletionBackend,
    EmbeddingsBackend,
    ImageEmbeddingsBackend,
)
from .exchanges import (
    HIDDEN,
    Ending,
    ExchangeLine,
    Line,
    Plain,
    Request,
    Served,
    canonical,
    failure,
    operation_of,
)

Delta = TypeVar("Delta", ChatDelta, CompletionDelta)

_log = logging.getLogger("interlingua.recording")
#: A shorter key is a word that texts may hold, and no secret.
_SHORTEST_SECRET = 8
_BEGINNING = b'{"kind":"server","format":'


class Recorder:
    """Appends lines to one file, which only its owner may read."""

    def __init__(self, path: Path, secrets: Iterable[str]) -> None:
        """``secrets`` are replaced wherever they stand in a line.

        Raises:
            ConfigError: the file can't be written, or is something else.
        """
        self.path = path
        self._secrets = [
            form
            for secret in secrets
            if len(secret) >= _SHORTEST_SECRET
            for form in {secret, quote(secret, safe="")}
        ]
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"--record: {path} can't be written: {error.strerror}.") from error
        try:
            _claim(self._file, path)
        except OSError as error:
            os.close(self._file)
            raise ConfigError(f"--record: {path} can't be written: {error.strerror}.") from error
        except ConfigError:
            os.close(self._file)
            raise

    def add(self, line: Line) -> None:
        self._append(line.written())

    def close(self) -> None:
        os.close(self._file)

    def _append(self, line: Plain) -> None:
        data = msgspec.json.encode(line)
        if any(_inside(secret) in data for secret in self._secrets):
            data = msgspec.json.encode(self._without_secrets(line))
        try:
            with _locked(self._file):
                _write(self._file, data + b"\n")
        except OSError as error:
            _log.error("an exchange was not recorded in %s: %s", self.path, error.strerror)

    def _without_secrets(self, value: object) -> object:
        match value:
            case str():
                for secret in self._secrets:
                    value = value.replace(secret, HIDDEN)
                return value
            case dict():
                return {
                    self._without_secrets(name): self._without_secrets(inner)
                    for name, inner in value.items()
                }
            case list() | tuple():
                return [self._without_secrets(inner) for inner in value]
            case _:
                return value


def _inside(secret: str) -> bytes:
    """As JSON writes it inside a text."""
    return msgspec.json.encode(secret)[1:-1]


def _write(file: int, line: bytes) -> None:
    """All of it or nothing."""
    before = os.fstat(file).st_size
    if os.write(file, line) < len(line):
        os.ftruncate(file, before)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def _locked(file: int) -> Iterator[None]:
    """Nobody else writes meanwhile."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _claim(file: int, path: Path) -> None:
    """Make the file our user's alone, and its end the end of a line."""
    with _locked(file):
        size = os.fstat(file).st_size
        if size and os.pread(file, len(_BEGINNING), 0) != _BEGINNING:
            raise ConfigError(f"--record: {path} is no recording. Name another file.")
        os.fchmod(file, 0o600)
        end = _end_of_lines(file, size)
        if end < size:
            _log.warning("%s ended in the middle of a line, which was removed", path)
            os.ftruncate(file, end)


def _end_of_lines(file: int, size: int, step: int = 64 * 1024) -> int:
    end = size
    while end > 0:
        start = max(end - step, 0)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


class Recording:
    """Answers as ``backend`` does, and records each exchange that reaches it."""

    def __init__(self, backend: Backend, served: Served, recorder: Recorder) -> None:
        """``served``, which says who it is, is recorded at once."""
        self.info = backend.info
        self.capabilities = backend.capabilities
        self.concurrency = backend.concurrency
        self._backend = backend
        self._served = served
        self._recorder = recorder
        recorder.add(served)

    async def open(self) -> None:
        await self._backend.open()

    async def close(self) -> None:
        await self._backend.close()

    async def chat(self, request: ChatRequest, call: CallContext) -> AsyncGenerator[ChatDelta]:
        take = _Take(request, self._served, self._recorder)
        deltas = cast(ChatBackend, self._backend).chat(request, call)
        async with aclosing(_recorded(deltas, take)) as recorded:
            async for delta in recorded:
                yield delta

    async def complete(
        self, request: CompletionRequest, call: CallContext
    ) -> AsyncGenerator[CompletionDelta]:
        take = _Take(request, self._served, self._recorder)
        deltas = cast(CompletionBackend, self._backend).complete(request, call)
        async with aclosing(_recorded(deltas, take)) as recorded:
            async for delta in recorded:
                yield delta

    async def embed(self, request: EmbeddingsRequest, call: CallContext) -> Embeddings:
        take = _Take(request, self._served, self._recorder)
        try:
            made = await cast(EmbeddingsBackend, self._backend).embed(request, call)
        except BaseException as error:
            take.broke(error)
            raise
        take.made(made)
        return made

    async def embed_images(self, request: ImageEmbeddingsRequest, call: CallContext) -> Embeddings:
        take = _Take(request, self._served, self._recorder)
        try:
            made = await cast(ImageEmbeddingsBackend, self._backend).embed_images(request, call)
        except BaseException as error:
            take.broke(error)
            raise
        take.made(made)
        return made


async def _recorded(deltas: AsyncGenerator[Delta], take: "_Take") -> AsyncGenerator[Delta]:
    try:
        async with aclosing(deltas):
            async for delta in deltas:
                take.heard(delta)
                yield delta
    except BaseException as error:
        take.broke(error)
        raise
    take.ended("whole")


class _Take:
    """One exchange while it lasts."""

    def __init__(self, request: Request, served: Served, recorder: Recorder) -> None:
        self._line = ExchangeLine(
            deployment=served.name,
            operation=operation_of(request),
            request=canonical(request, served),
            ending="whole",
            took_s=0,
        )
        self._recorder = recorder
        self._chat: list[tuple[float, ChatDelta]] = []
        self._completion: list[tuple[float, CompletionDelta]] = []
        self._whole = False
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    def heard(self, delta: ChatDelta | CompletionDelta) -> None:
        if isinstance(delta, ChatDelta):
            self._chat.append((self._now(), delta))
        else:
            self._completion.append((self._now(), delta))
        # Usage comes last: who leaves after it has heard all.
        self._whole = delta.usage is not None

    def made(self, embeddings: Embeddings) -> None:
        self._add(ending="whole", vectors=embeddings.vectors, usage=embeddings.usage)

    def broke(self, error: BaseException) -> None:
        failed = failure(error)
        if failed is not None:
            self._add(ending="failed", error=failed)
        else:
            self.ended("whole" if self._whole else "cancelled")

    def ended(self, ending: Ending) -> None:
        self._add(ending=ending)

    def _add(self, **fields: object) -> None:
        heard = {"chat": tuple(self._chat), "completion": tuple(self._completion)}
        line = msgspec.structs.replace(self._line, took_s=self._now(), **heard, **fields)
        self._recorder.add(line)

    def _now(self) -> float:
        return round(self._loop.time() - self._began, 6)
