"""Pieces of limits: lent, used up, given back, and never more than there is."""

import asyncio
from collections import Counter

import anyio
import pytest

from interlingua.errors import Unavailable
from interlingua.gateway.limits import Limit, Now, OwnShares
from interlingua.server import leases
from interlingua.server.leases import LeasedShares, Lender

pytestmark = pytest.mark.anyio

NAME = 'key "a"'
LIMIT = Limit(requests_per_minute=50, tokens_per_minute=10_000)


class House:
    """A supervisor and its workers, with a time that stands still."""

    def __init__(self, limit: Limit = LIMIT, workers: int = 2) -> None:
        self.shares = OwnShares({NAME: limit}, {}, lambda: Now(1.0, 1.0))
        self.lender = Lender(self.shares, workers)
        self.asked: Counter[str] = Counter()
        self.hung = False
        self.workers = [self._worker(limit, number) for number in range(workers)]

    def _worker(self, limit: Limit, number: int) -> LeasedShares:
        async def ask(what: str, given: object) -> object:
            self.asked[what] += 1
            if self.hung:
                await anyio.sleep_forever()
            await anyio.lowlevel.checkpoint()
            return self.lender.answer(number, what, given)

        shares = LeasedShares(ask)
        shares.change({NAME: limit})
        return shares

    @property
    def left(self) -> tuple[int, int]:
        left = self.shares.left(NAME)
        return left.requests.left if left.requests else -1, left.tokens.left if left.tokens else -1


async def test_two_workers_let_in_as_many_as_one_would() -> None:
    house = House()
    let_in: Counter[bool] = Counter()

    async def call(number: int) -> None:
        let_in[await house.workers[number % 2].take(NAME, 10) == 0] += 1

    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(call, number)
    assert let_in == {True: 50, False: 150}


async def test_most_calls_need_no_question() -> None:
    house = House(Limit(requests_per_minute=6000))
    for _ in range(1000):
        assert await house.workers[0].take(NAME, 10) == 0
    assert house.asked["lend"] < 5


async def test_what_is_not_used_goes_back_at_the_end() -> None:
    house = House()
    worker = house.workers[0]
    async with worker.telling():
        await worker.take(NAME, 100)
        assert house.left < (49, 9_900)
        worker.settle(NAME, reserved=100, used=30)
    assert house.left == (49, 9_970)
    house.lender.gone(0)
    assert house.left == (49, 9_970)


async def test_a_call_that_took_more_than_it_had_reserved_counts_in_full() -> None:
    house = House()
    worker = house.workers[0]
    async with worker.telling():
        await worker.take(NAME, 100)
        worker.settle(NAME, reserved=100, used=3_000)
    assert house.left == (49, 7_000)


async def test_a_worker_that_dies_costs_no_tokens_but_those_that_were_used() -> None:
    house = House()
    worker = house.workers[0]
    await worker.take(NAME, 100)
    house.lender.gone(0)
    assert house.left[1] == 10_000


async def test_what_is_lent_to_a_call_that_left_is_there_for_the_next() -> None:
    house = House(Limit(requests_per_minute=1))
    worker = house.workers[0]
    call = asyncio.create_task(worker.take(NAME, 1))
    await anyio.lowlevel.checkpoint()
    call.cancel()
    assert await worker.take(NAME, 1) == 0
    assert house.asked["lend"] == 1
    assert await worker.take(NAME, 1) > 0


async def test_the_last_piece_holds_while_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_ANSWER_WITHIN_S", 0.0)
    house = House(Limit(requests_per_minute=80))
    worker = house.workers[0]
    worker.settle(NAME, reserved=0, used=0, requests=3)
    house.hung = True
    for _ in range(3):
        assert await worker.take(NAME, 1) == 0
    with pytest.raises(Unavailable):
        await worker.take(NAME, 1)
