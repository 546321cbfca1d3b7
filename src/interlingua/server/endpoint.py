"""The one handler of all operations: match, authenticate, read, ask the gateway, write.

Rules of this file:
- Everything but the public rows, and the documentation where it is open, needs a key or a
  token, whether it exists or not.
- A call is cancelled when its client leaves or its time is up, wherever it is.
- Whatever fails is raised; the app turns it into the reply.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

from interlingua.backends.base import CallContext
from interlingua.config.schema import ServerConfig
from interlingua.dialects.base import Reply, ServerDialect, StreamWriter
from interlingua.errors import (
    DeadlineExceeded,
    DeploymentNotFound,
    Forbidden,
    Location,
    MethodNotAllowed,
    NotFound,
    Unavailable,
)
from interlingua.gateway.allowance import Allowance, LimitedCall, headers
from interlingua.gateway.directory import Route
from interlingua.gateway.gateway import Answer, Gateway, Whole
from interlingua.gateway.limits import Shares
from interlingua.gateway.meter import CallMeter, Meter
from interlingua.headers import ANSWERED_BY, CHANGES, DEPLOYMENT, MODEL_MESH
from interlingua.http import HttpCall
from interlingua.storage.spool import Spool
from interlingua.types.chat import ChatCompletion, ChatDelta
from interlingua.types.completions import Completion, CompletionDelta
from interlingua.types.embeddings import Embeddings
from interlingua.types.models import EncodingFormat, ExtraParameters, Operation
from interlingua.types.usage import Usage

from . import ops, pages
from .attended import Attended, Deadlines
from .auth import UNLIMITED, Authenticator, Caller
from .exchange import BODY_TIMEOUT_S, Exchange
from .media import Pictured, remote_images, with_images
from .metering import metered
from .routes import Match, Row, match
from .streaming import stream

if TYPE_CHECKING:
    from .remote_images import RemoteImages

Delta = TypeVar("Delta", ChatDelta, CompletionDelta)
Made = TypeVar("Made", ChatCompletion, Completion, Embeddings)

_JSON = {"content-type": "application/json"}
#: How long a half-sent request may still take once the server is stopping.
_DRAIN_BODY_S = 1.0


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call on its way: what came, in which dialect, and for whom."""

    exchange: Exchange
    dialect: ServerDialect
    http: HttpCall
    route: Route
    policy: ExtraParameters | None
    context: CallContext
    meter: CallMeter
    allowance: Allowance | None

    def used(self, usage: Usage) -> None:
        """The answer is whole, and took this much."""
        self.meter.usage = usage
        if self.allowance is not None:
            self.allowance.settle(usage.total_tokens)

    def reply(self, answer: Answer[Delta] | Whole[Made]) -> Reply:
        return Reply(
            id=self.exchange.id,
            created=int(time.time()),
            model=answer.deployment.name,
            api_version=self.http.query.get("api-version"),
        )


class Endpoint:
    """Answers one exchange at a time, any number concurrently."""

    def __init__(
        self,
        gateway: Gateway,
        authenticator: Authenticator,
        settings: ServerConfig,
        *,
        meter: Meter,
        shares: Shares | None = None,
        records: Spool | None = None,
    ) -> None:
        """``shares``: where the config's limits are kept; ``None``: it has none. ``records``:
        where usage must be put down; ``None``: calls are answered without, too.
        """
        self.gateway = gateway
        self.draining = False
        self._refuses = False
        self._authenticator = authenticator
        self._settings = settings
        self._meter = meter
        self._shares = shares
        self._records = records
        self._documented = settings.is_local if settings.docs is None else settings.docs
        self._started = int(time.time())
        self._deadlines = Deadlines()
        #: The clocks of bodies that are being read.
        self._reading: set[asyncio.Timeout] = set()
        self._operations: dict[Operation, Callable[[_Call], Awaitable[None]]] = {
            "info": self._info,
            "chat_completions": self._chat,
            "completions": self._complete,
            "embeddings": self._embed,
            "image_embeddings": self._embed_images,
        }

    @cached_property
    def _images(self) -> "RemoteImages":
        from .remote_images import FetchLimits, RemoteImages  # noqa: PLC0415 - few need its client

        limits = FetchLimits(call_bytes=self._settings.max_body_bytes)
        return RemoteImages(self._settings.remote_images, limits)

    def drain(self, *, refuse: bool) -> None:
        """Give up calls that are only half sent, and take no new ones if ``refuse``."""
        self.draining = True
        self._refuses = refuse
        end = asyncio.get_running_loop().time() + _DRAIN_BODY_S
        for clock in self._reading:
            clock.reschedule(end)

    async def answer(self, exchange: Exchange, dialect: ServerDialect) -> None:
        """Answer in ``dialect``.

        Raises:
            ApiError: the reply is to be that error.
            ClientGone: nobody waits for a reply.
        """
        found = match(exchange.path)
        if found is None or found.row.operation is None:
            await self._answer_otherwise(exchange, found)
            return
        row, operation = found.row, found.row.operation
        meter = CallMeter(operation, exchange.id)
        allowance = None if self._shares is None else Allowance(self._shares, meter)
        with metered(self._meter, meter, exchange, allowance):
            caller = self._authenticator.holder(exchange.raw_headers)
            if caller is None:
                caller = await self._authenticator.bearer(exchange.raw_headers)
            meter.key = caller.name
            self._admit(exchange, row, caller)
            route = Route(
                operation=operation,
                endpoint=found.endpoint,
                deployment=found.deployment,
                header_deployment=_named_in(exchange.headers),
                openai=row.openai,
                permitted=caller.deployments_for(operation),
            )
            await self._answer_call(exchange, dialect, route, meter, allowance=allowance)

    async def _answer_otherwise(self, exchange: Exchange, found: Match | None) -> None:
        """Answer what is no operation of a model."""
        if found is not None and found.row.documentation and not self._documented:
            found = None
        caller = UNLIMITED
        if found is None or not (found.row.public or found.row.documentation):
            caller = await self._authenticator.check(exchange.raw_headers)
        if found is None:
            raise NotFound(f"Resource not found: {exchange.method} {exchange.path[:200]}")
        self._admit(exchange, found.row, caller)
        match found.row.resource:
            case "metrics":
                if not caller.unlimited:
                    raise Forbidden("No role of the token permits everything, as /metrics needs.")
                kind, page = await self._meter.page()
                await exchange.reply(200, {"content-type": kind}, page)
            case "docs":
                await exchange.reply(200, *pages.docs())
            case _:
                await self._answer_about_itself(exchange, found, caller)

    def _admit(self, exchange: Exchange, row: Row, caller: Caller) -> None:
        """Let a caller in who may ask for what a path has."""
        if self._shares is not None and caller is not UNLIMITED:
            exchange.stated = partial(headers, self._shares, caller.name)
        if exchange.method != row.method:
            raise MethodNotAllowed(
                f"Method not allowed: {exchange.method[:20]}. This path takes {row.method}."
            )

    async def _answer_about_itself(self, exchange: Exchange, found: Match, caller: Caller) -> None:
        everything = self.gateway.deployments
        deployments = [each for each in everything if caller.sees(each.name)]
        if everything and not deployments:
            raise Forbidden("No role of the token permits anything here.")
        status, body = 200, ops.LIVE
        match found.row.resource:
            case "healthy":
                if found.endpoint and not self.gateway.directory.has_endpoint(found.endpoint):
                    raise DeploymentNotFound(f"The endpoint {found.endpoint[:64]!r} doesn't exist.")
                body = ops.HEALTHY
            case "ready":
                status, body = ops.readiness(deployments, draining=self.draining)
            case "models":
                body = ops.list_models(deployments, self._started)
            case "model":
                body = ops.show_model(deployments, found.model or "", self._started)
            case "catalog":
                body = ops.list_catalog(deployments)
            case "openapi":
                body = pages.openapi(exchange.headers)
            case "live" | "operation" | "docs" | "metrics":
                pass
        await exchange.reply(status, _JSON, body)

    async def _answer_call(
        self,
        exchange: Exchange,
        dialect: ServerDialect,
        route: Route,
        meter: CallMeter,
        *,
        allowance: Allowance | None,
    ) -> None:
        if self._refuses:
            raise Unavailable("The server is stopping. Try again.")
        if self._records is not None and not self._records.caught_up():
            raise Unavailable(
                "Usage can't be put down, and no call is answered without. Try later."
            )
        deadline = asyncio.get_running_loop().time() + self._settings.call_timeout_s
        body = b""
        if exchange.method == "POST":
            arrived = exchange.arrived(self._settings.max_body_bytes)
            body = await self._read_body(exchange) if arrived is None else arrived
        http = HttpCall(
            method=exchange.method,
            path=exchange.path,
            query=exchange.query,
            headers=exchange.headers,
            body=body,
        )
        call = _Call(
            exchange=exchange,
            dialect=dialect,
            http=http,
            route=route,
            policy=dialect.read_policy(http),
            context=_context(exchange.id, deadline, allowance),
            meter=meter,
            allowance=allowance,
        )
        attended = Attended(exchange, deadline, self._deadlines)
        try:
            with attended:
                await self._operations[route.operation](call)
        except TimeoutError as error:
            if not attended.expired:
                raise
            raise DeadlineExceeded(
                f"The call took longer than {self._settings.call_timeout_s:g} s (call_timeout_s)."
            ) from error

    async def _read_body(self, exchange: Exchange) -> bytes:
        clock = asyncio.timeout(BODY_TIMEOUT_S)
        self._reading.add(clock)
        try:
            return await exchange.read_body(self._settings.max_body_bytes, clock)
        finally:
            self._reading.discard(clock)

    async def _info(self, call: _Call) -> None:
        info = self.gateway.info(call.route, call.http.query.get("model"), meter=call.meter)
        body = call.dialect.write_info(info, self._settings.model_type)
        await call.exchange.reply(200, _JSON, body)

    async def _chat(self, call: _Call) -> None:
        request = call.dialect.read_chat(call.http)
        if remote := remote_images(request):
            request = await self._with_images(request, remote, call)
        if request.stream:
            answer = await self.gateway.chat(
                request, call.route, call.policy, call.context, meter=call.meter
            )
            await _stream(call, answer, call.dialect.chat_writer(request, call.reply(answer)))
            return
        whole = await self.gateway.chat_whole(
            request, call.route, call.policy, call.context, meter=call.meter
        )
        await _reply(call, whole, call.dialect.write_chat(whole.answer, call.reply(whole)))

    async def _complete(self, call: _Call) -> None:
        request = call.dialect.read_completion(call.http)
        if request.stream:
            answer = await self.gateway.complete(
                request, call.route, call.policy, call.context, meter=call.meter
            )
            writer = call.dialect.completion_writer(request, call.reply(answer))
            await _stream(call, answer, writer)
            return
        whole = await self.gateway.complete_whole(
            request, call.route, call.policy, call.context, meter=call.meter
        )
        await _reply(call, whole, call.dialect.write_completion(whole.answer, call.reply(whole)))

    async def _embed(self, call: _Call) -> None:
        request = call.dialect.read_embeddings(call.http)
        whole = await self.gateway.embed(
            request, call.route, call.policy, call.context, meter=call.meter
        )
        await self._reply_vectors(call, whole, request.encoding_format)

    async def _embed_images(self, call: _Call) -> None:
        request = call.dialect.read_image_embeddings(call.http)
        if remote := remote_images(request):
            request = await self._with_images(request, remote, call)
        whole = await self.gateway.embed_images(
            request, call.route, call.policy, call.context, meter=call.meter
        )
        await self._reply_vectors(call, whole, request.encoding_format)

    async def _reply_vectors(
        self, call: _Call, whole: Whole[Embeddings], encoding: EncodingFormat | None
    ) -> None:
        body = call.dialect.write_embeddings(whole.answer, encoding, call.reply(whole))
        await _reply(call, whole, body)

    async def _with_images(
        self, request: Pictured, remote: Mapping[Location, str], call: _Call
    ) -> Pictured:
        """The request with its remote images in it.

        A provider that fetches images itself gets the URLs as they are. What is refused
        anyway, as an image is by a model of text, is refused before anything is fetched.
        """
        if _names_hosts(remote.values()) and self.gateway.fetches_images(request, call.route):
            return request
        images = self._images.check(remote)
        self.gateway.check(request, call.route, call.policy)
        return with_images(request, await self._images.fetch(images))


def _context(call_id: str, deadline: float, allowance: Allowance | None) -> CallContext:
    if allowance is None:
        return CallContext(id=call_id, deadline=deadline)
    return LimitedCall(id=call_id, deadline=deadline, allowance=allowance)


def _named_in(headers: Mapping[str, str]) -> str | None:
    """The deployment that managed online endpoints and Foundry let a header name."""
    return headers.get(DEPLOYMENT.name) or headers.get(MODEL_MESH.name) or None


def _names_hosts(urls: Iterable[str]) -> bool:
    """Whether they are what a provider may be asked to fetch: no files, no other schemes."""
    return all(url.lower().startswith(("https://", "http://")) for url in urls)


async def _stream(call: _Call, answer: Answer[Delta], writer: StreamWriter[Delta]) -> None:
    """Send an answer as it comes."""
    call.meter.begun()
    async with aclosing(answer.deltas) as deltas:
        await stream(call.exchange, deltas, writer, _headers(answer), call.used)


async def _reply(call: _Call, whole: Whole[Made], body: bytes) -> None:
    """Send an answer that is whole."""
    call.used(whole.answer.usage)
    await call.exchange.reply(200, _JSON | _headers(whole), body)


def _headers(answer: Answer[Delta] | Whole[Made]) -> dict[str, str]:
    headers = {header.name: answer.deployment.name for header in ANSWERED_BY}
    changes = answer.changes.header()
    if changes is not None:
        headers[CHANGES.name] = changes
    return headers
