"""The synchronous client: one endpoint over HTTP/1.1, answers as the project's own types."""

import ssl
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

import httpx2

from interlingua.errors import ConfigError, DeadlineExceeded, Unavailable, UpstreamError
from interlingua.http import HttpCall
from interlingua.types.chat import ChatDelta, ChatRequest
from interlingua.types.completions import CompletionDelta, CompletionRequest
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import ModelInfo

from .core import Core, Feed, ServedModel
from .environment import is_loopback
from .trust import distrusts

Delta = TypeVar("Delta")

CONNECT_TIMEOUT_S = 10.0
#: Shorter than any server's own limit, so that a kept connection isn't one that just closed.
KEEPALIVE_S = 2.0
#: An error's body is a page at most; more of it isn't read.
MAX_ERROR_BYTES = 1024 * 1024


class Client:
    """A client of one endpoint; a context manager that closes its connections.

    ``timeout_s`` is the longest silence of the server. Every method raises the
    :class:`~interlingua.errors.ApiError` that the reply states, :class:`Unavailable` when
    nothing answers, :class:`DeadlineExceeded` after too long a silence and
    :class:`UpstreamError` when a reply breaks off or makes no sense.
    """

    def __init__(
        self,
        endpoint: str,
        key: str | None,
        *,
        model: str | None = None,
        api_version: str | None = None,
        timeout_s: float = 600.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Nothing is sent yet. ``tls`` says whom to trust, where that isn't the system's
        choice (:func:`interlingua.sdk.trust.context_for`).

        Raises:
            ConfigError: the endpoint is no URL, or the key can't be sent in a header.
        """
        self._core = Core(endpoint, key, model=model, api_version=api_version)
        try:
            httpx2.URL(endpoint)
        except httpx2.InvalidURL as error:
            raise ConfigError(f"the endpoint {endpoint!r} is not a URL: {error}") from error
        self._http = httpx2.Client(
            timeout=httpx2.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            limits=httpx2.Limits(keepalive_expiry=KEEPALIVE_S),
            # A proxy of the environment is for the world outside, not for this machine.
            trust_env=not is_loopback(endpoint),
            verify=tls or True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def chat(self, request: ChatRequest) -> Generator[ChatDelta]:
        """The answer as it comes. Closing the generator cancels the call."""
        return self._stream(self._core.chat(request), self._core.chat_feed())

    def complete(self, request: CompletionRequest) -> Generator[CompletionDelta]:
        """The texts as they come. Closing the generator cancels the call."""
        return self._stream(self._core.complete(request), self._core.completion_feed())

    def embed(self, request: EmbeddingsRequest) -> Embeddings:
        body = self._fetch(self._core.embed(request))
        return self._core.read_embeddings(body, len(request.inputs))

    def embed_images(self, request: ImageEmbeddingsRequest) -> Embeddings:
        body = self._fetch(self._core.embed_images(request))
        return self._core.read_embeddings(body, len(request.inputs))

    def info(self) -> ModelInfo:
        return self._core.read_info(self._fetch(self._core.info()))

    def models(self) -> tuple[ServedModel, ...]:
        """The deployments that the endpoint lists, in its order."""
        return self._core.read_models(self._fetch(self._core.models()))

    def _stream(self, call: HttpCall, feed: Feed[Delta]) -> Generator[Delta]:
        with self._open(call) as reply:
            for chunk in reply.iter_bytes():
                yield from feed.read(chunk)
                if feed.done:
                    break
            yield from feed.finish()

    def _fetch(self, call: HttpCall) -> bytes:
        with self._open(call) as reply:
            return reply.read()

    @contextmanager
    def _open(self, call: HttpCall) -> Iterator[httpx2.Response]:
        """The reply to a call, its status below 300; leaving early cancels it."""
        exchange = self._http.stream(
            call.method, self._core.url(call), headers=call.headers, content=call.body or None
        )
        with self._failures(), exchange as reply:
            if reply.status_code >= 300:
                headers = {name.lower(): value for name, value in reply.headers.items()}
                raise self._core.read_error(reply.status_code, headers, _read_capped(reply))
            yield reply

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Failures of the connection as the errors of this project."""
        origin = self._core.address.origin
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            hint = ": `interlingua serve` starts a server here" if is_loopback(origin) else ""
            if distrusts(error):
                raise Unavailable(
                    f"the certificate of {origin} isn't trusted ({error}): name the file of the "
                    "authority that signed it with --ca or in SSL_CERT_FILE"
                ) from error
            raise Unavailable(f"nothing answers at {origin} ({error}){hint}") from error
        except httpx2.TimeoutException as error:
            raise DeadlineExceeded(f"{origin} stayed silent for too long") from error
        except httpx2.RequestError as error:
            raise UpstreamError(f"{origin} broke the exchange off ({error})") from error


def _read_capped(reply: httpx2.Response) -> bytes:
    body = b""
    for chunk in reply.iter_bytes():
        body += chunk
        if len(body) >= MAX_ERROR_BYTES:
            break
    return body[:MAX_ERROR_BYTES]
