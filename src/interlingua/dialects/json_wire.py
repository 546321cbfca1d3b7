"""The family of wires that OpenAI's JSON gave shape to, seen from both sides.

Azure AI Model Inference and OpenAI differ in what they know, where usage and reasoning stand,
and how errors look: a :class:`Style` says how, and :class:`JsonWire` does the rest, so neither
dialect is a copy of the other.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, overload

import msgspec

from interlingua import sse
from interlingua.errors import ApiError
from interlingua.http import HttpCall
from interlingua.types.chat import ChatCompletion, ChatDelta, ChatRequest
from interlingua.types.completions import Completion, CompletionDelta, CompletionRequest
from interlingua.types.embeddings import Embeddings, EmbeddingsRequest, ImageEmbeddingsRequest
from interlingua.types.models import Capabilities, EncodingFormat, ExtraParameters, ModelInfo

from . import chat_wire, completions_wire, embeddings_wire, error_wire, info_wire
from .base import ErrorReply, ModelTypeSpelling, Reply, StreamReader, StreamWriter, Target
from .chat_reply import read_chat_reply, write_chat_reply
from .chat_stream import ChatChunk, ChatStreamReader, ChatStreamWriter
from .chat_wire import ChatBody
from .completions_wire import (
    CompletionBody,
    CompletionReply,
    CompletionStreamReader,
    CompletionStreamWriter,
    read_completion_reply,
    write_completion_reply,
)
from .embeddings_wire import (
    EmbeddingsBody,
    ImageEmbeddingsBody,
    read_embeddings_reply,
    write_embeddings_reply,
)
from .reply_wire import Envelope, Tail, envelope
from .request_body import BodyReader, read_policy

_JSON = {"accept": "application/json", "content-type": "application/json"}
_encode = msgspec.json.Encoder().encode
_EMBEDDINGS = BodyReader(EmbeddingsBody)
_IMAGE_EMBEDDINGS = BodyReader(ImageEmbeddingsBody)


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How one wire of the family differs from the others."""

    chat: BodyReader[ChatBody]
    completion: BodyReader[CompletionBody]
    #: What holds without the header ``extra-parameters``; ``None``: the target's default.
    policy: ExtraParameters | None
    #: Whether a call with other names must say ``extra-parameters: pass-through``.
    asks_for_extra: bool
    chat_prefix: str
    completion_prefix: str
    #: Whether a stream's usage rides on its last choice, unasked.
    usage_rides: bool
    #: Whether reasoning stands inside the content, by api-version.
    thinks_inline: Callable[[str | None], bool]
    embeddings_have_id: bool
    write_error: Callable[[ApiError], ErrorReply]
    write_event: Callable[[ApiError], bytes]


class JsonWire:
    """Both sides of one wire. Stateless; safe to share."""

    CAPABILITIES: ClassVar[Capabilities] = Capabilities(
        operations=frozenset({"chat_completions", "completions", "embeddings", "image_embeddings"})
    )

    def __init__(self, style: Style) -> None:
        self._style = style

    # The server's side

    def read_policy(self, call: HttpCall) -> ExtraParameters | None:
        return read_policy(call) or self._style.policy

    def read_image_embeddings(self, call: HttpCall) -> ImageEmbeddingsRequest:
        body = _IMAGE_EMBEDDINGS.read(call, self._style.policy)
        return embeddings_wire.read_image_embeddings(*body)

    def write_chat(self, completion: ChatCompletion, reply: Reply) -> bytes:
        inline = self._style.thinks_inline(reply.api_version)
        return write_chat_reply(completion, reply, self._style.chat_prefix, thinks_inline=inline)

    def write_completion(self, completion: Completion, reply: Reply) -> bytes:
        return write_completion_reply(completion, reply, self._style.completion_prefix)

    def write_embeddings(
        self, embeddings: Embeddings, encoding: EncodingFormat | None, reply: Reply
    ) -> bytes:
        has_id = self._style.embeddings_have_id
        return write_embeddings_reply(embeddings, encoding, reply, has_id=has_id)

    def chat_writer(self, request: ChatRequest, reply: Reply) -> StreamWriter[ChatDelta]:
        inline = self._style.thinks_inline(reply.api_version)
        head = envelope(ChatChunk, reply, self._style.chat_prefix)
        return ChatStreamWriter(*self._tailed(head, request), thinks_inline=inline)

    def completion_writer(
        self, request: CompletionRequest, reply: Reply
    ) -> StreamWriter[CompletionDelta]:
        head = envelope(CompletionReply, reply, self._style.completion_prefix)
        return CompletionStreamWriter(*self._tailed(head, request))

    def write_info(self, info: ModelInfo, spelling: ModelTypeSpelling) -> bytes:
        return info_wire.write_info(info, spelling)

    def write_error(self, error: ApiError) -> ErrorReply:
        return self._style.write_error(error)

    def write_stream_error(self, error: ApiError) -> bytes:
        return self._style.write_event(error)

    # The client's side

    def event_decoder(self) -> sse.Decoder:
        return sse.Decoder()

    def write_chat_call(self, request: ChatRequest, target: Target) -> HttpCall:
        fields = chat_wire.write_chat(request, target.model)
        if target.renames:
            fields = {target.renames.get(name, name): value for name, value in fields.items()}
        self._ask_for_usage(fields, request)
        return self._post("/chat/completions", fields, self._style.chat.known, target)

    def write_completion_call(self, request: CompletionRequest, target: Target) -> HttpCall:
        fields = completions_wire.write_completion(request, target.model)
        self._ask_for_usage(fields, request)
        return self._post("/completions", fields, self._style.completion.known, target)

    def write_embeddings_call(self, request: EmbeddingsRequest, target: Target) -> HttpCall:
        fields = embeddings_wire.write_embeddings(request, target.model)
        return self._post("/embeddings", fields, _EMBEDDINGS.known, target)

    def write_image_embeddings_call(
        self, request: ImageEmbeddingsRequest, target: Target
    ) -> HttpCall:
        fields = embeddings_wire.write_image_embeddings(request, target.model)
        return self._post("/images/embeddings", fields, _IMAGE_EMBEDDINGS.known, target)

    def write_info_call(self, target: Target) -> HttpCall:
        query = _query(target)
        if target.model is not None:
            # Azure: 2025 api-versions ask for one deployment of many this way.
            query["model"] = target.model
        return HttpCall(
            method="GET",
            path=f"{target.base_path}/info",
            query=query,
            headers={"accept": "application/json", **target.headers},
        )

    def chat_reader(self) -> StreamReader[ChatDelta]:
        return ChatStreamReader()

    def completion_reader(self) -> StreamReader[CompletionDelta]:
        return CompletionStreamReader()

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        return error_wire.read_error(status, headers, body)

    def read_info(self, body: bytes) -> ModelInfo:
        return info_wire.read_info(body)

    def _ask_for_usage(
        self, fields: dict[str, Any], request: ChatRequest | CompletionRequest
    ) -> None:
        if request.include_usage is not None and not self._style.usage_rides:
            fields["stream_options"] = {"include_usage": request.include_usage}

    def _post(
        self, operation: str, fields: dict[str, Any], known: frozenset[str], target: Target
    ) -> HttpCall:
        headers = {**_JSON, **target.headers}
        if self._style.asks_for_extra and not known.issuperset(fields):
            headers["extra-parameters"] = "pass-through"
        return HttpCall(
            path=target.base_path + operation,
            query=_query(target),
            headers=headers,
            body=_encode(fields),
        )

    # Both sides read an operation: a server its call, a client the body of its reply

    @overload
    def read_chat(self, wire: HttpCall, /) -> ChatRequest: ...
    @overload
    def read_chat(self, wire: bytes, /) -> ChatCompletion: ...
    def read_chat(self, wire: HttpCall | bytes, /) -> ChatRequest | ChatCompletion:
        if isinstance(wire, bytes):
            return read_chat_reply(wire)
        return chat_wire.read_chat(*self._style.chat.read(wire, self._style.policy))

    @overload
    def read_completion(self, wire: HttpCall, /) -> CompletionRequest: ...
    @overload
    def read_completion(self, wire: bytes, /) -> Completion: ...
    def read_completion(self, wire: HttpCall | bytes, /) -> CompletionRequest | Completion:
        if isinstance(wire, bytes):
            return read_completion_reply(wire)
        body = self._style.completion.read(wire, self._style.policy)
        return completions_wire.read_completion(*body)

    @overload
    def read_embeddings(self, wire: HttpCall, /) -> EmbeddingsRequest: ...
    @overload
    def read_embeddings(self, wire: bytes, /) -> Embeddings: ...
    def read_embeddings(self, wire: HttpCall | bytes, /) -> EmbeddingsRequest | Embeddings:
        if isinstance(wire, bytes):
            return read_embeddings_reply(wire)
        body = _EMBEDDINGS.read(wire, self._style.policy)
        return embeddings_wire.read_embeddings(*body)

    def _tailed(
        self, head: Envelope, request: ChatRequest | CompletionRequest
    ) -> tuple[Envelope, Tail]:
        """A stream's head, and where its usage goes."""
        wanted = request.include_usage is True
        rides = self._style.usage_rides
        if wanted and not rides:
            # OpenAI: every other chunk then says that it has none.
            head = msgspec.structs.replace(head, usage=None)
        return head, Tail(head, rides=rides, wanted=wanted)


def _query(target: Target) -> dict[str, str]:
    return {} if target.api_version is None else {"api-version": target.api_version}
