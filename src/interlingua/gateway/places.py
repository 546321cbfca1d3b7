"""Places of a deployment: how many calls it works on at once, and those who wait for one.

First come, first served. asyncio's semaphore does the same, and asks all who wait with every
call.
"""

import asyncio
from collections import deque


class Places:
    """So many calls at once. On one event loop."""

    __slots__ = ("_free", "_queue")

    def __init__(self, count: int) -> None:
        self._free = count
        self._queue: deque[asyncio.Future[None]] = deque()

    def taken(self) -> bool:
        """Take a place if one is free and nobody waits."""
        if self._free <= 0 or self._queue:
            return False
        self._free -= 1
        return True

    async def wait(self) -> None:
        """Take a place when it is this call's turn."""
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # It got the place in the moment in which it was cancelled.
                self.release()
            else:
                self._queue.remove(turn)
            raise

    def release(self) -> None:
        """Give a place to the next one in turn, or back."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
