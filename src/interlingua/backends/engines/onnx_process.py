"""The program of an ONNX engine's process: a small HTTP server on a private Unix socket.

Rules of this file:
- Every route but ``GET /health`` needs the key that came with the settings.
- A caller that leaves takes along what of its call hasn't begun.
- The socket is there only once the models are loaded and were tried out.
"""

import asyncio
import hmac
import logging
import warnings
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TypeVar

import msgspec
import uvicorn

from interlingua.errors import ApiError, ModelFileError, RateLimited
from interlingua.types.embeddings import Embeddings

from .lifeline import refuse, take_settings
from .onnx_models import Models, Settings
from .onnx_wire import EMBED, EMBED_IMAGES, ImageCall, TextCall, write_failure

_Message = MutableMapping[str, object]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_Handle = Callable[[bytes], Awaitable[Embeddings]]
_CallT = TypeVar("_CallT", TextCall, ImageCall)

#: Bodies of all calls under way; one more call is refused.
_MOST_BYTES = 256 * 1024 * 1024


class EngineApp:
    """The ASGI application."""

    def __init__(self, models: Models, *, key: str) -> None:
        self._credential = f"Bearer {key}".encode()
        self._bytes = 0
        self._routes: dict[str, _Handle] = {
            EMBED: _reading(TextCall, models.embed),
            EMBED_IMAGES: _reading(ImageCall, models.embed_images),
        }

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        assert scope["type"] == "http"
        path, headers = scope["path"], scope["headers"]
        assert isinstance(path, str)
        assert isinstance(headers, list)
        if path == "/health":
            return await _reply(send, 200)
        sent = dict(headers).get(b"authorization", b"")
        if not hmac.compare_digest(sent, self._credential):
            return await _reply(send, 401)
        handle = self._routes.get(path)
        if handle is None or scope["method"] != "POST":
            return await _reply(send, 404)
        body = await _body(receive)
        if body is None:
            return None
        self._bytes += len(body)
        try:
            await self._answer(self._made(handle, body), receive, send)
        finally:
            self._bytes -= len(body)

    async def _answer(
        self, reply: Awaitable[tuple[int, bytes]], receive: _Receive, send: _Send
    ) -> None:
        """Send what is awaited, unless the caller leaves before."""
        work = asyncio.ensure_future(reply)
        gone = asyncio.ensure_future(receive())  # the body is read: this can only be the end
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await _reply(send, *work.result())
        finally:
            work.cancel()
            gone.cancel()

    async def _made(self, handle: _Handle, body: bytes) -> tuple[int, bytes]:
        """The reply's status and body."""
        try:
            if self._bytes > _MOST_BYTES:
                raise RateLimited("The model has too many inputs waiting. Try again later.")
            return 200, msgspec.msgpack.encode(await handle(body))
        except ApiError as error:
            return error.status, write_failure(error)


def main() -> None:
    """Load the models, then serve until the life line ends."""
    settings = msgspec.convert(take_settings(), Settings)
    warnings.simplefilter("ignore")  # Pillow's, of damaged metadata and large images
    logging.basicConfig(level=logging.WARNING)
    try:
        models = Models(settings)
    except ModelFileError as error:
        refuse(str(error))
    config = uvicorn.Config(
        EngineApp(models, key=settings.key),
        uds=settings.socket,
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        # The server pools its connections, and must not find one closed when it needs it.
        timeout_keep_alive=24 * 3600,
    )
    uvicorn.Server(config).run()


def _reading(kind: type[_CallT], embed: Callable[[_CallT], Awaitable[Embeddings]]) -> _Handle:
    """The handler that decodes a body of that kind first."""
    decoder = msgspec.msgpack.Decoder(kind)

    async def handle(body: bytes) -> Embeddings:
        return await embed(decoder.decode(body))

    return handle


async def _body(receive: _Receive) -> bytes | None:
    """The whole body; ``None`` if the caller left before its end."""
    pieces = []
    more: object = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        piece = message.get("body", b"")
        assert isinstance(piece, bytes)
        pieces.append(piece)
        more = message.get("more_body", False)
    return b"".join(pieces)


async def _reply(send: _Send, status: int, body: bytes = b"") -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    main()
