"""An engine that another process of this server started, and answers calls of this one.

With several workers the supervisor owns the engines: a worker asks it where one answers, and
calls it there directly.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from interlingua.backends.transport import HttpTransport
from interlingua.errors import ApiError
from interlingua.http import Transport

from .process import Alive, EngineTransport


class Address(msgspec.Struct, frozen=True):
    """Where an engine answers, until it ends."""

    socket_path: str
    headers: dict[str, str]


#: Asks the owner of engines: ``where``, ``gone`` and ``leave``, each about a name.
Ask = Callable[[str, object], Awaitable[object]]


class LinkedEngine:
    """The engine of that name. Satisfies :class:`~.process.Engine`."""

    def __init__(self, name: str, ask: Ask, *, fresh_connections: bool = False) -> None:
        self._name = name
        self._ask = ask
        self._fresh = fresh_connections
        self._known: _Linked | None = None
        self._asking: asyncio.Task[Alive] | None = None
        self.transport: Transport = EngineTransport(self)

    async def open(self) -> None:
        """Have it started, and wait until it answers; raises as ``EngineProcess.open``."""
        await self.ready()

    async def close(self) -> None:
        """Say that nobody here needs it. Idempotent."""
        known, self._known = self._known, None
        if known is not None:
            await known.transport.close()
            await self._ask("leave", self._name)

    async def ready(self) -> Alive:
        """Where it answers now."""
        if self._known is not None and self._known.alive:
            return self._known
        if self._asking is None:
            self._asking = asyncio.create_task(self._find())
            self._asking.add_done_callback(self._found)
        return await asyncio.shield(self._asking)

    def now(self) -> float:
        return time.monotonic()

    def rss_bytes(self) -> int | None:
        """Its owner tells that."""
        return None

    async def _find(self) -> Alive:
        if self._known is not None:
            await self._known.transport.close()
        found = msgspec.convert(await self._ask("where", self._name), Address)
        self._known = _Linked(self._name, self._ask, found, fresh_connections=self._fresh)
        return self._known

    def _found(self, task: asyncio.Task[Alive]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # retrieved, for nobody may be waiting


class _Linked:
    """One life of it, as far as it is known here."""

    def __init__(self, name: str, ask: Ask, found: Address, *, fresh_connections: bool) -> None:
        self._name = name
        self._ask = ask
        self._path = found.socket_path
        self.alive = True
        self.headers: Mapping[str, str] = found.headers
        self.transport: Transport = HttpTransport(
            socket_path=found.socket_path, fresh_connections=fresh_connections
        )

    async def gone(self) -> None:
        """Ask its owner, after a call failed, whether it still lives."""
        try:
            self.alive = not await self._ask("gone", [self._name, self._path])
        except ApiError:
            self.alive = False
