"""Calls to llama.cpp's server, each a method; its errors as ours."""

import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from typing import TypeVar

import msgspec

from interlingua import sse
from interlingua.errors import (
    ApiError,
    CallerError,
    ContextLengthExceeded,
    InvalidValue,
    ModelNotReady,
    UpstreamError,
)
from interlingua.http import HttpCall, HttpReply, Transport

from . import gbnf, lark
from .grammar import Language
from .llamacpp_wire import (
    Chunk,
    EngineError,
    EnginePrompt,
    ErrorBody,
    Generate,
    Pieces,
    Rendered,
    Tokens,
    Vectors,
)

_JSON = {"content-type": "application/json"}
_LONGEST_ERROR = 64 * 1024
_KNOWN_GRAMMARS = 256
_T = TypeVar("_T")


class Refused(CallerError):
    """The engine refused the request; the caller of this module knows what is at fault."""


class LlamaServer:
    """One engine. Safe for concurrent calls."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._chunk = msgspec.json.Decoder(Chunk)
        self._holds: OrderedDict[bytes, bool] = OrderedDict()
        self._probe_token: int | None = None
        self._language: Language | None = None

    async def render(
        self, messages: Sequence[dict[str, object]], tools: Sequence[dict[str, object]]
    ) -> str:
        """The prompt that the model's template makes of the messages.

        Raises:
            InvalidValue: the template refuses them.
        """
        body: dict[str, object] = {"messages": messages}
        if tools:
            body["tools"] = tools
        try:
            return (await self._post("/apply-template", body, Rendered)).prompt
        except Refused as error:
            raise InvalidValue(
                f"The model's chat template refuses these messages: {error.message}",
                location=("body", "messages"),
            ) from error

    async def tokenize(self, text: str, *, control: bool, begin: bool = False) -> list[int]:
        """Token ids. ``control``: whether control tokens count as such; ``begin``: whether
        the model's opening (and closing) tokens are added.
        """
        body = {"content": text, "parse_special": control, "add_special": begin}
        return (await self._post("/tokenize", body, Tokens)).tokens

    async def count(self, prompt: EnginePrompt) -> int:
        """How many tokens the engine would read."""
        if isinstance(prompt, str):
            return len(await self.tokenize(prompt, control=True, begin=True))
        return len(prompt)

    async def embed(self, inputs: Sequence[str | list[int]]) -> Vectors:
        """One vector an input, base64 of float32."""
        body = {"input": inputs, "encoding_format": "base64"}
        return await self._post("/v1/embeddings", body, Vectors)

    async def generate(self, body: Generate) -> AsyncGenerator[Chunk]:
        """The events of one completion, the last one with ``stop``. Closing cancels it.

        Raises:
            ContextLengthExceeded: the prompt is too long.
            Refused: the engine won't have the request.
            ModelNotReady: the engine can't answer now.
            UpstreamError: it failed, or broke off.
        """
        call = HttpCall(path="/completion", headers=_JSON, body=msgspec.json.encode(body))
        events = sse.Decoder()
        async with self._transport.send(call) as reply:
            if reply.status != 200:
                raise await _failure(reply)
            async for data in reply.chunks:
                for event in events.feed(data):
                    chunk = self._read(event)
                    yield chunk
                    if chunk.stop:
                        return
        raise UpstreamError("The engine broke its answer off.")

    async def language(self) -> Language:
        """The grammar language that holds this model's vocabulary exactly."""
        if self._language is None:
            body = {"content": "{", "with_pieces": True}
            first = (await self._post("/tokenize", body, Pieces)).tokens[0].piece
            self._language = gbnf if first in (" ", " {") else lark
        return self._language

    async def holds(self, grammar: str) -> bool:
        """Whether the engine can hold the model to a grammar whose texts are JSON.

        A grammar that it can't compile is dropped by it without a word and the text comes
        out free. So a token that no JSON text begins with is made all but certain: only a
        grammar that holds keeps it out. Found answers are remembered.
        """
        digest = hashlib.sha256(grammar.encode()).digest()
        known = self._holds.get(digest)
        if known is None:
            known = self._holds[digest] = await self._probe(grammar)
            if len(self._holds) > _KNOWN_GRAMMARS:
                self._holds.popitem(last=False)
        return known

    async def _probe(self, grammar: str) -> bool:
        if self._probe_token is None:
            self._probe_token = (await self.tokenize("?", control=False))[-1]
        body = Generate(
            prompt=[self._probe_token],
            stream=True,
            n_predict=1,
            temperature=0,
            cache_prompt=False,
            logit_bias=((self._probe_token, 100.0),),
            grammar=grammar,
        )
        try:
            text = "".join([chunk.content async for chunk in self.generate(body)])
        except Refused:
            return False
        return "?" not in text

    def _read(self, event: bytes) -> Chunk:
        try:
            chunk = self._chunk.decode(event)
        except msgspec.DecodeError as error:
            raise UpstreamError("The engine sent an event that makes no sense.") from error
        if chunk.error is not None:
            raise UpstreamError("The engine failed while it answered.")
        return chunk

    async def _post(self, path: str, body: object, kind: type[_T]) -> _T:
        call = HttpCall(path=path, headers=_JSON, body=msgspec.json.encode(body))
        async with self._transport.send(call) as reply:
            if reply.status != 200:
                raise await _failure(reply)
            raw = b"".join([chunk async for chunk in reply.chunks])
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.DecodeError as error:
            raise UpstreamError("The engine sent a reply that makes no sense.") from error


async def _failure(reply: HttpReply) -> ApiError:
    raw = b""
    async for chunk in reply.chunks:
        raw += chunk
        if len(raw) > _LONGEST_ERROR:
            break
    try:
        error = msgspec.json.decode(raw, type=ErrorBody).error
    except msgspec.DecodeError:
        error = EngineError()
    if reply.status >= 500:
        return ModelNotReady("The engine can't answer now.")
    if error.n_ctx is not None and error.n_prompt_tokens is not None:
        return ContextLengthExceeded(
            f"The prompt has {error.n_prompt_tokens} tokens, and this model takes at most "
            f"{error.n_ctx} tokens of prompt and completion together."
        )
    return Refused(error.message[:300] or "no reason given")
