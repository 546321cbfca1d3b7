"""The clients, asynchronous: Microsoft's names, arguments and results."""

from collections.abc import Sequence
from typing import Literal, Unpack, overload

from .arguments import (
    ChatCall,
    ChatClientOptions,
    CompletionsCall,
    CompletionsClientOptions,
    EmbeddingsCall,
    EmbeddingsClientOptions,
    Images,
    Messages,
)
from .clients import NOT_LOADABLE
from .credentials import Credential
from .failures import ResourceNotFoundError
from .observe import Operation
from .operations import Body, Operations, Streamed, client_for, required, streams
from .results import (
    ChatCompletions,
    Completions,
    EmbeddingsResult,
    StreamingChatCompletionsUpdate,
    StreamingCompletionsUpdate,
)
from .settings import ClientSettings
from .shells import AsyncShell
from .streams import AsyncStreamingChatCompletions, AsyncStreamingCompletions

CHUNKS = Streamed(StreamingChatCompletionsUpdate, AsyncStreamingChatCompletions)
PIECES = Streamed(StreamingCompletionsUpdate, AsyncStreamingCompletions)


class ChatCompletionsClient(AsyncShell):
    """A client for chats. The model's parameters given here hold for calls that say nothing."""

    def __init__(
        self,
        endpoint: str,
        credential: Credential | None = None,
        **options: Unpack[ChatClientOptions],
    ) -> None:
        super().__init__(Operations("chat", endpoint, credential, {**options}))

    @overload
    async def complete(
        self,
        *,
        messages: Messages,
        stream: Literal[False] = False,
        **given: Unpack[ChatCall],
    ) -> ChatCompletions: ...
    @overload
    async def complete(
        self, *, messages: Messages, stream: Literal[True], **given: Unpack[ChatCall]
    ) -> AsyncStreamingChatCompletions: ...
    @overload
    async def complete(
        self, *, messages: Messages, stream: bool | None, **given: Unpack[ChatCall]
    ) -> ChatCompletions | AsyncStreamingChatCompletions: ...
    @overload
    async def complete(
        self, body: Body, *, stream: bool | None = None, **given: Unpack[ChatCall]
    ) -> ChatCompletions | AsyncStreamingChatCompletions: ...
    async def complete(
        self,
        body: Body | None = None,
        *,
        messages: Messages | None = None,
        stream: bool | None = None,
        **given: Unpack[ChatCall],
    ) -> ChatCompletions | AsyncStreamingChatCompletions:
        """Answer a conversation: whole, or with ``stream=True`` chunk by chunk.

        ``body`` is a request of your own, as a mapping or as bytes; it is sent as it is.

        Raises:
            HttpResponseError: what the server answered, by its status.
            ServiceRequestError: the server could not be reached.
            ServiceResponseError: its reply broke off.
        """
        said = required(body, given, messages=messages, stream=stream)
        if streams(body, said):
            return await self._run(self._operations.streamed("chat", CHUNKS, body, said))
        return await self._run(self._operations.whole("chat", ChatCompletions, body, said))


class CompletionsClient(AsyncShell):
    """A client for text completions, which Microsoft specified and never shipped."""

    def __init__(
        self,
        endpoint: str,
        credential: Credential | None = None,
        **options: Unpack[CompletionsClientOptions],
    ) -> None:
        super().__init__(Operations("completions", endpoint, credential, {**options}))

    @overload
    async def complete(
        self,
        *,
        prompt: str | Sequence[str],
        stream: Literal[False] = False,
        **given: Unpack[CompletionsCall],
    ) -> Completions: ...
    @overload
    async def complete(
        self,
        *,
        prompt: str | Sequence[str],
        stream: Literal[True],
        **given: Unpack[CompletionsCall],
    ) -> AsyncStreamingCompletions: ...
    @overload
    async def complete(
        self, *, prompt: str | Sequence[str], stream: bool | None, **given: Unpack[CompletionsCall]
    ) -> Completions | AsyncStreamingCompletions: ...
    @overload
    async def complete(
        self, body: Body, *, stream: bool | None = None, **given: Unpack[CompletionsCall]
    ) -> Completions | AsyncStreamingCompletions: ...
    async def complete(
        self,
        body: Body | None = None,
        *,
        prompt: str | Sequence[str] | None = None,
        stream: bool | None = None,
        **given: Unpack[CompletionsCall],
    ) -> Completions | AsyncStreamingCompletions:
        """Continue a prompt, or each of several: whole, or with ``stream=True`` piece by piece.

        Raises:
            HttpResponseError: what the server answered, by its status.
        """
        said = required(body, given, prompt=prompt, stream=stream)
        if streams(body, said):
            return await self._run(self._operations.streamed("completions", PIECES, body, said))
        return await self._run(self._operations.whole("completions", Completions, body, said))


class EmbeddingsClient(AsyncShell):
    """A client for vectors of texts."""

    def __init__(
        self,
        endpoint: str,
        credential: Credential | None = None,
        **options: Unpack[EmbeddingsClientOptions],
    ) -> None:
        super().__init__(Operations("embeddings", endpoint, credential, {**options}))

    async def embed(
        self,
        body: Body | None = None,
        *,
        input: Sequence[str] | None = None,  # noqa: A002 - the API's name
        **given: Unpack[EmbeddingsCall],
    ) -> EmbeddingsResult:
        """One vector for each text, in their order.

        Raises:
            HttpResponseError: what the server answered, by its status.
        """
        said = required(body, given, input=input)
        return await self._run(self._operations.whole("embeddings", EmbeddingsResult, body, said))


class ImageEmbeddingsClient(AsyncShell):
    """A client for vectors of images."""

    def __init__(
        self,
        endpoint: str,
        credential: Credential | None = None,
        **options: Unpack[EmbeddingsClientOptions],
    ) -> None:
        super().__init__(Operations("image_embeddings", endpoint, credential, {**options}))

    async def embed(
        self,
        body: Body | None = None,
        *,
        input: Images | None = None,  # noqa: A002 - the API's name
        **given: Unpack[EmbeddingsCall],
    ) -> EmbeddingsResult:
        """One vector for each image, in their order.

        Raises:
            HttpResponseError: what the server answered, by its status.
        """
        said = required(body, given, input=input)
        return await self._run(
            self._operations.whole("image_embeddings", EmbeddingsResult, body, said)
        )


AnyClient = ChatCompletionsClient | CompletionsClient | EmbeddingsClient | ImageEmbeddingsClient
_CLIENTS: dict[Operation, type[AnyClient]] = {
    "chat": ChatCompletionsClient,
    "completions": CompletionsClient,
    "embeddings": EmbeddingsClient,
    "image_embeddings": ImageEmbeddingsClient,
}


async def load_client(
    endpoint: str, credential: Credential | None = None, **options: Unpack[ClientSettings]
) -> AnyClient:
    """The client for what the endpoint's model does, as its ``/info`` says.

    Raises:
        ResourceNotFoundError: the endpoint doesn't say.
        ValueError: it says something that there is no client for.
    """
    async with ChatCompletionsClient(endpoint, credential, **options) as client:
        try:
            info = await client.get_model_info()
        except ResourceNotFoundError as error:
            error.message = NOT_LOADABLE
            raise
    loaded = _CLIENTS[client_for(info)](endpoint, credential, **options)
    loaded._operations.model_info = info  # noqa: SLF001 - so that it isn't asked again
    return loaded
