"""Who is asked, in which order, and when the next one is.

Rules of this file:
- A call has a chain: the one that was named, or an endpoint's deployments in the order of its
  choice; then the ``fallback`` of each. Each is asked at most once.
- All of it happens before the answer has said anything; an answer that has begun is never
  begun again elsewhere.
- The next is asked where one fails for a reason of its own that may pass, rests, has reached
  its limit, or can't honour the request. What the first that is asked blames on the caller is
  told at once.
- If all fail, the first's failure is told; if none can honour the request, the first's refusal.
- The same deployment is asked a second time only where its connection failed before a byte of
  a reply came, after a moment of chance, and within its :class:`~.circuit.RetryBudget`.
- Equal calls are never put together: each is asked for by itself.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from interlingua.backends.base import CallContext
from interlingua.errors import ApiError, ConnectionLost, Forbidden, RateLimited, Unreachable
from interlingua.types.models import ExtraParameters

from .allowance import LimitedCall
from .changes import Changes
from .choice import order
from .deployments import Deployment
from .directory import Directory, Route
from .meter import CallMeter
from .negotiate import Request, negotiate

Result = TypeVar("Result")
Chain = tuple[Deployment, ...]
Attempt = Callable[[Deployment, Request, Changes], Awaitable[Result]]

#: Between a connection's failure and the retry: at least, and so much more by chance.
RETRY_PAUSE_S = 0.025
RETRY_JITTER_S = 0.1


class Router:
    """Finds who answers, and asks one after the other."""

    def __init__(self, directory: Directory, *, chance: random.Random | None = None) -> None:
        self._directory = directory
        self._chance = chance or random.Random()  # noqa: S311 - traffic

    def chain(self, route: Route, model: str | None) -> Chain:
        """Those who are asked, in this order.

        Raises:
            ApiError: see :meth:`Directory.candidates`.
            Forbidden: nobody who may be asked by this caller.
        """
        weights = self._directory.candidates(route, model)
        if len(weights) == 1:
            chain: Chain = tuple(weights)
        else:
            chain = order(
                weights,
                self._directory.choose(route),
                self._chance.random,
                calls=lambda each: each.calls_under_way,
                ready=lambda each: each.circuit.admits,
            )
        if not route.permits(chain[0]):
            raise Forbidden(
                f"No role of the token permits the operation {route.operation!r} of the "
                f"deployment {chain[0].name!r}."
            )
        return self._with_stand_ins(chain, route)

    def everyone(self, route: Route, model: str | None) -> Chain:
        """All of whom :meth:`chain` may hold any; raises likewise."""
        return self._with_stand_ins(self._directory.candidates(route, model), route)

    def _with_stand_ins(self, chain: Iterable[Deployment], route: Route) -> Chain:
        chain = tuple(chain)
        if not self._directory.has_stand_ins:
            return chain
        stand_ins = (self._directory.stand_ins(each, route) for each in chain)
        return tuple(dict.fromkeys((*chain, *(each for some in stand_ins for each in some))))

    async def ask(
        self,
        chain: Chain,
        request: Request,
        policy: ExtraParameters | None,
        *,
        call: CallContext,
        attempt: Attempt[Request, Result],
        meter: CallMeter | None,
    ) -> Result:
        """What ``attempt`` brings from the first of the chain that answers.

        Raises:
            ApiError: nobody does.
        """
        refusal: tuple[Deployment, ApiError] | None = None
        failure: tuple[Deployment, ApiError] | None = None
        told: tuple[Deployment, ApiError] | None = None
        left: Deployment | None = None
        if isinstance(call, LimitedCall):
            call.allowance.expect(request)
        try:
            for target in chain:
                if meter is not None:
                    meter.deployment = target.name
                try:
                    fit, changes = negotiate(request, target.capabilities, policy)
                except ApiError as error:
                    refusal = refusal or (target, error)
                    continue
                if left is not None:
                    left.fallbacks += 1
                try:
                    return await self._asked(target, call, attempt, fit, changes)
                except ApiError as error:
                    if failure is None and not error.retryable:
                        raise
                    failure = failure or (target, error)
                    left = target
                if _is_late(call):
                    break
            told = failure or refusal
            assert told is not None
            if meter is not None:
                meter.deployment = told[0].name
            raise told[1]
        finally:
            # An error's traceback holds this frame: only the collector would free them.
            refusal = failure = told = None

    async def _asked(
        self,
        target: Deployment,
        call: CallContext,
        attempt: Attempt[Request, Result],
        request: Request,
        changes: Changes,
    ) -> Result:
        """The answer of one deployment, and what its circuit makes of how that went."""
        if isinstance(call, LimitedCall):
            try:
                await call.allowance.enter(target.name)
            except RateLimited:
                target.limited += 1
                raise
        circuit = target.circuit
        trial = circuit.enter()
        retries = False
        try:
            while True:
                try:
                    answer = await attempt(target, request, changes)
                    break
                except (Unreachable, ConnectionLost):
                    if trial or retries or not target.budget.take(target.calls_under_way + 1):
                        raise
                    retries = True
                await asyncio.sleep(RETRY_PAUSE_S + RETRY_JITTER_S * self._chance.random())
        except ApiError as error:
            if _is_late(call):
                circuit.undecided(trial=trial)
            else:
                circuit.failed(error, trial=trial)
            raise
        except BaseException:
            circuit.undecided(trial=trial)
            raise
        finally:
            if retries:
                target.budget.give()
        circuit.answered(trial=trial)
        return answer


def _is_late(call: CallContext) -> bool:
    """Whether the call's own time is up, so that no failure is anybody's fault."""
    return call.deadline is not None and asyncio.get_running_loop().time() >= call.deadline
