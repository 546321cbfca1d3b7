"""What its operator may tell a running server: by signal, or by command with an answer.

Rules of this file:
- The command socket lies in a directory that only this user can enter; a file in the data
  directory says where. Nothing of it is reachable over the network.
- One thing at a time; whatever fails leaves the server as it was and is told.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from interlingua.errors import ApiError, ConfigError, ModelFileError

_log = logging.getLogger("interlingua.server")

Command = Literal["reload", "restart"]
Commands = Mapping[Command, Callable[[], Awaitable[str]]]

_SIGNALS: Mapping[signal.Signals, Command] = {
    signal.SIGHUP: "reload",
    signal.SIGUSR2: "restart",
}
_LONGEST_LINE = 4096


class Running(msgspec.Struct, frozen=True):
    """A server of this data directory, as its file says."""

    url: str
    pid: int
    socket: str


class Told(msgspec.Struct, frozen=True):
    """What came of a command."""

    done: bool
    said: str


def running(data_dir: Path) -> list[Running]:
    """The servers that say they run here; one that was killed may still be among them."""
    found = []
    for file in sorted((data_dir / "run").glob("*.json")):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found.append(msgspec.json.decode(file.read_bytes(), type=Running))
    return found


@contextlib.asynccontextmanager
async def administered(data_dir: Path, url: str, commands: Commands) -> AsyncIterator[None]:
    """Heed signals and the command socket for as long as the block runs."""
    lock = asyncio.Lock()

    async def carry_out(command: Command) -> Told:
        async with lock:
            told = await _carried_out(commands, command)
        _log.log(logging.INFO if told.done else logging.ERROR, "%s: %s", command, told.said)
        return told

    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[Told]] = set()

    def heed(command: Command) -> None:
        task = asyncio.create_task(carry_out(command))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    for number, command in _SIGNALS.items():
        loop.add_signal_handler(number, heed, command)
    try:
        async with _listening(data_dir, url, carry_out):
            yield
    finally:
        for number in _SIGNALS:
            # Ignored, not as before: a late one must not end a server that is ending well.
            signal.signal(number, signal.SIG_IGN)
        for task in tasks:
            task.cancel()


async def _carried_out(commands: Commands, command: Command) -> Told:
    action = commands.get(command)
    if action is None:
        return Told(done=False, said="A server with one worker can't be restarted in place.")
    try:
        return Told(done=True, said=await action())
    except (ApiError, ConfigError, ModelFileError) as error:
        return Told(done=False, said=f"{error} The server goes on as before.")


@contextlib.asynccontextmanager
async def _listening(
    data_dir: Path, url: str, carry_out: Callable[[Command], Awaitable[Told]]
) -> AsyncIterator[None]:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ValueError, msgspec.DecodeError):
            line = await reader.readline()
            command = msgspec.json.decode(line, type=Command)
            writer.write(msgspec.json.encode(await carry_out(command)) + b"\n")
            await writer.drain()
        writer.close()

    directory = Path(tempfile.mkdtemp(prefix="il-"))  # mkdtemp makes it 0700
    path = directory / "admin.sock"
    file = data_dir / "run" / f"{os.getpid()}.json"
    try:
        server = await asyncio.start_unix_server(converse, path, limit=_LONGEST_LINE)
        async with server:
            with contextlib.suppress(OSError):
                # A data directory that can't be written to costs the command, not the server.
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                file.write_bytes(msgspec.json.encode(Running(url, os.getpid(), str(path))))
            yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
        shutil.rmtree(directory, ignore_errors=True)
