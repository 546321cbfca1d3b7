"""One call from its neutral request to its deltas: find, negotiate, wait, answer.

Rules of this file:
- What is returned has already said something: failures before the first delta that speaks
  are raised, so that they keep their true status.
- Closing ``Answer.deltas`` cancels the work and frees the call's place.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Generic, TypeVar, cast

import msgspec

from interlingua.backends.base import (
    CallContext,
    ChatBackend,
    CompletionBackend,
    EmbeddingsBackend,
    ImageEmbeddingsBackend,
)
from interlingua.errors import ApiError, DeadlineExceeded, UpstreamError
from interlingua.types.chat import ChatDelta, ChatRequest
from interlingua.types.completions import CompletionDelta, CompletionRequest
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import ExtraParameters, ModelInfo

from .changes import Changes
from .deployments import Deployment
from .directory import Directory, Route
from .meter import CallMeter
from .negotiate import Request, negotiate

Delta = TypeVar("Delta", ChatDelta, CompletionDelta)

#: How often idle serverless models are looked for.
_IDLE_CHECK_S = 5.0


class Answer(msgspec.Struct, Generic[Delta], frozen=True):
    """A streamed answer that has begun. Whoever gets it closes ``deltas``."""

    deployment: Deployment
    changes: Changes
    deltas: AsyncGenerator[Delta]


class Vectors(msgspec.Struct, frozen=True):
    """Embeddings, and who made them."""

    deployment: Deployment
    changes: Changes
    embeddings: Embeddings


class Gateway:
    """The five operations over a server's deployments."""

    def __init__(
        self,
        deployments: Sequence[Deployment],
        endpoints: Mapping[str, Mapping[str, float]] = {},
    ) -> None:
        self.directory = Directory(deployments, endpoints)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def deployments(self) -> tuple[Deployment, ...]:
        return self.directory.deployments

    async def open(self) -> None:
        """Begin to load the managed deployments, and to unload idle serverless ones."""
        for deployment in self.deployments:
            if deployment.limits.compute == "managed":
                self._spawn(_open_managed(deployment))
        self._spawn(self._close_idle())

    async def close(self, deployments: Sequence[Deployment] | None = None) -> None:
        """Stop all deployments, or these alone where others live on in another gateway. Calls
        under way should have been drained before.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        stopped = self.deployments if deployments is None else deployments
        await asyncio.gather(*(deployment.close() for deployment in stopped))

    def info(self, route: Route, model: str | None, *, meter: CallMeter | None = None) -> ModelInfo:
        """Who would answer a call of this address and model."""
        return self._find(route, model, meter).info

    def check(self, request: Request, route: Route, policy: ExtraParameters | None) -> None:
        """Refuse what a call with this request would be refused for before it begins.

        Raises:
            ApiError: nobody here answers it, or not as it is asked.
        """
        negotiate(request, self.directory.find(route, request.model).capabilities, policy)

    def fetches_images(self, request: Request, route: Route) -> bool:
        """Whether all that may answer fetch images by their URLs themselves.

        Raises:
            ApiError: nobody here answers it.
        """
        may = self.directory.candidates(route, request.model)
        return all(deployment.capabilities.fetches_images for deployment in may)

    async def chat(
        self,
        request: ChatRequest,
        route: Route,
        policy: ExtraParameters | None,
        call: CallContext,
        *,
        meter: CallMeter | None = None,
    ) -> Answer[ChatDelta]:
        deployment, request, changes = self._settle(request, route, policy, meter)
        backend = cast(ChatBackend, deployment.backend)
        return await _begun(deployment, changes, backend.chat(request, call), call)

    async def complete(
        self,
        request: CompletionRequest,
        route: Route,
        policy: ExtraParameters | None,
        call: CallContext,
        *,
        meter: CallMeter | None = None,
    ) -> Answer[CompletionDelta]:
        deployment, request, changes = self._settle(request, route, policy, meter)
        backend = cast(CompletionBackend, deployment.backend)
        return await _begun(deployment, changes, backend.complete(request, call), call)

    async def embed(
        self,
        request: EmbeddingsRequest,
        route: Route,
        policy: ExtraParameters | None,
        call: CallContext,
        *,
        meter: CallMeter | None = None,
    ) -> Vectors:
        deployment, request, changes = self._settle(request, route, policy, meter)
        backend = cast(EmbeddingsBackend, deployment.backend)
        async with deployment.place(call), _in_time(call):
            return Vectors(deployment, changes, await backend.embed(request, call))

    async def embed_images(
        self,
        request: ImageEmbeddingsRequest,
        route: Route,
        policy: ExtraParameters | None,
        call: CallContext,
        *,
        meter: CallMeter | None = None,
    ) -> Vectors:
        deployment, request, changes = self._settle(request, route, policy, meter)
        backend = cast(ImageEmbeddingsBackend, deployment.backend)
        async with deployment.place(call), _in_time(call):
            return Vectors(deployment, changes, await backend.embed_images(request, call))

    def _find(self, route: Route, model: str | None, meter: CallMeter | None) -> Deployment:
        deployment = self.directory.find(route, model)
        if meter is not None:
            meter.routed(deployment.name)
        return deployment

    def _settle(
        self,
        request: Request,
        route: Route,
        policy: ExtraParameters | None,
        meter: CallMeter | None,
    ) -> tuple[Deployment, Request, Changes]:
        """Who answers, what of the request it can honour, and what was changed for that."""
        deployment = self._find(route, request.model, meter)
        request, changes = negotiate(request, deployment.capabilities, policy)
        return deployment, request, changes

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close_idle(self) -> None:
        while True:
            await asyncio.sleep(_IDLE_CHECK_S)
            for deployment in self.deployments:
                await deployment.close_if_idle()


async def _open_managed(deployment: Deployment) -> None:
    """A failure is kept in ``Deployment.failure``; the next call or probe tries again."""
    with contextlib.suppress(ApiError):
        await deployment.open()


async def _gated(
    deployment: Deployment, deltas: AsyncGenerator[Delta], call: CallContext
) -> AsyncGenerator[Delta]:
    """First one delta to say that the gate is open, then all of them.

    A generator that was never started runs no ``finally``; with that first step behind it,
    closing this one always frees the place and cancels the work.
    """
    loop = asyncio.get_running_loop()
    deadline = call.deadline
    try:
        async with deployment.place(call):
            head: list[Delta] = []
            async for delta in deltas:
                head.append(delta)
                if delta.speaks:
                    break
            if not head or not head[-1].speaks:
                raise UpstreamError(f"The deployment {deployment.name!r} ended without an answer.")
            yield head[0]
            for delta in head:
                yield delta
            async for delta in deltas:
                if deadline is not None and loop.time() > deadline:
                    raise DeadlineExceeded("The answer took longer than call_timeout_s.")
                yield delta
    finally:
        await deltas.aclose()


async def _begun(
    deployment: Deployment, changes: Changes, deltas: AsyncGenerator[Delta], call: CallContext
) -> Answer[Delta]:
    """The answer, once it has said something."""
    deltas = _gated(deployment, deltas, call)
    try:
        async with _in_time(call):
            await anext(deltas)
    except BaseException:
        await deltas.aclose()
        raise
    return Answer(deployment, changes, deltas)


@contextlib.asynccontextmanager
async def _in_time(call: CallContext) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(call.deadline):
            yield
    except TimeoutError:
        raise DeadlineExceeded("No answer came within call_timeout_s.") from None
