"""The app that serves now, and its replacement by another one without a pause.

Rules of this file:
- A request is answered by one app from its beginning to its end.
- A new app takes over only when it is whole; whatever fails before leaves the old one as it
  is.
- A deployment that both have stays open. One that only the old app has is closed when its
  last call has ended.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from interlingua.gateway.deployments import Deployment
from interlingua.gateway.gateway import Gateway

from .app import App
from .asgi import Receive, Scope, Send

#: How often a deployment that is to be closed is asked whether its calls have ended.
_LOOK_EVERY_S = 0.1


@contextlib.asynccontextmanager
async def _nothing(_live: "Live") -> AsyncIterator[None]:
    yield


Beside = Callable[["Live"], AbstractAsyncContextManager[None]]


class Live:
    """The server as an ASGI 3 application. Its lifespan opens and closes gateways, and what
    runs ``beside`` them.
    """

    def __init__(self, app: App, *, beside: Beside = _nothing) -> None:
        self._app = app
        self._beside = beside
        #: Apps whose last calls are under way.
        self._retiring: dict[asyncio.Task[None], App] = {}

    @property
    def gateway(self) -> Gateway:
        """That of the app that serves now."""
        return self._app.gateway

    @property
    def deployments(self) -> Sequence[Deployment]:
        return self._app.gateway.deployments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    def drain(self, *, refuse: bool = True) -> None:
        """See :meth:`~.app.App.drain`."""
        for app in (self._app, *self._retiring.values()):
            app.drain(refuse=refuse)

    async def replace(self, app: App) -> None:
        """Have ``app`` answer from the next request on."""
        await app.gateway.open()
        old, self._app = self._app, app
        task = asyncio.create_task(_retire(old.gateway, set(app.gateway.deployments)))
        self._retiring[task] = old
        task.add_done_callback(self._retiring.pop)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._app.gateway.open()
        async with self._beside(self):
            await send({"type": "lifespan.startup.complete"})
            try:
                await receive()
            except asyncio.CancelledError:
                # The server was told to end at once; engine processes end with this one.
                return
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await self._app.gateway.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _retire(gateway: Gateway, kept: set[Deployment]) -> None:
    """Close what only this gateway has, as soon as nobody calls it."""
    left = [deployment for deployment in gateway.deployments if deployment not in kept]
    try:
        while busy := [deployment for deployment in left if deployment.calls_under_way]:
            await asyncio.sleep(_LOOK_EVERY_S)
            for deployment in set(left) - set(busy):
                await deployment.close()
    finally:
        await gateway.close(left)
