"""One life of an engine's process: spawned, probed, ended.

Rules of this file:
- The child finds no secret in its environment or arguments; its key comes on standard input.
- Its socket lies in a directory that only this user can enter, and is new with every start,
  like its key.
- It is started from the main thread: it dies with the thread that started it
  (see :mod:`.lifeline`).
- What it writes to standard error is kept in a short ring and logged when it crashes.
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import msgspec

from interlingua.backends.transport import HttpTransport
from interlingua.errors import ApiError, ModelNotReady
from interlingua.http import HttpCall, Transport

_log = logging.getLogger(__name__)

_PROBE_EVERY_S = 0.02
_LEAVE_WITHIN_S = 2.0
#: How long a death that the kernel is just reporting is waited for.
_NOTICE_WITHIN_S = 0.5
_LONGEST_LINE = 300
_LAST_LINES = 8
#: A socket's path holds at most 107 bytes on Linux, 103 on macOS.
_LONGEST_PATH = 103


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What a child runs. ``name`` is the deployment's, for messages."""

    name: str
    module: str
    settings: Mapping[str, object]
    environment: Mapping[str, str] = {}
    fresh_connections: bool = False


class _Words(msgspec.Struct, frozen=True):
    """The line in which a child says why it can't start."""

    error: str


class Child:
    """A process that runs ``python -m module`` and serves HTTP on the socket it is given."""

    def __init__(self, program: Program, process: Process, directory: Path, key: str) -> None:
        self._program = program
        self._process = process
        self._directory = directory
        self.headers: Mapping[str, str] = {"authorization": f"Bearer {key}"}
        self.socket_path = str(directory / "s.sock")
        self.transport: Transport = HttpTransport(
            socket_path=self.socket_path, fresh_connections=program.fresh_connections
        )
        self._reason: str | None = None
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        assert process.stdout
        assert process.stderr
        self._readers = asyncio.gather(
            self._read_reason(process.stdout), self._read_log(process.stderr)
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ended(self) -> None:
        """Return when the process has ended."""
        await self._process.wait()

    async def gone(self) -> None:
        """Return when the process has ended, or when it plainly hasn't."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _NOTICE_WITHIN_S)

    async def ready(self, timeout_s: float) -> None:
        """Return when the child answers ``GET /health`` with 200.

        Raises:
            ModelNotReady: it ended, or ``timeout_s`` passed before it did.
        """
        call = HttpCall(method="GET", path="/health", headers=self.headers)
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._answers(call):
                    if not self.alive:
                        raise ModelNotReady(await self._why())
                    await asyncio.sleep(_PROBE_EVERY_S)
        except TimeoutError as error:
            raise ModelNotReady(
                f"The model of '{self._program.name}' was not loaded within {timeout_s:g} seconds."
            ) from error

    async def end(self) -> None:
        """Ask the process to end, wait briefly, kill it. Idempotent."""
        await self.transport.close()
        if self.alive:
            assert self._process.stdin
            self._process.stdin.close()
            try:
                await asyncio.wait_for(self._process.wait(), _LEAVE_WITHIN_S)
            except TimeoutError:
                self._process.kill()
        await self._process.wait()
        await self._readers
        shutil.rmtree(self._directory, ignore_errors=True)

    def kill(self) -> None:
        """End the process at once, without waiting for it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def log_crash(self) -> None:
        """Put on record that the child ended by itself, with its last words."""
        _log.warning(
            "The engine of '%s' ended by itself (%s). %s",
            self._program.name,
            self._process.returncode,
            " | ".join(self._last_lines),
        )

    async def _answers(self, call: HttpCall) -> bool:
        try:
            async with self.transport.send(call, timeout_s=5) as reply:
                return reply.status == 200
        except ApiError:
            return False  # not listening yet, or gone

    async def _why(self) -> str:
        await self._process.wait()
        await self._readers
        if self._reason is not None:
            return f"The model of '{self._program.name}' can't be loaded: {self._reason}"
        last = self._last_lines[-1] if self._last_lines else "it gave no reason"
        code = self._process.returncode
        return f"The engine of '{self._program.name}' ended at start with {code}: {last}"

    async def _read_reason(self, stream: asyncio.StreamReader) -> None:
        while line := await _line(stream):
            with contextlib.suppress(msgspec.DecodeError):
                self._reason = msgspec.json.decode(line, type=_Words).error

    async def _read_log(self, stream: asyncio.StreamReader) -> None:
        while line := await _line(stream):
            if text := line[:_LONGEST_LINE].decode(errors="replace").strip():
                self._last_lines.append(text)


async def launch(program: Program, timeout_s: float) -> Child:
    """Start a child and wait until it answers.

    Raises:
        ModelNotReady: it didn't come up; the message says why.
    """
    directory = Path(tempfile.mkdtemp(prefix="il-"))  # mkdtemp makes it 0700
    try:
        child = await _spawn(program, directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    try:
        await child.ready(timeout_s)
    except BaseException:
        child.kill()  # while it loads it can't hear
        await child.end()
        raise
    return child


async def _spawn(program: Program, directory: Path) -> Child:
    socket = str(directory / "s.sock")
    if len(os.fsencode(socket)) > _LONGEST_PATH:
        raise ModelNotReady(f"A socket's path can't be as long as {socket}: shorten TMPDIR.")
    key = secrets.token_urlsafe(24)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", program.module),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", **program.environment},
            # Ctrl-C in a terminal goes to the server, which then ends its engines in order.
            start_new_session=True,
        )
    except OSError as error:
        raise ModelNotReady(f"The engine of '{program.name}' can't be started: {error}") from error
    settings = {**program.settings, "socket": socket, "key": key, "parent": os.getpid()}
    assert process.stdin
    process.stdin.write(json.dumps(settings).encode() + b"\n")
    return Child(program, process, directory, key)


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line, or as much of an overlong one as is at hand; empty at the end."""
    try:
        return await stream.readline()
    except ValueError:
        return b"\n"  # an overlong line, which readline has dropped
