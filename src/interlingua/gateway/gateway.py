"""One call from its neutral request to its deltas: route, wait, answer.

Rules of this file:
- What is returned has already said something: failures before the first delta that speaks
  are raised, so that they keep their true status.
- Closing ``Answer.deltas``, or cancelling a whole answer, cancels the work and frees the
  call's place.
- Whoever calls also ends the call when its time is up; there is no second clock here.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Generic, TypeVar, cast

import msgspec

from interlingua.backends.base import (
    CallContext,
    ChatBackend,
    CompletionBackend,
    EmbeddingsBackend,
    ImageEmbeddingsBackend,
)
from interlingua.errors import ApiError, UpstreamError
from interlingua.types.chat import ChatCompletion, ChatDelta, ChatRequest
from interlingua.types.chat_fold import fold_chat, fold_completion
from interlingua.types.completions import Completion, CompletionDelta, CompletionRequest
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import ExtraParameters, ModelInfo

from .changes import Changes
from .choice import Choose
from .deployments import Deployment
from .directory import Directory, Route
from .meter import CallMeter
from .negotiate import Request, negotiate
from .routing import Router

Delta = TypeVar("Delta", ChatDelta, CompletionDelta)
Spoken = TypeVar("Spoken", ChatCompletion, Completion)
Made = TypeVar("Made", ChatCompletion, Completion, Embeddings)

#: How often idle serverless models are looked for.
_IDLE_CHECK_S = 5.0


class Deltas(Generic[Delta]):
    """A deployment's deltas, and the place that is held for them until they are closed. A
    class, since one generator more would be a tenth of what a delta costs.
    """

    __slots__ = ("_deltas", "_deployment", "_head", "_place")

    def __init__(self, deployment: Deployment, deltas: AsyncGenerator[Delta]) -> None:
        self._deployment = deployment
        self._deltas: AsyncGenerator[Delta] = deltas
        #: Those that came until one spoke.
        self._head: deque[Delta] = deque()
        self._place: AbstractAsyncContextManager[None] | None = None

    async def begin(self) -> None:
        """Take the place, and wait until a delta speaks.

        Raises:
            ApiError: there is no place, or no answer.
        """
        place = self._deployment.place()
        await place.__aenter__()
        self._place = place
        async for delta in self._deltas:
            self._head.append(delta)
            if delta.speaks:
                return
        raise _silent(self._deployment)

    def __aiter__(self) -> "Deltas[Delta]":
        return self

    def __anext__(self) -> Awaitable[Delta]:
        return self._said() if self._head else self._deltas.__anext__()

    async def _said(self) -> Delta:
        return self._head.popleft()

    async def aclose(self) -> None:
        """Cancel what is under way, and free the place. Idempotent."""
        place, self._place = self._place, None
        try:
            await self._deltas.aclose()
        finally:
            if place is not None:
                await place.__aexit__(None, None, None)


class Answer(msgspec.Struct, Generic[Delta], frozen=True):
    """A streamed answer that has begun. Whoever gets it closes ``deltas``."""

    deployment: Deployment
    changes: Changes
    deltas: Deltas[Delta]


class Whole(msgspec.Struct, Generic[Made], frozen=True):
    """A whole answer, and who gave it."""

    deployment: Deployment
    changes: Changes
    answer: Made


class Gateway:
    """The five operations over a server's deployments."""

    def __init__(
        self,
        deployments: Sequence[Deployment],
        endpoints: Mapping[str, Mapping[str, float]] = {},
        *,
        choose: Mapping[str, Choose] = {},
        chance: random.Random | None = None,
    ) -> None:
        """See :class:`Directory` and :class:`Router`."""
        self.directory = Directory(deployments, endpoints, choose)
        self._router = Router(self.directory, chance=chance)
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
        deployment = self._router.chain(route, model)[0]
        if meter is not None:
            meter.deployment = deployment.name
        return deployment.info

    def check(self, request: Request, route: Route, policy: ExtraParameters | None) -> None:
        """Refuse what a call with this request would be refused for before it begins.

        Raises:
            ApiError: nobody here answers it, or not as it is asked.
        """
        refusals = []
        for deployment in self._router.chain(route, request.model):
            try:
                negotiate(request, deployment.capabilities, policy)
            except ApiError as error:
                refusals.append(error)
            else:
                return
        raise refusals[0]

    def fetches_images(self, request: Request, route: Route) -> bool:
        """Whether all that may answer fetch images by their URLs themselves.

        Raises:
            ApiError: nobody here answers it.
        """
        may = self._router.everyone(route, request.model)
        return all(deployment.capabilities.fetches_images for deployment in may)

    def chat(
        self,
        request: ChatRequest,
        route: Route,
        policy: ExtraParameters | None,
        call: CallContext,
        *,
        meter: CallMeter | None = None,
    ) -> Awaitable[Answer[ChatDelta]]:
        def attempt(
            target: Deployment, fit: ChatRequest, changes: Changes
        ) -> Awaitable[Answer[ChatDelta]]:
            backend = cast(ChatBackend, target.backend)
            return _begun(target, changes, backend.chat(fit, call))

        chain = self._router.chain(route, request.model)
        return self._router.ask(chain, request, policy, call=call, attempt=attempt, meter=meter)

    def complete(
        self,
        request: CompletionRequest,
        route: Route,
        policy: ExtraParameters | None,
        call: CallContext,
        *,
        meter: CallMeter | None = None,
    ) -> Awaitable[Answer[CompletionDelta]]:
        def attempt(
            target: Deployment, fit: CompletionRequest, changes: Changes
        ) -> Awaitable[Answer[CompletionDelta]]:
            backend = cast(CompletionBackend, target.backend)
            return _begun(target, changes, backend.complete(fit, call))

        chain = self._router.chain(route, request.model)
        return self._router.ask(chain, request, policy, call=call, attempt=attempt, meter=meter)

    def chat_whole(
        self,
        request: ChatRequest,
        route: Route,
        policy: ExtraParameters | None,
        call: CallContext,
        *,
        meter: CallMeter | None = None,
    ) -> Awaitable[Whole[ChatCompletion]]:
        async def attempt(
            target: Deployment, fit: ChatRequest, changes: Changes
        ) -> Whole[ChatCompletion]:
            async with target.place():
                if target.whole is not None:
                    answer = await target.whole.chat_whole(fit, call)
                else:
                    async with aclosing(cast(ChatBackend, target.backend).chat(fit, call)) as said:
                        answer = await fold_chat(said)
                return Whole(target, changes, _spoken(answer, target))

        chain = self._router.chain(route, request.model)
        return self._router.ask(chain, request, policy, call=call, attempt=attempt, meter=meter)

    def complete_whole(
        self,
        request: CompletionRequest,
        route: Route,
        policy: ExtraParameters | None,
        call: CallContext,
        *,
        meter: CallMeter | None = None,
    ) -> Awaitable[Whole[Completion]]:
        async def attempt(
            target: Deployment, fit: CompletionRequest, changes: Changes
        ) -> Whole[Completion]:
            async with target.place():
                if target.whole is not None:
                    answer = await target.whole.complete_whole(fit, call)
                else:
                    backend = cast(CompletionBackend, target.backend)
                    async with aclosing(backend.complete(fit, call)) as said:
                        answer = await fold_completion(said)
                return Whole(target, changes, _spoken(answer, target))

        chain = self._router.chain(route, request.model)
        return self._router.ask(chain, request, policy, call=call, attempt=attempt, meter=meter)

    def embed(
        self,
        request: EmbeddingsRequest,
        route: Route,
        policy: ExtraParameters | None,
        call: CallContext,
        *,
        meter: CallMeter | None = None,
    ) -> Awaitable[Whole[Embeddings]]:
        async def attempt(
            target: Deployment, fit: EmbeddingsRequest, changes: Changes
        ) -> Whole[Embeddings]:
            async with target.place():
                backend = cast(EmbeddingsBackend, target.backend)
                return Whole(target, changes, await backend.embed(fit, call))

        chain = self._router.chain(route, request.model)
        return self._router.ask(chain, request, policy, call=call, attempt=attempt, meter=meter)

    def embed_images(
        self,
        request: ImageEmbeddingsRequest,
        route: Route,
        policy: ExtraParameters | None,
        call: CallContext,
        *,
        meter: CallMeter | None = None,
    ) -> Awaitable[Whole[Embeddings]]:
        async def attempt(
            target: Deployment, fit: ImageEmbeddingsRequest, changes: Changes
        ) -> Whole[Embeddings]:
            async with target.place():
                backend = cast(ImageEmbeddingsBackend, target.backend)
                return Whole(target, changes, await backend.embed_images(fit, call))

        chain = self._router.chain(route, request.model)
        return self._router.ask(chain, request, policy, call=call, attempt=attempt, meter=meter)

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


async def _begun(
    deployment: Deployment, changes: Changes, deltas: AsyncGenerator[Delta]
) -> Answer[Delta]:
    """The answer, once it has said something."""
    said = Deltas(deployment, deltas)
    try:
        await said.begin()
    except BaseException:
        await said.aclose()
        raise
    return Answer(deployment, changes, said)


def _spoken(answer: Spoken, deployment: Deployment) -> Spoken:
    """The answer, if it says anything."""
    for choice in answer.choices:
        if choice.speaks:
            return answer
    raise _silent(deployment)


def _silent(deployment: Deployment) -> UpstreamError:
    return UpstreamError(f"The deployment {deployment.name!r} ended without an answer.")
