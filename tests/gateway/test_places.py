"""Places: first come, first served, and none is ever lost."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.gateway.places import Places


def test_as_many_as_there_are_and_no_more() -> None:
    places = Places(2)
    assert [places.taken() for _ in range(3)] == [True, True, False]
    places.release()
    assert places.taken()


@pytest.mark.anyio
async def test_who_waits_longest_is_next_and_nobody_overtakes() -> None:
    places, order = Places(1), []
    assert places.taken()

    async def wait(name: int) -> None:
        await places.wait()
        order.append(name)

    tasks = [asyncio.create_task(wait(name)) for name in range(3)]
    await asyncio.sleep(0)
    places.release()
    assert not places.taken()
    await tasks[0]
    places.release()
    places.release()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]


@pytest.mark.anyio
async def test_who_leaves_in_the_moment_of_its_turn_passes_it_on() -> None:
    places = Places(1)
    assert places.taken()
    leaves, stays = (asyncio.create_task(places.wait()) for _ in range(2))
    await asyncio.sleep(0)
    places.release()
    leaves.cancel()
    await stays
    assert leaves.cancelled()
    assert not places.taken()


@given(
    count=st.integers(1, 4),
    moves=st.lists(st.tuples(st.sampled_from(["come", "cancel", "release"]), st.integers(0, 9))),
)
def test_however_calls_come_and_go_no_place_is_lost(
    count: int, moves: list[tuple[str, int]]
) -> None:
    async def play() -> None:
        places, state = Places(count), Counter[str]()

        async def call() -> None:
            if not places.taken():
                await places.wait()
            state["in"] += 1

        calls: list[asyncio.Task[None]] = []
        for move, number in moves:
            if move == "come":
                calls.append(asyncio.create_task(call()))
            elif move == "cancel" and calls:
                calls[number % len(calls)].cancel()
            elif move == "release" and state["in"]:
                state["in"] -= 1
                places.release()
            if number % 2:
                await asyncio.sleep(0)
            assert state["in"] <= count
        for each in calls:
            each.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        for _ in range(state["in"]):
            places.release()
        assert [places.taken() for _ in range(count + 1)] == [True] * count + [False]

    asyncio.run(play())
