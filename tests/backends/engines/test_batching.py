"""Concurrent calls share runs, in turn, within a budget, and fail alone."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlingua.backends.engines.batching import Batcher, Shape
from interlingua.errors import ApiError, InvalidValue, ModelNotReady, RateLimited

pytestmark = pytest.mark.anyio


class Model:
    """Doubles numbers, remembers its runs, and works only while the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.runs: list[list[int]] = []

    def run(self, items: Sequence[int]) -> list[int | ApiError]:
        self.runs.append(list(items))
        self.entered.release()
        self.gate.wait(10)
        if 13 in items:
            raise ZeroDivisionError
        return [InvalidValue(f"{n} is odd") if n % 2 and n > 1000 else 2 * n for n in items]


@pytest.fixture
def model() -> Iterator[Model]:
    model = Model()
    yield model
    model.gate.set()


@pytest.fixture
def make(model: Model) -> Iterator[Callable[..., Batcher[int, int]]]:
    pools: list[ThreadPoolExecutor] = []

    def made(**shape: int) -> Batcher[int, int]:
        whole = Shape(**{"workers": 1, "budget": 100, "padding": 2, **shape})
        pools.append(ThreadPoolExecutor(whole.workers))
        return Batcher(model.run, executor=pools[-1], shape=whole)

    yield made
    model.gate.set()
    for pool in pools:
        pool.shutdown()


async def busy(batcher: Batcher[int, int], model: Model) -> "asyncio.Task[list[int]]":
    """Occupy the only worker until the gate opens."""
    model.gate.clear()
    task = asyncio.create_task(batcher.submit([0], [1]))
    await asyncio.to_thread(model.entered.acquire)
    return task


def later(batcher: Batcher[int, int], *items: int) -> "asyncio.Task[list[int]]":
    """A call whose items are as large as their value."""
    return asyncio.create_task(batcher.submit(items, items))


async def test_results_come_in_the_order_of_the_items(make: Callable[..., Batcher]) -> None:
    assert await make().submit([30, 10, 20], [30, 10, 20]) == [60, 20, 40]


async def test_a_call_without_items_is_answered(make: Callable[..., Batcher]) -> None:
    assert await make().submit([], []) == []


async def test_what_comes_while_the_worker_is_busy_shares_the_next_run(
    make: Callable[..., Batcher], model: Model
) -> None:
    batcher = make()
    first = await busy(batcher, model)
    calls = [later(batcher, 10), later(batcher, 10), later(batcher, 10)]
    await asyncio.sleep(0)
    model.gate.set()
    assert await asyncio.gather(first, *calls) == [[0], [20], [20], [20]]
    assert model.runs == [[0], [10, 10, 10]]


async def test_calls_that_come_in_one_turn_of_the_loop_share_the_first_run(
    make: Callable[..., Batcher], model: Model
) -> None:
    batcher = make()
    await asyncio.gather(later(batcher, 4), later(batcher, 4))
    assert model.runs == [[4, 4]]


async def test_items_of_like_size_share_a_run(make: Callable[..., Batcher], model: Model) -> None:
    batcher = make(budget=1000, padding=4)
    first = await busy(batcher, model)
    calls = [later(batcher, *items) for items in ((8, 90), (88, 10), (92, 10))]
    await asyncio.sleep(0)
    model.gate.set()
    await asyncio.gather(first, *calls)
    assert sorted(map(sorted, model.runs[1:])) == [[8, 10, 10], [88, 90, 92]]


async def test_waiting_items_are_divided_among_idle_workers(
    make: Callable[..., Batcher], model: Model
) -> None:
    batcher = make(workers=2, budget=1000)
    await batcher.submit([10] * 8, [10] * 8)
    assert [len(run) for run in model.runs] == [4, 4]


async def test_a_run_below_the_least_cost_is_not_divided(
    make: Callable[..., Batcher], model: Model
) -> None:
    batcher = make(workers=2, least=50)
    await batcher.submit([10] * 4, [10] * 4)
    assert [len(run) for run in model.runs] == [4]


async def test_a_call_of_thousands_holds_no_small_one_up(
    make: Callable[..., Batcher], model: Model
) -> None:
    batcher = make()
    first = await busy(batcher, model)
    large = later(batcher, *[10] * 2048)
    await asyncio.sleep(0)
    small = later(batcher, 50)
    await asyncio.sleep(0)
    model.gate.set()
    assert await small == [100]
    assert len(model.runs) <= 5
    assert not large.done()
    await asyncio.gather(first, large)


async def test_small_calls_do_not_starve_a_large_one(
    make: Callable[..., Batcher], model: Model
) -> None:
    batcher = make(budget=20, padding=0)
    first = await busy(batcher, model)
    large = later(batcher, *[20] * 3)

    async def caller() -> None:
        for _ in range(20):
            await batcher.submit([10], [10])

    callers = [asyncio.create_task(caller()) for _ in range(6)]
    await asyncio.sleep(0)
    model.gate.set()
    await large
    assert len(model.runs) < 20
    await asyncio.gather(first, *callers)


async def test_an_items_failure_fails_its_call_alone(
    make: Callable[..., Batcher], model: Model
) -> None:
    batcher = make(budget=10_000)
    first = await busy(batcher, model)
    bad, good = later(batcher, 1001, 1002), later(batcher, 1002)
    await asyncio.sleep(0)
    model.gate.set()
    with pytest.raises(InvalidValue, match="1001 is odd"):
        await bad
    assert await good == [2004]
    await first


async def test_a_run_that_raises_fails_the_calls_in_it_and_no_other(
    make: Callable[..., Batcher], caplog: pytest.LogCaptureFixture
) -> None:
    batcher = make()
    with pytest.raises(ModelNotReady) as failed:
        await batcher.submit([13], [13])
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    assert "A run of 1 inputs failed" in caplog.text
    assert await batcher.submit([12], [12]) == [24]


async def test_a_failed_call_drops_what_has_not_begun(
    make: Callable[..., Batcher], model: Model
) -> None:
    batcher = make(budget=1001)
    with pytest.raises(InvalidValue):
        await batcher.submit([1001, *range(100, 900, 2)], [1001, *range(100, 900, 2)])
    assert await batcher.submit([2], [2]) == [4]
    assert len(model.runs) <= 3


async def test_a_cancelled_call_drops_what_has_not_begun(
    make: Callable[..., Batcher], model: Model
) -> None:
    batcher = make()
    first = await busy(batcher, model)
    gone = later(batcher, *[50] * 100)
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    model.gate.set()
    await first
    assert await batcher.submit([10], [10]) == [20]
    assert model.runs == [[0], [10]]


async def test_a_call_cancelled_in_its_run_leaves_the_others_in_it_alone(
    make: Callable[..., Batcher], model: Model
) -> None:
    batcher = make()
    model.gate.clear()
    gone, stays = later(batcher, 10), later(batcher, 12)
    await asyncio.to_thread(model.entered.acquire)
    gone.cancel()
    await asyncio.wait([gone])
    model.gate.set()
    assert await stays == [24]


async def test_more_than_may_wait_is_refused_and_a_lone_call_never_is(
    make: Callable[..., Batcher], model: Model
) -> None:
    batcher = make(most_waiting=10)
    first = await busy(batcher, model)
    waits = later(batcher, *[1] * 20)
    await asyncio.sleep(0)
    with pytest.raises(RateLimited):
        await batcher.submit([1], [1])
    model.gate.set()
    assert await waits == [2] * 20
    assert await batcher.submit([1], [1]) == [2]
    await first


@settings(max_examples=60, deadline=None)
@given(
    calls=st.lists(st.lists(st.integers(1, 60), max_size=30), max_size=12),
    workers=st.integers(1, 3),
    padding=st.integers(0, 10),
)
async def test_every_item_is_run_once_and_no_run_costs_more_than_the_budget(
    calls: list[list[int]], workers: int, padding: int
) -> None:
    model = Model()
    with ThreadPoolExecutor(workers) as pool:
        shape = Shape(workers=workers, budget=50, padding=padding, most_items=8)
        batcher = Batcher[int, int](model.run, executor=pool, shape=shape)
        sized = [[n if n != 13 else 14 for n in call] for call in calls]
        with anyio.fail_after(20):
            answers = await asyncio.gather(*(batcher.submit(call, call) for call in sized))
    assert answers == [[2 * n for n in call] for call in sized]
    assert sorted(n for run in model.runs for n in run) == sorted(n for c in sized for n in c)
    for run in model.runs:
        assert len(run) == 1 or len(run) * max(run) <= 50
        assert len(run) <= 8
