"""How the supervisor and a worker talk: questions and answers, both ways, over one socket.

Rules of this file:
- A line of JSON is a message. Both ends are processes of this server; nobody else has the
  socket.
- An answer may take its time; others overtake it.
- When one end closes, every question that waits at the other fails.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from socket import socket

import msgspec

from interlingua.errors import ApiError, ModelNotReady, Unavailable

#: A config with a thousand deployments is a few hundred kB.
_LONGEST_LINE = 64 * 1024 * 1024

Answering = Callable[[str, object], Awaitable[object]]


class _Message(msgspec.Struct, omit_defaults=True):
    number: int
    #: A question; else it is an answer.
    ask: str | None = None
    value: object = None
    failure: str | None = None
    retry_after_s: int = 1
    not_ready: bool = False


class Channel:
    """One end. ``answering`` answers what the other end asks."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answering: Answering
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._answering = answering
        self._waiting: dict[int, asyncio.Future[object]] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._count = 0

    async def ask(self, what: str, given: object = None) -> object:
        """What the other end answers.

        Raises:
            ModelNotReady: its answer is that a model can't be used, and why.
            Unavailable: it failed otherwise, or has closed.
        """
        self._count += 1
        number = self._count
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send(_Message(number, ask=what, value=given))
            return await answer
        finally:
            self._waiting.pop(number, None)

    async def run(self) -> None:
        """Read until the other end closes."""
        decode = msgspec.json.Decoder(_Message).decode
        try:
            while line := await self._reader.readline():
                message = decode(line)
                if message.ask is not None:
                    task = asyncio.create_task(self._answer(message))
                    self._answers.add(task)
                    task.add_done_callback(self._answers.discard)
                else:
                    self._settle(message)
        except ConnectionError:
            pass  # as good as an end
        finally:
            self._fail_all()
            self.close()

    def close(self) -> None:
        """Say no more. Idempotent."""
        self._writer.close()

    def _send(self, message: _Message) -> None:
        if self._writer.is_closing():
            raise _closed()
        self._writer.write(msgspec.json.encode(message) + b"\n")

    async def _answer(self, question: _Message) -> None:
        assert question.ask is not None
        answer = _Message(question.number)
        try:
            answer.value = await self._answering(question.ask, question.value)
        except ApiError as error:
            answer.failure = error.message
            answer.not_ready = isinstance(error, ModelNotReady)
            answer.retry_after_s = error.retry_after_s or 1
        with contextlib.suppress(Unavailable):
            self._send(answer)

    def _settle(self, message: _Message) -> None:
        waiting = self._waiting.pop(message.number, None)
        if waiting is None or waiting.done():
            return  # whoever asked has left
        if message.failure is None:
            waiting.set_result(message.value)
            return
        failure = ModelNotReady if message.not_ready else Unavailable
        waiting.set_exception(failure(message.failure, retry_after_s=message.retry_after_s))

    def _fail_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(_closed())
                answer.exception()  # retrieved: its asker may be gone


async def channel(end: socket, answering: Answering, *, first: bytes = b"") -> Channel:
    """The channel over one end of a socket pair. ``first``: a line that goes before."""
    reader, writer = await asyncio.open_unix_connection(sock=end, limit=_LONGEST_LINE)
    writer.write(first)
    return Channel(reader, writer, answering)


def _closed() -> Unavailable:
    return Unavailable("The server is stopping or starting again.")
