"""One client for all five operations, for whoever starts fresh. Results are Microsoft's."""

from collections.abc import Sequence
from typing import Unpack

from .arguments import ChatCall, CompletionsCall, EmbeddingsCall, Images, Messages
from .clients import CHUNKS, PIECES
from .credentials import Credential
from .operations import fresh, spoken
from .results import ChatCompletions, Completions, EmbeddingsResult, ModelInfo, ServedModel
from .settings import ClientSettings
from .shells import SyncShell
from .streams import StreamingChatCompletions, StreamingCompletions


class Client(SyncShell):
    """All operations of one server; ``model`` in a call chooses among its deployments.

    Without an endpoint or a key, ``INTERLINGUA_ENDPOINT`` and ``INTERLINGUA_API_KEY`` are read,
    and else the server of this machine is called. Every method raises
    :class:`~interlingua.exceptions.HttpResponseError` where the server refuses,
    ``ServiceRequestError`` where none answers, and ``ServiceResponseError`` where it breaks off.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        credential: Credential | None = None,
        **options: Unpack[ClientSettings],
    ) -> None:
        super().__init__(fresh(endpoint, credential, {**options}))

    def chat(self, messages: str | Messages, **given: Unpack[ChatCall]) -> ChatCompletions:
        """The answer to a conversation, or to one thing that a user says."""
        said = {**given, "messages": spoken(messages)}
        return self._run(self._operations.whole("chat", ChatCompletions, None, said))

    def stream_chat(
        self, messages: str | Messages, **given: Unpack[ChatCall]
    ) -> StreamingChatCompletions:
        """The same, chunk by chunk."""
        said = {**given, "messages": spoken(messages), "stream": True}
        return self._run(self._operations.streamed("chat", CHUNKS, None, said))

    def complete(
        self, prompt: str | Sequence[str], **given: Unpack[CompletionsCall]
    ) -> Completions:
        """How a prompt, or each of several, goes on."""
        said = {**given, "prompt": prompt}
        return self._run(self._operations.whole("completions", Completions, None, said))

    def stream_completion(
        self, prompt: str | Sequence[str], **given: Unpack[CompletionsCall]
    ) -> StreamingCompletions:
        """The same, piece by piece."""
        said = {**given, "prompt": prompt, "stream": True}
        return self._run(self._operations.streamed("completions", PIECES, None, said))

    def embed(
        self, texts: str | Sequence[str], **given: Unpack[EmbeddingsCall]
    ) -> EmbeddingsResult:
        """One vector for each text."""
        said = {**given, "input": [texts] if isinstance(texts, str) else texts}
        return self._run(self._operations.whole("embeddings", EmbeddingsResult, None, said))

    def embed_images(self, images: Images, **given: Unpack[EmbeddingsCall]) -> EmbeddingsResult:
        """One vector for each image."""
        said = {**given, "input": images}
        return self._run(self._operations.whole("image_embeddings", EmbeddingsResult, None, said))

    def info(self) -> ModelInfo:
        """What the endpoint's model is."""
        return self.get_model_info()

    def models(self) -> list[ServedModel]:
        """The names that calls can choose by, in the server's order."""
        return self._run(self._operations.models()).data
