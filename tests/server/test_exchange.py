"""How long a body may take: longer as long as it keeps coming, and never for ever."""

import asyncio

import pytest

from interlingua.errors import RequestTimeout
from interlingua.server.exchange import LEAST_BYTES_A_S, Exchange

from .service import Caller


async def read(caller: Caller, clock: asyncio.Timeout) -> bytes:
    return await Exchange(caller.scope, caller.receive, caller.send).read_body(10_000_000, clock)


class Slow(Caller):
    """Its body comes in pieces, and it tells when one was taken."""

    def __init__(self) -> None:
        super().__init__("/", b"")
        self._messages: asyncio.Queue[dict[str, object]] = asyncio.Queue()  # type: ignore[assignment]  # the same, empty
        self.asked = asyncio.Event()

    async def receive(self) -> dict[str, object]:  # type: ignore[explicit-override]  # typing.override is 3.12's
        self.asked.set()
        return await super().receive()


@pytest.mark.anyio
async def test_what_keeps_coming_gets_more_time() -> None:
    caller, clock = Slow(), asyncio.timeout(50)
    reading = asyncio.create_task(read(caller, clock))
    await caller.asked.wait()
    first = clock.when()
    assert first is not None
    for count in (1, 2):
        caller.asked.clear()
        caller.say(b"x" * LEAST_BYTES_A_S * 7, more=True)
        await caller.asked.wait()
        assert clock.when() == first + 7 * count
    caller.say(b"", more=False)
    assert len(await reading) == LEAST_BYTES_A_S * 14


@pytest.mark.anyio
async def test_what_stops_coming_is_given_up() -> None:
    caller = Slow()
    caller.say(b"x", more=True)
    with pytest.raises(RequestTimeout):
        await read(caller, asyncio.timeout(0.05))


@pytest.mark.anyio
async def test_a_server_that_stops_is_not_overruled() -> None:
    caller, clock = Slow(), asyncio.timeout(50)
    reading = asyncio.create_task(read(caller, clock))
    await caller.asked.wait()
    clock.reschedule(asyncio.get_running_loop().time() + 0.05)
    caller.say(b"x" * LEAST_BYTES_A_S * 50, more=True)
    with pytest.raises(RequestTimeout):
        await reading
