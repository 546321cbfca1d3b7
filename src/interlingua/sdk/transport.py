"""The two shells that carry a plan's steps out, over httpx2.

Rules of this file:
- Nothing is decided here: a step in, what came of it out, a failure under this project's name.
- httpx2 is imported with the first call, so that importing the SDK and making a client is light.
"""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from inspect import isawaitable
from typing import Any, TypeVar

import httpx2

from .environment import is_loopback
from .exchange import AskToken, Plan, Send, Step, ask_token
from .failures import (
    AzureError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
    failure,
)
from .replies import AsyncReply, Reply, SyncReply
from .settings import Settings

R = TypeVar("R")

#: Shorter than any server's own limit, so that a kept connection isn't one that just closed.
KEEPALIVE_S = 2.0


class Transport:
    """Connections of one synchronous client."""

    def __init__(self, settings: Settings, origin: str) -> None:
        self._http = settings.http_client or httpx2.Client(**_options(settings, origin))
        self._owned = settings.http_client is None

    def run(self, plan: Plan[R]) -> R:
        """Carry a plan out, in the caller's thread."""
        outcome: Any = None
        try:
            step = next(plan)
            while True:
                try:
                    outcome = self._carry(step)
                except AzureError as error:
                    step = plan.throw(error)  # it may know another step
                except BaseException as error:
                    plan.throw(error)  # whoever watches is told
                    raise
                else:
                    step = plan.send(outcome)
        except StopIteration as stop:
            result: R = stop.value
            return result

    def close(self) -> None:
        if self._owned:
            self._http.close()

    def _carry(self, step: Step) -> Any:
        if isinstance(step, Send):
            return self._send(step)
        if isinstance(step, AskToken):
            return ask_token(step)
        step.settings.clock.sleep(step.seconds)
        return None

    def _send(self, step: Send) -> Reply:
        with _failures(ServiceResponseError):
            reply = self._http.send(_request(self._http, step), stream=True)
            seen = SyncReply(_head(step, reply), lambda: _chunks(reply), reply.close)
            if not step.streams or reply.status_code != 200:
                with seen:
                    seen.read()
        return seen


class AsyncTransport:
    """Connections of one asynchronous client, in one event loop."""

    def __init__(self, settings: Settings, origin: str) -> None:
        self._http = settings.http_client or httpx2.AsyncClient(**_options(settings, origin))
        self._owned = settings.http_client is None

    async def run(self, plan: Plan[R]) -> R:
        """Carry a plan out, in the caller's task."""
        outcome: Any = None
        try:
            step = next(plan)
            while True:
                try:
                    outcome = await self._carry(step)
                except AzureError as error:
                    step = plan.throw(error)  # it may know another step
                except BaseException as error:
                    plan.throw(error)  # whoever watches is told
                    raise
                else:
                    step = plan.send(outcome)
        except StopIteration as stop:
            result: R = stop.value
            return result

    async def close(self) -> None:
        if self._owned:
            await self._http.aclose()

    async def _carry(self, step: Step) -> Any:
        if isinstance(step, Send):
            return await self._send(step)
        if isinstance(step, AskToken):
            token = ask_token(step)
            return await token if isawaitable(token) else token
        await step.settings.clock.asleep(step.seconds)
        return None

    async def _send(self, step: Send) -> Reply:
        with _failures(ServiceResponseError):
            reply = await self._http.send(_request(self._http, step), stream=True)
            seen = AsyncReply(_head(step, reply), lambda: _achunks(reply), reply.aclose)
            if not step.streams or reply.status_code != 200:
                async with seen:
                    await seen.read()
        return seen


def _options(settings: Settings, origin: str) -> dict[str, Any]:
    proxies = {
        scheme: httpx2.Proxy(url) for scheme, url in settings.proxies.items() if url is not None
    }
    return {
        "limits": httpx2.Limits(keepalive_expiry=KEEPALIVE_S),
        "verify": _verify(settings),
        # A proxy of the environment is for the world outside, not for this machine.
        "trust_env": settings.use_env_settings and not is_loopback(origin),
        "proxy": proxies.get(origin.partition(":")[0]),
    }


def _verify(settings: Settings) -> ssl.SSLContext:
    """How a server's certificate is checked, and which one is shown to it."""
    told, shown = settings.connection_verify, settings.connection_cert
    if isinstance(told, bool | str):
        # Not httpx2's own choice: SSL_CERT_FILE counts for this machine too.
        trust_env = settings.use_env_settings
        context = httpx2.create_ssl_context(verify=told is not False, trust_env=trust_env)
    else:
        context = told
    if isinstance(told, str):
        context.load_verify_locations(cafile=told)
    if shown is not None:
        context.load_cert_chain(*((shown,) if isinstance(shown, str) else shown))
    return context


def _request(http: Any, step: Send) -> httpx2.Request:
    told = step.settings
    request: httpx2.Request = http.build_request(
        step.request.method,
        step.request.url,
        headers=step.request.headers,
        content=step.request.content,
        timeout=httpx2.Timeout(told.read_timeout, connect=told.connection_timeout),
    )
    return request


def _head(step: Send, reply: httpx2.Response) -> Reply:
    return Reply(step.request, reply.status_code, reply.reason_phrase, reply.headers)


def _chunks(reply: httpx2.Response) -> Iterator[bytes]:
    with _failures(IncompleteReadError):
        yield from reply.iter_bytes()


async def _achunks(reply: httpx2.Response) -> AsyncIterator[bytes]:
    with _failures(IncompleteReadError):
        async for chunk in reply.aiter_bytes():
            yield chunk


@contextmanager
def _failures(broken: type[AzureError]) -> Iterator[None]:
    """What httpx2 says went wrong, under azure-core's names; ``broken``: the connection ended."""
    try:
        yield
    except (httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
        raise failure(ServiceRequestTimeoutError, error, error=error) from error
    except (
        httpx2.ConnectError,
        httpx2.ProxyError,
        httpx2.UnsupportedProtocol,
        httpx2.InvalidURL,
        httpx2.LocalProtocolError,
    ) as error:
        raise failure(ServiceRequestError, error, error=error) from error
    except httpx2.TimeoutException as error:
        raise failure(ServiceResponseTimeoutError, error, error=error) from error
    except httpx2.RemoteProtocolError as error:
        raise failure(broken, error, error=error) from error
    except httpx2.RequestError as error:
        raise failure(ServiceResponseError, error, error=error) from error
