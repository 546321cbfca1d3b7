"""A deployment's life cycle: loading, waiting, places, unloading."""

import asyncio

import pytest

from interlingua.errors import ModelNotReady, RateLimited
from interlingua.gateway.deployments import Deployment, Limits

from .backend import Script

pytestmark = pytest.mark.anyio


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def hold(deployment: Deployment, release: asyncio.Event) -> None:
    async with deployment.place():
        await release.wait()


async def test_a_serverless_model_is_loaded_on_the_first_call() -> None:
    backend = Script()
    deployment = Deployment(name="d", backend=backend)
    assert deployment.state == "cold"
    async with deployment.place():
        assert deployment.state == "ready"


async def test_callers_share_one_load() -> None:
    backend = Script(concurrency=8)
    backend.opening = asyncio.Event()
    deployment = Deployment(name="d", backend=backend)
    release = asyncio.Event()
    calls = [asyncio.create_task(hold(deployment, release)) for _ in range(5)]
    await settle()
    assert deployment.state == "loading"
    assert backend.opens == 1
    backend.opening.set()
    release.set()
    await asyncio.gather(*calls)


async def test_a_caller_that_leaves_does_not_stop_the_load() -> None:
    backend = Script()
    backend.opening = asyncio.Event()
    deployment = Deployment(name="d", backend=backend)
    call = asyncio.create_task(hold(deployment, asyncio.Event()))
    await settle()
    call.cancel()
    await settle()
    assert deployment.state == "loading"
    backend.opening.set()
    await settle()
    assert deployment.state == "ready"


async def test_a_load_that_fails_is_said_and_tried_again() -> None:
    backend = Script()
    backend.open_error = ModelNotReady("no such file")
    deployment = Deployment(name="d", backend=backend)
    with pytest.raises(ModelNotReady):
        await deployment.open()
    assert deployment.state == "failed"
    backend.open_error = None
    await deployment.open()
    assert deployment.state == "ready"


async def test_a_load_that_takes_too_long_is_given_up() -> None:
    backend = Script()
    backend.opening = asyncio.Event()
    deployment = Deployment(name="d", backend=backend, limits=Limits(load_timeout_s=0.01))
    with pytest.raises(ModelNotReady, match="load_timeout_s"):
        await deployment.open()
    assert backend.closes == 1


async def test_calls_beyond_the_places_wait_and_one_more_is_refused() -> None:
    deployment = Deployment(name="d", backend=Script(concurrency=1), limits=Limits(max_waiting=1))
    release = asyncio.Event()
    calls = [asyncio.create_task(hold(deployment, release)) for _ in range(2)]
    await settle()
    with pytest.raises(RateLimited) as caught:
        await hold(deployment, release)
    assert caught.value.retry_after_s == 1
    release.set()
    await asyncio.gather(*calls)
    await hold(deployment, release)


async def test_a_waiting_call_that_leaves_frees_its_turn() -> None:
    deployment = Deployment(name="d", backend=Script(concurrency=1), limits=Limits(max_waiting=1))
    release = asyncio.Event()
    first = asyncio.create_task(hold(deployment, release))
    await settle()
    second = asyncio.create_task(hold(deployment, release))
    await settle()
    second.cancel()
    await settle()
    third = asyncio.create_task(hold(deployment, release))
    await settle()
    assert not third.done()
    release.set()
    await asyncio.gather(first, third)


async def test_an_idle_serverless_model_is_unloaded_and_comes_back() -> None:
    backend = Script()
    deployment = Deployment(name="d", backend=backend, limits=Limits(idle_s=0))
    async with deployment.place():
        await deployment.close_if_idle()
        assert deployment.state == "ready"
    await deployment.close_if_idle()
    assert (deployment.state, backend.closes) == ("cold", 1)
    async with deployment.place():
        assert deployment.state == "ready"


async def test_a_managed_model_stays_however_idle() -> None:
    backend = Script()
    deployment = Deployment(name="d", backend=backend, limits=Limits(compute="managed", idle_s=0))
    await deployment.open()
    await deployment.close_if_idle()
    assert deployment.state == "ready"


async def test_a_loaded_model_is_asked_to_be_open_at_each_call() -> None:
    """So that an engine that died since is started again."""
    backend = Script()
    deployment = Deployment(name="d", backend=backend)
    await deployment.open()
    backend.open_error = ModelNotReady("its engine keeps crashing")
    with pytest.raises(ModelNotReady, match="keeps crashing"):
        async with deployment.place():
            pytest.fail("the engine is dead")


async def test_closing_while_loading_ends_the_load() -> None:
    backend = Script()
    backend.opening = asyncio.Event()
    deployment = Deployment(name="d", backend=backend)
    call = asyncio.create_task(hold(deployment, asyncio.Event()))
    await settle()
    await deployment.close()
    assert backend.closes == 1
    with pytest.raises(asyncio.CancelledError):
        await call
