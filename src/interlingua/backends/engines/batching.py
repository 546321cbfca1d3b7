"""Concurrent calls share the runs of a model.

Rules of this file:
- Nothing waits on purpose: a run starts as soon as a worker is free, with what is there, and
  what comes meanwhile makes up the next runs.
- Calls take turns. Each run begins with the largest waiting item of the call whose turn it
  is, and is filled with items of like size from any call: so a call of thousands holds
  nobody up, is held up by nobody, and little is padded.
- A run costs its number of items times its largest item, and may cost ``budget``; while
  workers are idle the waiting items are divided among them.
- The failure of an item, which is the error that ``run`` gives in its place, is its call's
  alone. A run that raises fails the calls that have items in it.
- All of it lives on one event loop but ``run``, which is called in a worker thread.
"""

import asyncio
import logging
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Generic, TypeVar

import msgspec

from interlingua.errors import ApiError, ModelNotReady, RateLimited

_log = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How runs are put together. Sizes are in whatever unit the items' sizes are in."""

    #: How many runs there may be at once.
    workers: int
    #: The most that a run costs, padding included; an item above it runs alone.
    budget: int
    #: The most that taking one more item into a run may add in padding.
    padding: int = 0
    #: What a run costs at least: waiting items aren't divided among workers below it.
    least: int = 1
    most_items: int = 64
    #: Items that may wait; a call beyond that is refused.
    most_waiting: int = 65_536


class _Call(Generic[ItemT, ResultT]):
    """A call's items: those still to be run, by size, and the results so far."""

    def __init__(self, items: Sequence[ItemT], sizes: Sequence[int]) -> None:
        self.items = items
        self.waiting = sorted(zip(sizes, range(len(items)), strict=True))
        self.results: dict[int, ResultT] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


_Place = tuple[_Call[ItemT, ResultT], int]
_Candidate = tuple[int, _Call[ItemT, ResultT], int]


class Batcher(Generic[ItemT, ResultT]):
    """Runs the items of concurrent calls together, in the threads of ``executor``."""

    def __init__(
        self,
        run: Callable[[Sequence[ItemT]], Sequence[ResultT | ApiError]],
        *,
        executor: Executor,
        shape: Shape,
    ) -> None:
        self._run = run
        self._executor = executor
        self._shape = shape
        self._calls: deque[_Call[ItemT, ResultT]] = deque()
        self._waiting_items = 0
        self._waiting_size = 0
        self._running = 0
        self._due = False

    async def submit(self, items: Sequence[ItemT], sizes: Sequence[int]) -> list[ResultT]:
        """The result of each item, in order. Cancelling drops what hasn't begun.

        Raises:
            RateLimited: too many items wait already.
            ModelNotReady: a run of these items failed.
            ApiError: the first item's that failed.
        """
        if self._waiting_items and self._waiting_items + len(items) > self._shape.most_waiting:
            raise RateLimited("The model has too many inputs waiting. Try again later.")
        if not items:
            return []
        call = _Call[ItemT, ResultT](items, sizes)
        self._calls.append(call)
        self._waiting_items += len(items)
        self._waiting_size += sum(sizes)
        self._soon()
        try:
            await call.done
        finally:
            self._drop(call)
        return [call.results[index] for index in range(len(items))]

    def _soon(self) -> None:
        """Start runs once all that this turn of the event loop brings is here."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._due = False
        while self._calls and self._running < self._shape.workers:
            places = self._next_run()
            self._running += 1
            items = [call.items[index] for call, index in places]
            work = asyncio.get_running_loop().run_in_executor(self._executor, self._run, items)
            work.add_done_callback(partial(self._ended, places))

    def _ended(
        self,
        places: list[_Place[ItemT, ResultT]],
        work: "asyncio.Future[Sequence[ResultT | ApiError]]",
    ) -> None:
        self._running -= 1
        self._soon()
        failure = None if work.cancelled() else work.exception()
        if work.cancelled() or failure is not None:
            _log.error("A run of %d inputs failed.", len(places), exc_info=failure)
            for call, _index in places:
                self._fail(call, ModelNotReady("The model failed at this input."), failure)
            return
        for (call, index), result in zip(places, work.result(), strict=True):
            if isinstance(result, ApiError):
                self._fail(call, result, None)
                continue
            call.results[index] = result
            if len(call.results) == len(call.items) and not call.done.done():
                call.done.set_result(None)

    def _fail(
        self, call: _Call[ItemT, ResultT], error: ApiError, cause: BaseException | None
    ) -> None:
        self._drop(call)
        if not call.done.done():
            error.__cause__ = cause
            call.done.set_exception(error)

    def _drop(self, call: _Call[ItemT, ResultT]) -> None:
        """Forget what of the call hasn't begun."""
        if call.waiting:
            self._waiting_items -= len(call.waiting)
            self._waiting_size -= sum(size for size, _index in call.waiting)
            call.waiting = []
            self._calls.remove(call)

    def _next_run(self) -> list[_Place[ItemT, ResultT]]:
        """Take the items of one run from the waiting ones."""
        budget = self._shape.budget
        idle = self._shape.workers - self._running
        if idle > 1:
            budget = min(budget, max(self._shape.least, -(-self._waiting_size // idle)))
        first = self._calls[0]
        self._calls.rotate(-1)
        largest, index = first.waiting[-1]
        chosen = [(largest, first, index)]
        self._take(chosen[0])
        cost = largest
        for candidate in self._candidates(largest):
            size = candidate[0]
            longest = max(largest, size)
            padded = longest * (len(chosen) + 1)
            if padded > budget or padded - cost - size > self._shape.padding:
                continue
            largest, cost = longest, padded
            chosen.append(candidate)
            self._take(candidate)
            if len(chosen) == self._shape.most_items:
                break
        return [(call, index) for _size, call, index in chosen]

    def _candidates(self, size: int) -> list[_Candidate[ItemT, ResultT]]:
        """Waiting items of all calls, the nearest in size first, the oldest turn first."""
        near = self._shape.most_items
        found = [candidate for call in self._calls for candidate in _nearest(call, size, near)]
        found.sort(key=lambda candidate: abs(candidate[0] - size))
        return found[: 2 * near]

    def _take(self, candidate: _Candidate[ItemT, ResultT]) -> None:
        size, call, index = candidate
        del call.waiting[bisect_left(call.waiting, (size, index))]
        self._waiting_items -= 1
        self._waiting_size -= size
        if not call.waiting:
            self._calls.remove(call)


def _nearest(
    call: _Call[ItemT, ResultT], size: int, most: int
) -> Iterator[_Candidate[ItemT, ResultT]]:
    """The call's waiting items around that size."""
    at = bisect_left(call.waiting, (size, 0))
    for found, index in call.waiting[max(0, at - most) : at + most]:
        yield found, call, index
