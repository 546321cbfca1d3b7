"""Several generators side by side, as one."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

_T = TypeVar("_T")
_WAITING = 8


async def merged(
    sources: Sequence[Callable[[], AsyncGenerator[_T]]], *, at_once: int
) -> AsyncGenerator[_T]:
    """What all of them yield, as it comes; at most ``at_once`` run at a time.

    The first failure is raised and ends the others; so does closing. A slow reader slows
    them down.
    """
    arrived: asyncio.Queue[tuple[_T] | asyncio.Task[None]] = asyncio.Queue()
    room = asyncio.Semaphore(_WAITING)
    places = asyncio.Semaphore(at_once)

    async def run(source: Callable[[], AsyncGenerator[_T]]) -> None:
        async with places, aclosing(source()) as items:
            async for item in items:
                await room.acquire()
                arrived.put_nowait((item,))

    tasks = [asyncio.create_task(run(source)) for source in sources]
    for task in tasks:
        task.add_done_callback(arrived.put_nowait)
    left = len(tasks)
    try:
        while left:
            got = await arrived.get()
            if isinstance(got, tuple):
                room.release()
                yield got[0]
            else:
                got.result()
                left -= 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
