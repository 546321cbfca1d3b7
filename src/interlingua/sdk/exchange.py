"""One call from beginning to end, without I/O: a sync and an async shell drive it.

Rules of this file:
- A :class:`Plan` is a generator. It yields steps, a shell carries each out and sends back what
  came of it, or throws the failure; what the plan returns is the call's result.
- Everything that decides is here: credentials, retries, hooks, failures, who watches. Shells
  only move bytes, wait and ask for tokens.
- **Tracing**: every call passes :func:`operate`, which asks ``observe.watch`` once and then
  tells the watch of the reply, of each chunk of a stream (through ``streams.Updates``) and of
  the end. ``observe`` says what in which order.
"""

import os
import sys
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from .. import __version__  # noqa: TID252 - the bare package is never imported
from .address import Address
from .credentials import GivesTokens, key_of
from .failures import BY_STATUS, AzureError, HttpResponseError, ServiceRequestError, failure
from .mapped import encode
from .observe import Call, Watch, watch
from .replies import HttpRequest, PipelineRequest, PipelineResponse, Reply
from .retries import Retries
from .settings import Settings

#: A token is renewed this long before it ends, as azure-core does.
RENEWAL_S = 300.0

R = TypeVar("R")


class Send(NamedTuple):
    """Send the request; its reply comes back. The body is read, unless it streams and is 200."""

    request: HttpRequest
    settings: Settings
    streams: bool


class Wait(NamedTuple):
    """Let so many seconds pass."""

    seconds: float
    settings: Settings


class AskToken(NamedTuple):
    """Ask the credential for a token; what it gives comes back."""

    credential: Any
    scopes: tuple[str, ...]


Step = Send | Wait | AskToken
Plan = Generator[Step, Any, R]


class Access:
    """An endpoint and the credential for it, and the last token that the credential gave."""

    def __init__(self, address: Address, credential: object) -> None:
        self.address = address
        self._credential = credential
        self._token: Any = None

    def authorize(self, request: HttpRequest, settings: Settings) -> Plan[None]:
        """Add the credential to a request, unless that goes to another server.

        Raises:
            ServiceRequestError: a token must not go over plain HTTP.
        """
        parts = urlsplit(request.url)
        if f"{parts.scheme}://{parts.netloc}" != self.address.origin:
            return
        headers = request.headers
        key = key_of(self._credential)
        if key is None and self._credential is not None:
            if settings.enforce_https and not request.url.lower().startswith("https:"):
                raise failure(
                    ServiceRequestError,
                    "Bearer token authentication is not permitted for "
                    "non-TLS protected (non-https) URLs.",
                )
            token = yield from self._fresh(settings)
            headers["authorization"] = f"Bearer {token}"
        elif key:
            # Both, as Microsoft's client sends them: each kind of endpoint reads one.
            headers["authorization"] = f"Bearer {key}"
            headers.setdefault("api-key", key)

    def _fresh(self, settings: Settings) -> Plan[str]:
        if self._token is None or self._token.expires_on - settings.clock.now() < RENEWAL_S:
            self._token = yield AskToken(self._credential, tuple(settings.credential_scopes))
        return str(self._token.token)


def ask_token(step: AskToken) -> Any:
    """What the credential's own method returns: a token, or for an async one its awaitable."""
    credential = step.credential
    if isinstance(credential, GivesTokens):
        return credential.get_token(*step.scopes)
    return credential.get_token_info(*step.scopes)


def operate(
    call: Call,
    access: Access,
    settings: Settings,
    read: Callable[[Reply, Watch | None], R],
) -> Plan[R]:
    """A call, watched: its reply with status 200, as ``read`` understands it.

    Raises:
        AzureError: what went wrong, as ``failures`` names it.
    """
    watching = watch(call)
    try:
        more = watching.headers() if watching else {}
        request = _request(call, access.address, settings, more)
        reply = yield from exchange(request, access, settings, streams=call.streams)
        _succeeded(reply, settings)
        result = read(reply, watching)
    except BaseException as error:
        if watching:
            watching.ended(error)
        raise
    if watching and call.streams:
        watching.opened()
    elif watching:
        watching.replied(result)
        watching.ended(None)
    return result


def exchange(
    request: HttpRequest, access: Access, settings: Settings, *, streams: bool
) -> Plan[Reply]:
    """The reply to a request, whatever its status, after the retries that help."""
    retries = Retries(settings, request.method)
    while True:
        yield from access.authorize(request, settings)
        if settings.raw_request_hook:
            settings.raw_request_hook(PipelineRequest(request))
        _log(settings, "Request: %s %s", request.method, request.url)
        try:
            reply: Reply = yield Send(request, settings, streams)
        except AzureError as error:
            pause = retries.after_failure(error)
            if pause is None:
                raise
        else:
            _log(settings, "Response: %s %s", reply.status_code, reply.reason)
            if settings.raw_response_hook:
                settings.raw_response_hook(PipelineResponse(reply))
            pause = retries.after(reply)
            if pause is None:
                return reply
        yield Wait(pause, settings)


def _request(
    call: Call, address: Address, settings: Settings, more: Mapping[str, str]
) -> HttpRequest:
    headers = {
        "accept": "application/json",
        "user-agent": user_agent(settings),
        "x-ms-client-request-id": settings.request_id or _request_id(),
        **call.headers,
        **settings.headers,
        **more,
    }
    content = None
    if call.method == "POST":
        headers.setdefault("content-type", settings.content_type)
        content = encode(call.parameters) if call.body is None else call.body
    query = {"api-version": settings.api_version, **call.query, **settings.params}
    path = quote(address.base_path + call.path, safe="/:@!$&'()*+,;=~")
    url = f"{address.origin}{path}?{urlencode(query, quote_via=quote)}"
    return HttpRequest(call.method, url, headers=headers, content=content)


def _request_id() -> str:
    """A version 4 UUID, without the module that takes 6 ms to import."""
    number = bytearray(os.urandom(16))
    number[6] = number[6] & 0x0F | 0x40
    number[8] = number[8] & 0x3F | 0x80
    text = number.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def below(address: Address, url: str) -> str:
    """An address as it is, or a path below the endpoint."""
    if urlsplit(url).scheme:
        return url
    return f"{address.origin}{quote(address.base_path)}/{url.lstrip('/')}"


def user_agent(settings: Settings) -> str:
    python = ".".join(str(part) for part in sys.version_info[:3])
    own = f"interlingua/{__version__} Python/{python} ({sys.platform})"
    if settings.user_agent and settings.user_agent_overwrite:
        return settings.user_agent
    return f"{settings.user_agent} {own}" if settings.user_agent else own


def _succeeded(reply: Reply, settings: Settings) -> None:
    if reply.status_code != 200:
        raise _failed(reply, settings)


def _failed(reply: Reply, settings: Settings) -> Exception:
    theirs = settings.error_map.get(reply.status_code)
    if theirs is not None:
        mapped: Callable[..., Exception] = theirs
        return mapped(response=reply)
    kind = BY_STATUS.get(reply.status_code, HttpResponseError)
    place = reply.headers.get("location")
    if 300 <= reply.status_code < 400 and place:
        text = f"the endpoint answered with a redirection to {place}: give that as the endpoint"
        return failure(kind, text, response=reply)
    return failure(kind, response=reply)


def _log(settings: Settings, text: str, *values: object) -> None:
    """To the logger ``interlingua``, where ``logging_enable`` asks for it: no body, no header."""
    if settings.logging_enable:
        import logging  # noqa: PLC0415 - few ask for it

        logging.getLogger("interlingua").info(text, *values)
