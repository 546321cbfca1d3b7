"""Generators side by side."""

import asyncio
from functools import partial

import pytest

from interlingua.backends.engines.choices import together
from interlingua.backends.engines.fanout import merged
from interlingua.errors import UpstreamError
from interlingua.types.chat import ChatDelta
from interlingua.types.usage import Usage

pytestmark = pytest.mark.anyio


async def counting(name, to):
    for i in range(to):
        await asyncio.sleep(0)
        yield name, i


async def test_everything_arrives_each_in_its_own_order():
    sources = [partial(counting, name, 20) for name in "abc"]
    found = [item async for item in merged(sources, at_once=2)]
    assert len(found) == 60
    for name in "abc":
        assert [i for n, i in found if n == name] == list(range(20))


async def test_no_more_than_allowed_run_at_once():
    running = most = 0

    async def source():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        yield 1
        running -= 1

    assert [item async for item in merged([source] * 6, at_once=2)] == [1] * 6
    assert most == 2


async def test_the_first_failure_is_raised_and_ends_the_others():
    closed = asyncio.Event()

    async def endless():
        try:
            while True:
                await asyncio.sleep(0)
                yield 1
        finally:
            closed.set()

    async def broken():
        yield 2
        raise UpstreamError("broken")

    with pytest.raises(UpstreamError, match="broken"):
        async for _ in merged([endless, broken], at_once=2):
            pass
    assert closed.is_set()


async def test_closing_ends_every_source_and_a_slow_reader_slows_them():
    made = 0
    closed = 0

    async def endless():
        nonlocal made, closed
        try:
            while True:
                await asyncio.sleep(0)
                made += 1
                yield 1
        finally:
            closed += 1

    items = merged([endless, endless], at_once=2)
    assert await anext(items) == 1
    for _ in range(200):
        await asyncio.sleep(0)
    assert made < 20
    await items.aclose()
    assert closed == 2


async def test_usage_counts_a_prompt_once_and_every_completion():
    async def choice(index, prompt):
        yield ChatDelta(index=index, text="x")
        usage = Usage(prompt, 3, cached_tokens=prompt - 1, reasoning_tokens=1)
        yield ChatDelta(index=index, finish_reason="stop", usage=usage)

    sources = [partial(choice, 0, 5), partial(choice, 1, 5), partial(choice, 2, 9)]
    sources.append(partial(choice, 3, 9))
    found = [delta async for delta in together(sources, at_once=2, a_prompt=2)]
    assert [delta.usage for delta in found if delta.usage] == [Usage(14, 12, 12, 4)]
    assert found[-1].usage
    assert sum(delta.finish_reason == "stop" for delta in found) == 4


async def test_a_single_choice_keeps_its_usage_beside_its_finish_reason():
    async def choice():
        yield ChatDelta(finish_reason="stop", usage=Usage(1, 2))

    found = [delta async for delta in together([choice], at_once=1)]
    assert found == [ChatDelta(finish_reason="stop", usage=Usage(1, 2))]
