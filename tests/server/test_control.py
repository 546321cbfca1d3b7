"""Questions and answers between two processes, and what becomes of them at the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import socketpair

import pytest

from interlingua.errors import ModelNotReady, RateLimited, Unavailable
from interlingua.server.control import Answering, Channel, channel


async def nothing(what: str, given: object) -> object:
    raise AssertionError((what, given))


@asynccontextmanager
async def talking(answering: Answering) -> AsyncIterator[tuple[Channel, Channel]]:
    """An end that asks, and one that answers."""
    ours, theirs = socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    asking, answers = await channel(ours, nothing), await channel(theirs, answering)
    tasks = [asyncio.create_task(each.run()) for each in (asking, answers)]
    try:
        yield asking, answers
    finally:
        asking.close()
        await asyncio.gather(*tasks)


@pytest.mark.anyio
async def test_a_quick_answer_overtakes_a_slow_one() -> None:
    slow = asyncio.Event()

    async def answering(what: str, given: object) -> object:
        if what == "slow":
            await slow.wait()
        return [what, given]

    async with talking(answering) as (asking, _):
        waits = asyncio.create_task(asking.ask("slow", {"a": 1}))
        assert await asking.ask("quick", "é" * 100_000) == ["quick", "é" * 100_000]
        assert not waits.done()
        slow.set()
        assert await waits == ["slow", {"a": 1}]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (ModelNotReady("no file", retry_after_s=7), ModelNotReady),
        (Unavailable("not now"), Unavailable),
        (RateLimited("many"), Unavailable),
    ],
)
async def test_a_failure_is_told_with_its_reason(
    raised: Exception, told: type[Unavailable]
) -> None:
    async def answering(_what: str, _given: object) -> object:
        raise raised

    async with talking(answering) as (asking, _):
        with pytest.raises(told, match=str(raised)) as failure:
            await asking.ask("x")
    assert type(failure.value) is told
    assert failure.value.retry_after_s == (7 if told is ModelNotReady else 1)


@pytest.mark.anyio
async def test_what_waits_fails_when_the_other_end_closes() -> None:
    came = asyncio.Event()

    async def answering(_what: str, _given: object) -> object:
        came.set()
        return await asyncio.Event().wait()

    async with talking(answering) as (asking, answers):
        waits = asyncio.create_task(asking.ask("x"))
        await came.wait()
        answers.close()
        with pytest.raises(Unavailable):
            await waits
        with pytest.raises(Unavailable):
            await asking.ask("y")
