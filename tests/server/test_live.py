"""One app takes another's place: no call notices, and what both have stays open."""

import asyncio

import pytest

from interlingua.backends.base import Backend
from interlingua.backends.echo import EchoBackend
from interlingua.config.schema import Config, ServerConfig
from interlingua.gateway.deployments import Deployment
from interlingua.gateway.gateway import Gateway
from interlingua.server.app import App
from interlingua.server.live import Live

from .service import KEY, Caller, hanging

CHAT = b'{"messages":[{"role":"user","content":"one two"}],"stream":true,"model":"%s"}'


class Closing(EchoBackend):
    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.closed = asyncio.Event()

    async def close(self) -> None:  # type: ignore[explicit-override]  # typing.override is 3.12's
        self.closed.set()


def deployment(backend: Backend) -> Deployment:
    return Deployment(name=backend.info.model_name, backend=backend)


def app_of(*deployments: Deployment) -> App:
    return App(Gateway(deployments), Config(server=ServerConfig()), [KEY])


async def call(live: Live, model: bytes) -> Caller:
    caller = Caller("/chat/completions", CHAT % model)
    await live(caller.scope, caller.receive, caller.send)
    return caller


@pytest.mark.anyio
async def test_a_call_under_way_ends_as_it_began() -> None:
    old = hanging(words=1)
    live = Live(app_of(deployment(old)))
    caller = Caller("/chat/completions", CHAT % b"hanging")
    under_way = asyncio.create_task(live(caller.scope, caller.receive, caller.send))
    await old.started.wait()
    await live.replace(app_of(deployment(EchoBackend())))
    assert (await call(live, b"hanging")).status == 400
    assert (await call(live, b"echo")).status == 200
    assert not old.closed.is_set()
    caller.leave()
    await under_way
    assert old.closed.is_set()


@pytest.mark.anyio
async def test_what_only_the_old_app_had_is_closed_and_what_both_have_is_not() -> None:
    kept, gone = Closing("kept"), Closing("gone")
    shared = deployment(kept)
    live = Live(app_of(shared, deployment(gone)))
    assert (await call(live, b"gone")).status == 200
    assert (await call(live, b"kept")).status == 200
    await live.replace(app_of(shared))
    async with asyncio.timeout(10):
        await gone.closed.wait()
    assert not kept.closed.is_set()
    assert (await call(live, b"kept")).status == 200
