"""The one upstream class: a model that somebody else serves, over HTTP.

Rules of this file:
- Address, headers and credential come from the config alone; nothing of a request reaches
  them.
- A stream is asked for as a stream, and a whole answer whole: what a provider says of it in
  one piece is what it counts and charges, and costs neither side a chunk a token.
- A whole reply is silent until it is made, so the longest silence limits it only where the
  config states one; a stream's has a default.
- A reply that is cut, empty, stalled or malformed is an error, never an answer.
- Every error passes :class:`~.failures.Retold` before anybody reads it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from importlib.metadata import version
from types import TracebackType
from typing import NoReturn, TypeVar
from urllib.parse import quote

from msgspec.structs import replace

from interlingua.backends.base import CallContext
from interlingua.backends.transport import HttpTransport
from interlingua.dialects.base import StreamReader, Target
from interlingua.errors import ApiError, UpstreamError
from interlingua.http import HttpCall, HttpReply, Transport
from interlingua.types.chat import ChatCompletion, ChatDelta, ChatRequest
from interlingua.types.chat_fold import (
    ChatFold,
    CompletionFold,
    folded,
    unfold_chat,
    unfold_completion,
)
from interlingua.types.completions import Completion, CompletionDelta, CompletionRequest
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import EncodingFormat, ModelInfo

from .credentials import Credential, Key
from .deltas import Settling, settled
from .entra import EntraToken
from .failures import Retold, of_status, told_to_wait
from .registry import ProviderModel, VectorEncoding, dialect
from .sigv4 import SigV4
from .vectors import joined, pieces, told

Delta = TypeVar("Delta", ChatDelta, CompletionDelta)

#: The longest silence of a stream, and of embeddings, unless the config says another.
SILENCE_S = 120.0

_LONGEST_ERROR = 64 * 1024
#: 2,048 vectors of 4,096 numbers in decimal.
_LONGEST_REPLY = 256 * 1024 * 1024
#: ``[DONE]``, and some white space.
_LONGEST_DONE = 16
#: How long a stream may stay open after its end, so that its connection can be used again.
_LINGER_S = 0.25


class Upstream:
    """Answers with a provider's model. Safe for concurrent calls."""

    def __init__(
        self,
        model: ProviderModel,
        *,
        credential: Credential | None = None,
        transport: Transport | None = None,
    ) -> None:
        """``credential``: the model's key unless given."""
        row = model.row
        self.info = ModelInfo(
            model_name=model.name,
            model_type=model.type,
            model_provider_name=model.publisher,
        )
        self.capabilities = model.capabilities
        self.concurrency = model.concurrency
        self._dialect = dialect(row.dialect)()
        self._credential = credential or Key(model.key, row.key_headers)
        #: What is the same for every call, if that is known.
        self._fixed = self._credential.fixed
        self._transport = transport or HttpTransport(
            model.base_url,
            connect_timeout_s=model.connect_timeout_s,
            first_byte_timeout_s=model.first_byte_timeout_s,
        )
        self._timeout_s = model.timeout_s or SILENCE_S
        self._whole_timeout_s = model.timeout_s
        self._pinned = model.model is not None
        self._row = row
        self._streams = self.capabilities.streams is not False
        #: What is added to a request so that its stream tells the usage.
        self._usage = True if row.asks_for_usage and self._streams else None
        self._target = Target(
            base_path=row.path.replace("{model}", quote(model.model or "", safe="")),
            model=model.model,
            api_version=model.api_version or row.api_version,
            # Without a name some providers' firewalls refuse the call.
            headers={"user-agent": f"interlingua/{version('interlingua')}", **row.headers},
            renames=self.capabilities.renames or {},
        )

    async def open(self) -> None:
        """Nothing to load; connections are made by calls."""

    async def close(self) -> None:
        await self._transport.close()
        await self._credential.close()

    def chat(self, request: ChatRequest, call: CallContext) -> AsyncGenerator[ChatDelta]:
        del call
        request = replace(request, stream=self._streams, include_usage=self._usage)
        wire = self._dialect.write_chat_call(request, self._target)
        reader = self._chat_reader()
        return self._stream(wire, reader, lambda body: reader.settle(self._unfolded(body)))

    def complete(
        self, request: CompletionRequest, call: CallContext
    ) -> AsyncGenerator[CompletionDelta]:
        del call
        request = replace(request, stream=self._streams, include_usage=self._usage)
        wire = self._dialect.write_completion_call(request, self._target)
        return self._stream(
            wire,
            self._dialect.completion_reader(),
            lambda body: unfold_completion(self._dialect.read_completion(body)),
        )

    async def chat_whole(self, request: ChatRequest, call: CallContext) -> ChatCompletion:
        del call
        request = replace(request, stream=False, include_usage=None)
        wire = self._dialect.write_chat_call(request, self._target)
        try:
            headers, body = await self._fetched(wire, self._whole_timeout_s)
            if _is_stream(headers):
                return folded(ChatFold(), self._heard(body, self._chat_reader()))
            completion = self._dialect.read_chat(body)
        except ApiError as error:
            raise self.retold(error) from None
        return settled(completion, thinks=bool(self.capabilities.reasoning))

    async def complete_whole(self, request: CompletionRequest, call: CallContext) -> Completion:
        del call
        request = replace(request, stream=False, include_usage=None)
        wire = self._dialect.write_completion_call(request, self._target)
        try:
            headers, body = await self._fetched(wire, self._whole_timeout_s)
            if _is_stream(headers):
                reader = self._dialect.completion_reader()
                return folded(CompletionFold(), self._heard(body, reader))
            return self._dialect.read_completion(body)
        except ApiError as error:
            raise self.retold(error) from None

    async def embed(self, request: EmbeddingsRequest, call: CallContext) -> Embeddings:
        del call
        row = self._row
        encoding = _asked(request.encoding_format, row.vectors)
        request = replace(request, encoding_format=encoding)
        made = []
        for piece in pieces(request, row.max_inputs):
            wire = self._dialect.write_embeddings_call(piece, self._target)
            made.append(await self._vectors(wire, len(piece.inputs)))
        return self._told(made, encoding, row.vectors)

    async def embed_images(self, request: ImageEmbeddingsRequest, call: CallContext) -> Embeddings:
        del call
        row = self._row
        encoding = _asked(request.encoding_format, row.image_vectors)
        request = replace(request, encoding_format=encoding)
        made = []
        for piece in pieces(request, row.max_images):
            wire = self._dialect.write_image_embeddings_call(piece, self._target)
            made.append(await self._vectors(wire, len(piece.inputs)))
        return self._told(made, encoding, row.image_vectors)

    async def look(self, path: str) -> tuple[int, bytes]:
        """Status and body of what the provider has at a path, by GET; whatever the status."""
        target = self._target
        query = {} if target.api_version is None else {"api-version": target.api_version}
        headers = {"accept": "application/json", **target.headers}
        wire = HttpCall(method="GET", path=path, query=query, headers=headers)
        with self._retelling():
            wire = await self._signed(wire)
            async with self._transport.send(wire, timeout_s=self._timeout_s) as reply:
                return reply.status, await _body(reply)

    async def _signed(self, wire: HttpCall) -> HttpCall:
        signed = self._fixed
        if signed is None:
            signed = await self._credential.headers(wire)
        if not signed:
            return wire
        return replace(wire, headers={**wire.headers, **signed})

    async def _fetched(
        self, wire: HttpCall, timeout_s: float | None
    ) -> tuple[Mapping[str, str], bytes]:
        """Headers and body of the whole reply to a call that the provider accepts."""
        wire = await self._signed(wire)
        async with self._transport.send(wire, timeout_s=timeout_s) as reply:
            if reply.status != 200:
                await self._raise(reply)
            return reply.headers, await _body(reply)

    async def _vectors(self, wire: HttpCall, wanted: int) -> Embeddings:
        """One vector an input. Full precision is asked for, and encodings are the server
        dialect's, but where the provider makes its own: from its int8 other vectors follow.
        """
        try:
            _, body = await self._fetched(wire, self._timeout_s)
            embeddings = self._dialect.read_embeddings(body)
            if len(embeddings.vectors) != wanted or not all(embeddings.vectors):
                raise UpstreamError(
                    f"The reply has {len(embeddings.vectors)} vectors for {wanted} inputs, or "
                    "empty ones."
                )
        except ApiError as error:
            raise self.retold(error) from None
        return embeddings

    def _told(
        self, made: Sequence[Embeddings], encoding: EncodingFormat | None, how: VectorEncoding
    ) -> Embeddings:
        """All vectors as one answer."""
        with self._retelling():
            whole = joined(made)
            return told(whole, encoding) if how == "own" else whole

    async def _stream(
        self,
        wire: HttpCall,
        reader: StreamReader[Delta],
        read_whole: Callable[[bytes], Sequence[Delta]],
    ) -> AsyncGenerator[Delta]:
        async with self._ask(wire, self._timeout_s) as reply:
            if _is_json(reply.headers):
                # It doesn't stream, or it failed with status 200.
                for delta in read_whole(await _body(reply)):
                    yield delta
                return
            decoder = self._dialect.event_decoder()
            async for chunk in reply.chunks:
                events, done = _said(decoder.feed(chunk))
                for data in events:
                    for delta in reader.read(data):
                        yield delta
                if done:
                    await _drain(reply.chunks)
                    break
            else:
                for data in _said(decoder.finish())[0]:
                    for delta in reader.read(data):
                        yield delta
            reader.finish()

    def _heard(self, body: bytes, reader: StreamReader[Delta]) -> Iterator[Delta]:
        """What a stream says that came although a whole answer was asked for."""
        decoder = self._dialect.event_decoder()
        events, done = _said(decoder.feed(body))
        if not done:
            events += _said(decoder.finish())[0]
        for data in events:
            yield from reader.read(data)
        reader.finish()

    def _chat_reader(self) -> Settling:
        return Settling(self._dialect.chat_reader(), thinks=bool(self.capabilities.reasoning))

    def _unfolded(self, body: bytes) -> tuple[ChatDelta, ...]:
        return unfold_chat(self._dialect.read_chat(body))

    def _ask(self, wire: HttpCall, timeout_s: float | None) -> "_Asked":
        """The reply to a call that the provider accepts; what fails inside is retold."""
        return _Asked(self, wire, timeout_s)

    async def begin(
        self, wire: HttpCall, timeout_s: float | None
    ) -> tuple[HttpReply, AbstractAsyncContextManager[HttpReply]]:
        """For :meth:`_ask`: the reply, and the exchange that it belongs to."""
        wire = await self._signed(wire)
        exchange = self._transport.send(wire, timeout_s=timeout_s)
        reply = await exchange.__aenter__()
        if reply.status != 200:
            try:
                await self._raise(reply)
            finally:
                await exchange.__aexit__(None, None, None)
        return reply, exchange

    async def _raise(self, reply: HttpReply) -> NoReturn:
        """What a reply that is no answer states."""
        if reply.status in {401, 403}:
            self._credential.refused()
        error = of_status(reply.status)
        if error is None:
            body = await _beginning(reply)
            error = self._dialect.read_error(reply.status, reply.headers, body)
        raise told_to_wait(error, reply.headers)

    @contextmanager
    def _retelling(self) -> Iterator[None]:
        try:
            yield
        except ApiError as error:
            raise self.retold(error) from None

    def retold(self, error: ApiError) -> ApiError:
        """To be raised without a cause: a provider's own words may hold the credential."""
        return Retold(self._credential.secrets, pinned=self._pinned).tell(error)


class _Asked:
    """See :meth:`Upstream._ask`. A class: a generator's context costs thrice as much."""

    __slots__ = ("_exchange", "_timeout_s", "_upstream", "_wire")

    def __init__(self, upstream: Upstream, wire: HttpCall, timeout_s: float | None) -> None:
        self._upstream = upstream
        self._wire = wire
        self._timeout_s = timeout_s

    async def __aenter__(self) -> HttpReply:
        try:
            reply, self._exchange = await self._upstream.begin(self._wire, self._timeout_s)
        except ApiError as error:
            raise self._upstream.retold(error) from None
        return reply

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._exchange.__aexit__(kind, error, trace)
        if isinstance(error, ApiError):
            raise self._upstream.retold(error) from None


def create(model: ProviderModel) -> Upstream:
    """The backend of a row that has no behaviour of its own.

    Raises:
        ModuleNotFoundError, OSError, ValueError: see :class:`~.entra.EntraToken` and
            :class:`~.sigv4.SigV4`.
    """
    service = model.row.aws_service
    if model.aws is not None and service is not None:
        return Upstream(model, credential=SigV4(model.aws, model.base_url, service=service))
    if model.entra is not None:
        return Upstream(model, credential=EntraToken(model.entra))
    return Upstream(model)


def _asked(wanted: EncodingFormat | None, how: VectorEncoding) -> EncodingFormat | None:
    """The encoding to ask a provider for; ``None``: plain numbers."""
    if how == "own":
        return None if wanted == "float" else wanted
    return "base64" if how == "base64" else None


def _is_json(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").lower().startswith("application/json")


def _is_stream(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").lower().startswith("text/event-stream")


def _said(events: list[bytes]) -> tuple[list[bytes], bool]:
    """The events before ``[DONE]``, and whether it is among them."""
    for place, data in enumerate(events):
        if len(data) < _LONGEST_DONE and data.strip() == b"[DONE]":
            return events[:place], True
    return events, False


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read a stream that is over to its end, so that its connection can be used again."""
    with suppress(TimeoutError, ApiError):
        async with asyncio.timeout(_LINGER_S):
            async for _ in chunks:
                pass


async def _beginning(reply: HttpReply) -> bytes:
    """As much of an error's body as is looked at; it may break off."""
    body = b""
    with suppress(ApiError):
        async for chunk in reply.chunks:
            body += chunk
            if len(body) > _LONGEST_ERROR:
                break
    return body


async def _body(reply: HttpReply) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for chunk in reply.chunks:
        pieces.append(chunk)
        size += len(chunk)
        if size > _LONGEST_REPLY:
            raise UpstreamError(f"The reply is longer than {_LONGEST_REPLY} bytes.")
    return b"".join(pieces)
