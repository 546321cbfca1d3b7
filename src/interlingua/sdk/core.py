"""What a client writes and reads, without I/O: a synchronous and an asynchronous shell share it.

Rules of this file:
- The wire is the dialect's; only the address and the credentials are added here.
- The key goes into headers and nowhere else: no message, no ``repr``.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from interlingua.dialects.azure import AzureDialect
from interlingua.dialects.base import StreamReader, Target
from interlingua.errors import ApiError, ConfigError, UpstreamError
from interlingua.http import HttpCall
from interlingua.sse import Decoder
from interlingua.types.chat import ChatDelta, ChatRequest
from interlingua.types.completions import CompletionDelta, CompletionRequest
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import ModelInfo

from .. import __version__  # noqa: TID252 - the bare package is never imported
from .address import Address

#: The first version that tells reasoning apart from the answer (``reasoning_content``).
API_VERSION = "2025-04-01"

Delta = TypeVar("Delta")
Key = Annotated[str, msgspec.Meta(pattern=r"^[!-~]+$")]


class ServedModel(msgspec.Struct, frozen=True):
    """A row of ``GET /v1/models``: a name that calls may route by."""

    id: str
    owned_by: str | None = None


class _ModelList(msgspec.Struct, frozen=True):
    data: tuple[ServedModel, ...]


class Core:
    """The calls of one endpoint, and the meaning of its replies. Immutable; safe to share."""

    def __init__(
        self, endpoint: str, key: str | None, *, model: str | None, api_version: str | None
    ) -> None:
        """Check the address and the key.

        Raises:
            ConfigError: the endpoint is no URL, or the key can't be sent in a header.
        """
        self.address = Address.parse(endpoint)
        self.dialect = AzureDialect()
        self._target = Target(
            base_path=self.address.base_path,
            model=model,
            api_version=api_version or self.address.api_version or API_VERSION,
            headers={"user-agent": f"interlingua/{__version__}", **_credentials(key)},
        )

    def chat(self, request: ChatRequest) -> HttpCall:
        streamed = msgspec.structs.replace(request, stream=True)
        return self.dialect.write_chat_call(streamed, self._target)

    def complete(self, request: CompletionRequest) -> HttpCall:
        streamed = msgspec.structs.replace(request, stream=True)
        return self.dialect.write_completion_call(streamed, self._target)

    def embed(self, request: EmbeddingsRequest) -> HttpCall:
        return self.dialect.write_embeddings_call(request, self._target)

    def embed_images(self, request: ImageEmbeddingsRequest) -> HttpCall:
        return self.dialect.write_image_embeddings_call(request, self._target)

    def info(self) -> HttpCall:
        return self.dialect.write_info_call(self._target)

    def models(self) -> HttpCall:
        """The list of deployments: below ``/v1``, whatever the endpoint's own path."""
        base = self.address.base_path if self.address.base_path.endswith("/v1") else "/v1"
        return HttpCall(method="GET", path=f"{base}/models", headers=self._target.headers)

    def url(self, call: HttpCall) -> str:
        query = f"?{urlencode(call.query)}" if call.query else ""
        return self.address.origin + quote(call.path, safe="/:@!$&'()*+,;=~") + query

    def chat_feed(self) -> "Feed[ChatDelta]":
        return Feed(self.dialect.chat_reader())

    def completion_feed(self) -> "Feed[CompletionDelta]":
        return Feed(self.dialect.completion_reader())

    def read_embeddings(self, body: bytes, inputs: int) -> Embeddings:
        """One vector an input, in order.

        Raises:
            UpstreamError: not the reply to a call with this many inputs.
        """
        embeddings = self.dialect.read_embeddings(body)
        if len(embeddings.vectors) != inputs:
            raise UpstreamError(f"{len(embeddings.vectors)} vectors came back for {inputs} inputs")
        return embeddings

    def read_info(self, body: bytes) -> ModelInfo:
        return self.dialect.read_info(body)

    def read_models(self, body: bytes) -> tuple[ServedModel, ...]:
        try:
            return msgspec.json.decode(body, type=_ModelList).data
        except msgspec.DecodeError as error:
            raise UpstreamError(f"the list of models makes no sense: {error}") from error

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        """The failure that a reply states; a status below 400 is one too: nothing redirects."""
        if status < 400:
            place = headers.get("location")
            where = f" to {place}: give that as the endpoint" if place else ""
            return UpstreamError(f"the endpoint answered with status {status}{where}")
        return self.dialect.read_error(status, headers, body)


class Feed(Generic[Delta]):
    """Bytes of a streamed reply → deltas. One a reply; not safe to share."""

    def __init__(self, reader: StreamReader[Delta]) -> None:
        self._reader = reader
        self._decoder = Decoder()
        #: Whether ``[DONE]`` was read: nothing that follows belongs to the answer.
        self.done = False

    def read(self, data: bytes) -> Iterator[Delta]:
        """The deltas that these bytes complete.

        Raises:
            ApiError: the stream states a failure, or makes no sense.
        """
        yield from self._deltas(self._decoder.feed(data))

    def finish(self) -> Iterator[Delta]:
        """The deltas of a last event without its empty line; then the stream is over.

        Raises:
            UpstreamError: the stream ended before its finish reason.
        """
        if not self.done:
            yield from self._deltas(self._decoder.finish())
        self._reader.finish()

    def _deltas(self, events: list[bytes]) -> Iterator[Delta]:
        for event in events:
            if event.strip() == b"[DONE]":
                self.done = True
                return
            yield from self._reader.read(event)


def _credentials(key: str | None) -> dict[str, str]:
    """Both headers, as the official client sends them: each kind of endpoint reads one."""
    if key is None:
        return {}
    try:
        msgspec.convert(key, Key)
    except msgspec.ValidationError as error:
        raise ConfigError(
            "the key holds characters that no header can carry (a space, a line end?)"
        ) from error
    return {"api-key": key, "authorization": f"Bearer {key}"}
