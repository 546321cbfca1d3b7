"""An engine process that is kept alive: started on demand, started again when it crashes."""

import asyncio
import math
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from interlingua.errors import ModelNotReady, Unavailable, UpstreamError
from interlingua.http import HttpCall, HttpReply, Transport

from .child import Child, Program, launch
from .restarts import Restarts

_DROPPED_WITHIN_S = 0.25


class Pace(msgspec.Struct, frozen=True):
    """The clock that restarts go by."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Alive(Protocol):
    """An engine that answers, as far as calls to it need."""

    transport: Transport
    headers: Mapping[str, str]

    @property
    def alive(self) -> bool: ...

    async def gone(self) -> None:
        """Return when it has ended, or when it plainly hasn't."""
        ...


class Engine(Protocol):
    """A process that answers calls, whoever started it."""

    #: Carries calls to whichever process is up, and waits while it is started again.
    transport: Transport

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def ready(self) -> Alive: ...
    def now(self) -> float: ...
    def rss_bytes(self) -> int | None: ...


class Launch(Protocol):
    """How a backend gets its engine; :class:`EngineProcess` is one way."""

    def __call__(
        self,
        name: str,
        *,
        program: str,
        settings: Mapping[str, object],
        fresh_connections: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Engine: ...


class EngineProcess:
    """A child that runs ``python -m program`` and serves HTTP on a private Unix socket.

    ``settings`` are sent to it as one line of JSON, with ``socket``, ``key`` and ``parent``
    added. ``environment`` is all it finds there besides a fixed ``PATH`` and ``LANG``.
    Calls through ``transport`` carry the key, and wait while the child is started again.
    """

    def __init__(  # noqa: PLR0913 - keyword-only, and each stands for itself
        self,
        name: str,
        *,
        program: str,
        settings: Mapping[str, object],
        fresh_connections: bool = False,
        load_timeout_s: float = 300.0,
        environment: Mapping[str, str] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._program = Program(
            name=name,
            module=program,
            settings=settings,
            environment=environment or {},
            fresh_connections=fresh_connections,
        )
        self._load_timeout_s = load_timeout_s
        self._pace = pace or Pace()
        self._restarts = Restarts(self._pace.now)
        self._opened = False
        self._child: Child | None = None
        self._starting: asyncio.Task[Child] | None = None
        self._watching: asyncio.Task[None] | None = None
        self.transport: Transport = EngineTransport(self)

    @property
    def running(self) -> bool:
        """Whether the child is up and has answered its probe."""
        return self._child is not None and self._child.alive

    @property
    def child(self) -> Child | None:
        """The child that is up, or was when last looked."""
        return self._child

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def headers(self) -> Mapping[str, str]:
        """What every call to the child must carry; ``transport`` adds it by itself."""
        return self._child.headers if self._child else {}

    def now(self) -> float:
        """The time that restarts go by."""
        return self._pace.now()

    def rss_bytes(self) -> int | None:
        """The child's resident memory; ``None`` while it is down, or where unknown."""
        if self._child is None:
            return None
        try:
            pages = Path(f"/proc/{self._child.pid}/statm").read_text(encoding="ascii").split()[1]
        except (OSError, IndexError):
            return None
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    async def open(self) -> None:
        """Start the child and wait until it answers. Idempotent; safe to call concurrently.

        Raises:
            ModelNotReady: it can't start, with its reason; or it failed too often of late.
        """
        self._opened = True
        await self.ready()

    async def ready(self) -> Child:
        """The child that answers, once it is up (again).

        Raises:
            ModelNotReady: as ``open``, or it isn't open.
        """
        if self._child is not None and self._child.alive:
            return self._child
        if not self._opened:
            raise ModelNotReady(f"The engine of '{self._program.name}' is not open.")
        if self._restarts.is_open:
            wait_s = math.ceil(self._restarts.wait_s)
            raise ModelNotReady(
                f"The engine of '{self._program.name}' keeps failing; it is tried again in "
                f"{wait_s} seconds.",
                retry_after_s=wait_s,
            )
        # Shielded: others wait for the same start, and the next call profits from it.
        return await asyncio.shield(self._begin())

    async def close(self) -> None:
        """End the child: ask, wait briefly, kill. Idempotent."""
        self._opened = False
        tasks = [task for task in (self._starting, self._watching) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        child, self._child = self._child, None
        if child is not None:
            await child.end()

    def _begin(self) -> asyncio.Task[Child]:
        """The start that is under way, or a new one after the wait that is due."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        return self._starting

    async def _start(self) -> Child:
        if (wait_s := self._restarts.wait_s) > 0:
            await self._pace.sleep(wait_s)
        try:
            child = await launch(self._program, self._load_timeout_s)
        except ModelNotReady:
            self._restarts.failed()
            raise
        self._restarts.succeeded()
        self._child = child
        self._watching = asyncio.create_task(self._watch(child))
        return child

    def _started(self, task: asyncio.Task[Child]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # retrieved, for nobody may be waiting

    async def _watch(self, child: Child) -> None:
        await child.ended()
        self._restarts.failed()
        self._child = None
        child.log_crash()
        await child.end()
        while self._opened and self._child is None:
            await asyncio.gather(self._begin(), return_exceptions=True)


class EngineTransport:
    """Carries calls to whichever process of an engine is up."""

    def __init__(self, process: Engine) -> None:
        self._process = process

    def send(
        self, call: HttpCall, *, timeout_s: float | None = None
    ) -> AbstractAsyncContextManager[HttpReply]:
        """See :meth:`interlingua.http.Transport.send`; raises ``ModelNotReady`` as well."""
        return self._exchange(call, timeout_s)

    async def close(self) -> None:
        """End the child."""
        await self._process.close()

    @asynccontextmanager
    async def _exchange(self, call: HttpCall, timeout_s: float | None) -> AsyncGenerator[HttpReply]:
        async with AsyncExitStack() as stack:
            child = await self._process.ready()
            began = self._process.now()
            try:
                reply = await stack.enter_async_context(_send(child, call, timeout_s))
            except (Unavailable, UpstreamError):
                # A child that is dying may still take the call, and drop it at once. The next
                # one gets it then; but not a call that went on for a while, which may be why
                # the child died.
                if self._process.now() - began > _DROPPED_WITHIN_S:
                    raise
                await child.gone()
                if child.alive:
                    raise
                child = await self._process.ready()
                reply = await stack.enter_async_context(_send(child, call, timeout_s))
            yield reply


def _send(
    child: Alive, call: HttpCall, timeout_s: float | None
) -> AbstractAsyncContextManager[HttpReply]:
    headers = {**call.headers, **child.headers}
    return child.transport.send(msgspec.structs.replace(call, headers=headers), timeout_s=timeout_s)
