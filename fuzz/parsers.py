"""The parsers of foreign bytes under atheris: whatever comes, an answer or their own error.

python -m fuzz.parsers sse CORPUS -max_total_time=60
"""

import base64
import io
import os
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris
from PIL import Image

with atheris.instrument_imports(include=["interlingua"]):
    from interlingua import sse
    from interlingua.backends.engines.images import ImageReader
    from interlingua.backends.providers.failures import told_to_wait
    from interlingua.catalog import gguf, onnx_files, pth
    from interlingua.catalog.card import ImageEmbedding
    from interlingua.dialects import data_url
    from interlingua.dialects.anthropic import AnthropicDialect
    from interlingua.dialects.azure import AzureDialect
    from interlingua.dialects.bedrock import BedrockDialect
    from interlingua.dialects.cohere import CohereDialect
    from interlingua.dialects.gemini import GeminiDialect
    from interlingua.dialects.mistral import MistralDialect
    from interlingua.dialects.openai import OpenAIDialect
    from interlingua.errors import ApiError, ModelFileError, RateLimited, UpstreamError
    from interlingua.eventstream import Decoder as AmazonDecoder
    from interlingua.http import HttpCall

_SERVERS = (AzureDialect(), OpenAIDialect())
_PROVIDERS = (
    AnthropicDialect(), AzureDialect(), BedrockDialect(), CohereDialect(), GeminiDialect(),
    MistralDialect(), OpenAIDialect(),
)  # fmt: skip
_PATHS = {
    "chat": "/chat/completions",
    "completion": "/completions",
    "embeddings": "/embeddings",
    "image_embeddings": "/images/embeddings",
}


def _cuts(data: bytes) -> Iterator[bytes]:
    """The input in pieces whose sizes follow from it."""
    place = 0
    while place < len(data):
        size = data[place] % 23 + 1
        yield data[place : place + size]
        place += size


def sse_(data: bytes) -> None:
    whole, cut = sse.Decoder(), sse.Decoder()
    assert (
        whole.feed(data) + whole.finish()
        == [event for piece in _cuts(data) for event in cut.feed(piece)] + cut.finish()
    )


def amazon(data: bytes) -> None:
    decoder = AmazonDecoder()
    for piece in _cuts(data):
        decoder.feed(piece)
    decoder.finish()


def data_url_(data: bytes) -> None:
    data_url.read_data_url(data.decode("utf-8", "surrogateescape"), ("input", 0))


_IMAGES = ImageReader(ImageEmbedding(size=8))


def image(data: bytes) -> None:
    _IMAGES.read("data:image/png;base64," + base64.b64encode(data).decode(), ("input", 0))


def _picture(kind: str) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (3, 2), (200, 100, 50)).save(held, kind)
    return held.getvalue()


def _file(data: bytes) -> Path:
    path = Path("/dev/shm") / f"fuzz-{os.getpid()}"
    path.write_bytes(data)
    return path


def gguf_(data: bytes) -> None:
    gguf.read_gguf(_file(data))


def onnx(data: bytes) -> None:
    onnx_files.check_onnx(_file(data))


def pth_(data: bytes) -> None:
    pth.read_pth(_file(data))


def retry_after(data: bytes) -> None:
    text = data.decode("latin-1")
    first, _, second = text.partition("\n")
    for headers in ({"retry-after": first, "date": second}, {"retry-after-ms": first}):
        error = told_to_wait(RateLimited("wait"), headers)
        assert isinstance(error, RateLimited)
        assert 1 <= (error.retry_after_s or 0) <= 3600


def requests(data: bytes) -> None:
    for dialect in _SERVERS:
        for operation, path in _PATHS.items():
            headers = {"content-type": "application/json", "extra-parameters": "pass-through"}
            call = HttpCall(method="POST", path=path, headers=headers, body=data)
            try:
                getattr(dialect, f"read_{operation}")(call)
            except ApiError as error:
                dialect.write_error(error)


def replies(data: bytes) -> None:
    for dialect in _PROVIDERS:
        dialect.read_error(data[0] % 200 + 400 if data else 500, {}, data)
        for read in (dialect.read_chat, dialect.chat_reader().read, dialect.read_embeddings):
            try:
                read(data)
            except ApiError:
                continue


def _checkpoint() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    return held.getvalue()


_GGUF = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 4) + b"name" + b"\x08\0\0\0"
#: What each is, what it may raise, and what to begin with.
TARGETS: dict[str, tuple[Callable[[bytes], None], tuple[type[Exception], ...], list[bytes]]] = {
    "sse": (sse_, (UpstreamError,), [b'data: {"a": 1}\n\n: c\r\ndata:x\r\rid: 1\n\n']),
    "amazon": (amazon, (UpstreamError,), [bytes.fromhex("000000100000000005c248eb7d98c8ff")]),
    "data_url": (data_url_, (ApiError,), [b"data:image/png;base64,iVBORw0KGgo="]),
    "image": (image, (ApiError,), [_picture(kind) for kind in ("PNG", "JPEG", "GIF", "WEBP")]),
    "gguf": (gguf_, (ModelFileError,), [_GGUF + struct.pack("<Q", 2) + b"ab"]),
    "onnx": (onnx, (ModelFileError,), [b"\x08\x08\x12\x04test\x3a\x06\x0a\x00\x12\x02ab"]),
    "pth": (pth_, (ModelFileError,), [_checkpoint()]),
    "retry_after": (retry_after, (), [b"7", b"Wed, 21 Oct 2015 07:28:00 GMT\nWed, 21 Oct 2015"]),
    "requests": (
        requests,
        (),
        [b'{"messages":[{"role":"user","content":"a"}],"n":1}', b'{"input":["a"]}'],
    ),
    "replies": (
        replies,
        (),
        [b'{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}'],
    ),
}


def main() -> None:
    target, allowed, seeds = TARGETS[sys.argv[1]]
    for number, seed in enumerate(seeds):
        (Path(sys.argv[2]) / f"seed-{number}").write_bytes(seed)

    def one(data: bytes) -> None:
        try:
            target(data)
        except allowed:
            return

    atheris.Setup([sys.argv[0], *sys.argv[2:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
