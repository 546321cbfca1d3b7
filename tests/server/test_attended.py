"""Calls that end with their client or their time."""

import asyncio
from collections.abc import Callable

import pytest

from interlingua.server.attended import Attended, Deadlines
from interlingua.server.exchange import ClientGone, Exchange


class Watched(Exchange):
    """An exchange whose client leaves when the test says so."""

    def __init__(self) -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        super().__init__(scope, self._never, self._never)

    async def _never(self, *_: object) -> dict[str, object]:
        raise AssertionError

    def watch(self, leave: Callable[[], None]) -> Callable[[], object]:
        self.leave = leave
        return lambda: None


async def call(deadlines: Deadlines, after_s: float, exchange: Exchange | None = None) -> str:
    deadline = asyncio.get_running_loop().time() + after_s
    try:
        with Attended(exchange or Watched(), deadline, deadlines):
            await asyncio.Event().wait()
    except TimeoutError:
        return "late"
    except ClientGone:
        return "gone"
    return "done"


@pytest.mark.anyio
async def test_each_call_ends_when_its_own_time_is_up() -> None:
    deadlines = Deadlines()
    calls = [asyncio.create_task(call(deadlines, after_s)) for after_s in (0.02, 0.02, 0.05, 60)]
    assert await asyncio.gather(*calls[:3]) == ["late"] * 3
    assert not calls[3].done()
    calls[3].cancel()
    await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.anyio
async def test_a_call_that_has_ended_holds_nobody_up_and_is_forgotten() -> None:
    deadlines = Deadlines()
    loop = asyncio.get_running_loop()
    with Attended(Watched(), loop.time() + 0.01, deadlines):
        pass
    assert await call(deadlines, 0.03) == "late"
    assert not deadlines._calls


@pytest.mark.anyio
async def test_a_client_that_leaves_ends_its_call_alone() -> None:
    deadlines, exchange = Deadlines(), Watched()
    gone = asyncio.create_task(call(deadlines, 60, exchange))
    other = asyncio.create_task(call(deadlines, 60))
    await asyncio.sleep(0)
    exchange.leave()
    assert await gone == "gone"
    assert not other.done()
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other
