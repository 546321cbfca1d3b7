"""What runs as long as its client is there and its time isn't up.

Rules of this file:
- Calls of one server have the same time, so they end in the order in which they began: one
  timer serves them all, and looks at the oldest.
- Only what :class:`Attended` has cancelled itself becomes its error; any other cancellation
  goes on.
"""

import asyncio
from types import TracebackType

from .exchange import ClientGone, Exchange


class Deadlines:
    """The calls that are under way, oldest first. On one event loop."""

    def __init__(self) -> None:
        #: Ordered, and quick to leave.
        self._calls: dict[Attended, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: "Attended") -> None:
        self._calls[call] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(call.deadline, self._look)

    def discard(self, call: "Attended") -> None:
        self._calls.pop(call, None)

    def _look(self) -> None:
        """End the calls whose time is up, and look again when the next one's could be."""
        loop = asyncio.get_running_loop()
        self._timer = None
        now = loop.time()
        for call in list(self._calls):
            if call.deadline > now:
                self._timer = loop.call_at(call.deadline, self._look)
                return
            self.discard(call)
            call.end(TimeoutError)


class Attended:
    """A context that is cancelled as soon as the client of ``exchange`` leaves or ``deadline``,
    in ``loop.time()`` seconds, is there. A class: a generator's context costs thrice as much.

    Raises:
        ClientGone: the client has left.
        TimeoutError: the time is up.
    """

    __slots__ = ("_before", "_deadlines", "_exchange", "_task", "_why", "deadline")

    def __init__(self, exchange: Exchange, deadline: float, deadlines: Deadlines) -> None:
        self.deadline = deadline
        self._exchange = exchange
        self._deadlines = deadlines
        self._why: type[ClientGone | TimeoutError] | None = None

    @property
    def expired(self) -> bool:
        """Whether it was the time that ended what ran inside."""
        return self._why is TimeoutError

    def end(self, why: type[ClientGone | TimeoutError]) -> None:
        """Cancel what runs inside."""
        if self._why is None:
            self._why = why
            self._task.cancel()

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._before = task.cancelling()
        self._deadlines.add(self)
        self._exchange.watch(self._left)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._deadlines.discard(self)
        self._exchange.unwatch()
        if (
            self._why is not None
            and self._task.uncancel() <= self._before
            and kind is asyncio.CancelledError
        ):
            raise self._why from None

    def _left(self) -> None:
        if not self._exchange.finished:
            self.end(ClientGone)
