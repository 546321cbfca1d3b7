"""A deployment: a named backend with its life cycle and its places.

Rules of this file:
- *Serverless* is loaded on the first call and unloaded when idle; *managed* is always on.
- Whoever comes while a model loads waits for the same load; leaving doesn't stop it.
- A call holds a place from before its first token to after its last; at most
  ``max_waiting`` wait for one, and one more is refused at once.
- All of it runs on one event loop.
"""

import asyncio
import contextlib
from types import TracebackType
from typing import Literal

import msgspec

from interlingua.backends.base import Backend, WholeBackend
from interlingua.errors import ApiError, ModelNotReady, QueueFull
from interlingua.types.models import Capabilities, ModelInfo

from .circuit import Circuit, RetryBudget
from .places import Places

Compute = Literal["serverless", "managed"]
State = Literal["cold", "loading", "ready", "failed"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """When a deployment's model is in memory, and how long calls wait for it."""

    compute: Compute = "serverless"
    #: A serverless model is unloaded after this long without a call.
    idle_s: float = 900.0
    max_waiting: int = 256
    load_timeout_s: float = 300.0


DEFAULT_LIMITS = Limits()


class Deployment:
    """A named model ready to answer, or that can be made so."""

    def __init__(
        self,
        *,
        name: str,
        backend: Backend,
        aliases: tuple[str, ...] = (),
        also_known_as: tuple[str, ...] = (),
        limits: Limits = DEFAULT_LIMITS,
        fallback: tuple[str, ...] = (),
    ) -> None:
        """``also_known_as``, the names on the model's card, route here unless another
        deployment claims them; ``fallback`` names those that stand in for it.
        """
        self.name = name
        self.aliases = aliases
        self.also_known_as = also_known_as
        self.limits = limits
        self.fallback = fallback
        self.backend = backend
        #: The backend, if it gets whole answers whole.
        self.whole = backend if isinstance(backend, WholeBackend) else None
        self.circuit = Circuit(name)
        self.budget = RetryBudget()
        #: Calls that went on to another deployment when this one had failed them.
        self.fallbacks = 0
        #: Calls that its limit, or their caller's, refused here.
        self.limited = 0
        self.failure: ApiError | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._opened = False
        self._places: Places | None = None
        self._waiting = 0
        self._calls = 0
        self._last_used = 0.0

    @property
    def info(self) -> ModelInfo:
        return self.backend.info

    @property
    def capabilities(self) -> Capabilities:
        return self.backend.capabilities

    @property
    def state(self) -> State:
        if self._opening is not None:
            return "loading"
        if self._opened:
            return "ready"
        return "failed" if self.failure is not None else "cold"

    @property
    def calls_under_way(self) -> int:
        """Those that wait, for the model or for a place, and those that are answered."""
        return self._calls

    def place(self) -> "_Place":
        """Hold a place for one call inside; loads the model if need be.

        Raises:
            ModelNotReady: the model can't be loaded.
            QueueFull: too many calls wait already.
        """
        return _Place(self)

    async def enter(self) -> Places:
        """For :meth:`place`: wait for the model and a place."""
        self._calls += 1
        try:
            await self.open()
            places = self._places
            assert places is not None
            if not places.taken():
                await self._wait(places)
        except BaseException:
            self.leave()
            raise
        return places

    def leave(self) -> None:
        """For :meth:`place`: the call is over."""
        self._calls -= 1
        self._last_used = asyncio.get_running_loop().time()

    async def _wait(self, places: Places) -> None:
        if self._waiting >= self.limits.max_waiting:
            raise QueueFull(
                f"{self._waiting} calls already wait for the deployment {self.name!r}, and no "
                "more may (max_waiting). Try again later."
            )
        self._waiting += 1
        try:
            await places.wait()
        finally:
            self._waiting -= 1

    async def open(self) -> None:
        """Load the model unless it is loaded; callers share one load.

        Raises:
            ModelNotReady: it can't be loaded, or not in time.
        """
        if self._closing is not None:
            await asyncio.shield(self._closing)
        if self._opened:
            # An engine that died since is started again, or says why it can't be.
            await self.backend.open()
            return
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name=f"open {self.name}")
            self._opening.add_done_callback(_retrieve)
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self.limits.load_timeout_s):
                await self.backend.open()
        except TimeoutError:
            await self.backend.close()
            self.failure = ModelNotReady(
                f"The model of the deployment {self.name!r} was not loaded within "
                f"{self.limits.load_timeout_s:g} s (load_timeout_s)."
            )
            raise self.failure from None
        except ApiError as error:
            self.failure = error
            raise
        else:
            self.failure = None
            self._places = Places(self.backend.concurrency)
            self._opened = True
            self._last_used = asyncio.get_running_loop().time()
        finally:
            self._opening = None

    async def close(self) -> None:
        """Unload the model. Calls that come meanwhile load it again afterwards."""
        opening = self._opening
        if opening is not None:
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError, ApiError):
                await opening
        if self._closing is None:
            self._opened = False
            self._closing = asyncio.create_task(self._close(), name=f"close {self.name}")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            await self.backend.close()
        finally:
            self._closing = None

    async def close_if_idle(self) -> None:
        """Unload a serverless model that nobody has called for ``idle_s``."""
        idle_s = asyncio.get_running_loop().time() - self._last_used
        unused = self._opened and not self._calls and idle_s >= self.limits.idle_s
        if unused and self.limits.compute == "serverless":
            await self.close()


class _Place:
    """One call's place. A class, since a generator's context costs each call thrice as much."""

    __slots__ = ("_deployment", "_places")

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    async def __aenter__(self) -> None:
        self._places = await self._deployment.enter()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._places.release()
        self._deployment.leave()


def _retrieve(task: asyncio.Task[None]) -> None:
    """Take a failed load's error even where every caller has left."""
    if not task.cancelled():
        task.exception()
