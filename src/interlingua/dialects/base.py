"""What a dialect is: one wire format, seen from the server's side and from the client's.

Rules of this file:
- A dialect is pure: no asyncio, no clock, no environment. Ids and times are given to it.
- What it reads it validates: ranges, types and lengths of everything it knows, but never
  what a model can do (that is negotiation).
- Only dialects turn errors into bytes.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol, TypeVar

import msgspec

from interlingua.errors import ApiError
from interlingua.http import HttpCall
from interlingua.types.chat import ChatCompletion, ChatDelta, ChatRequest
from interlingua.types.completions import Completion, CompletionDelta, CompletionRequest
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import Capabilities, EncodingFormat, ExtraParameters, ModelInfo

ModelTypeSpelling = Literal["service", "documentation", "enum"]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What a reply says of itself. ``id`` is 32 hex digits; the dialect dresses it."""

    id: str
    created: int
    model: str
    api_version: str | None = None


class ErrorReply(msgspec.Struct, frozen=True, kw_only=True):
    """An error as a whole reply. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


D_contra = TypeVar("D_contra", contravariant=True)
D_co = TypeVar("D_co", covariant=True)


class StreamWriter(Protocol[D_contra]):
    """Turns the deltas of one reply into server-sent events, in order."""

    def write(self, delta: D_contra) -> bytes:
        """The complete events that this delta makes; may be empty while one is held back."""
        ...

    def finish(self) -> bytes:
        """What is still held back, then ``data: [DONE]``."""
        ...


class StreamReader(Protocol[D_co]):
    """Turns the events of one upstream reply into deltas, in order."""

    def read(self, data: bytes) -> tuple[D_co, ...]:
        """The deltas in one event's data (``[DONE]`` gives none).

        Raises:
            ApiError: the event is an error, or makes no sense (:class:`UpstreamError`).
        """
        ...

    def finish(self) -> None:
        """The stream ended.

        Raises:
            UpstreamError: it ended before a finish reason, so it was cut.
        """
        ...


class ServerDialect(Protocol):
    """A wire as a server speaks it. Stateless; safe to share.

    The ``read_*`` raise :class:`MalformedBody`, :class:`UnknownParameters`,
    :class:`InvalidPolicy` and :class:`InvalidValue`. Unknown top-level fields are judged
    first, then values, the first found.
    """

    def read_policy(self, call: HttpCall) -> ExtraParameters | None:
        """The caller's ``extra-parameters``; ``None``: the target's default holds."""
        ...

    def read_chat(self, call: HttpCall) -> ChatRequest: ...
    def read_completion(self, call: HttpCall) -> CompletionRequest: ...
    def read_embeddings(self, call: HttpCall) -> EmbeddingsRequest: ...
    def read_image_embeddings(self, call: HttpCall) -> ImageEmbeddingsRequest: ...

    def write_chat(self, completion: ChatCompletion, reply: Reply) -> bytes: ...
    def write_completion(self, completion: Completion, reply: Reply) -> bytes: ...
    def write_embeddings(
        self, embeddings: Embeddings, encoding: EncodingFormat | None, reply: Reply
    ) -> bytes: ...
    def chat_writer(self, request: ChatRequest, reply: Reply) -> StreamWriter[ChatDelta]: ...
    def completion_writer(
        self, request: CompletionRequest, reply: Reply
    ) -> StreamWriter[CompletionDelta]: ...
    def write_info(self, info: ModelInfo, spelling: ModelTypeSpelling) -> bytes: ...
    def write_error(self, error: ApiError) -> ErrorReply: ...
    def write_stream_error(self, error: ApiError) -> bytes:
        """The event that ends a stream which failed after its status was sent."""
        ...


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a client dialect's calls go. ``headers`` carry the credentials; ``renames`` are
    its own names of a chat's parameters.
    """

    base_path: str = ""
    model: str | None = None
    api_version: str | None = None
    headers: Mapping[str, str] = {}
    renames: Mapping[str, str] = {}


class EventDecoder(Protocol):
    """Cuts the body of one streamed reply into the data of its events, however it arrives."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that this chunk completes; raises :class:`UpstreamError`."""
        ...

    def finish(self) -> list[bytes]:
        """What the stream's end completes."""
        ...


class ClientDialect(Protocol):
    """A wire as a client speaks it. Stateless; safe to share. One without an operation
    states so in ``CAPABILITIES`` and isn't asked for it.
    """

    #: What the wire has a place for, whoever answers it.
    CAPABILITIES: ClassVar[Capabilities]

    def event_decoder(self) -> EventDecoder: ...

    def write_chat_call(self, request: ChatRequest, target: Target) -> HttpCall: ...
    def write_completion_call(self, request: CompletionRequest, target: Target) -> HttpCall: ...
    def write_embeddings_call(self, request: EmbeddingsRequest, target: Target) -> HttpCall: ...
    def write_image_embeddings_call(
        self, request: ImageEmbeddingsRequest, target: Target
    ) -> HttpCall: ...
    def write_info_call(self, target: Target) -> HttpCall: ...

    def chat_reader(self) -> StreamReader[ChatDelta]: ...
    def completion_reader(self) -> StreamReader[CompletionDelta]: ...
    def read_chat(self, body: bytes) -> ChatCompletion: ...
    def read_completion(self, body: bytes) -> Completion: ...
    def read_embeddings(self, body: bytes) -> Embeddings: ...
    def read_info(self, body: bytes) -> ModelInfo: ...
    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        """The error that a reply of status 400 or more states; never raises."""
        ...
