"""What the catalog's tests share: a writer of torch checkpoints, and a web server."""

import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def tensor(array: np.ndarray, key: str) -> bytes:
    """As torch writes one: a call of its rebuild function on a storage's persistent id."""
    kind = b"FloatStorage" if array.dtype == np.float32 else b"LongStorage"
    storage = b"(" + text("storage") + b"ctorch\n" + kind + b"\n" + text(key) + text("cpu")
    storage += b"J" + struct.pack("<i", array.size) + b"NtQ"
    strides = tuple(step // array.itemsize for step in array.strides)
    arguments = storage + b"K\0" + numbers(array.shape) + numbers(strides) + b"\x89" + ORDERED_DICT
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def checkpoint(
    arrays: Mapping[str, np.ndarray], *, state: bytes | None = None, keys: object = None
) -> bytes:
    """A checkpoint in torch's old format; ``state`` replaces the pickle of the tensors."""
    if state is None:
        items = b"".join(text(name) + tensor(a, name) for name, a in arrays.items())
        metadata = b"}" + text("_metadata") + ORDERED_DICT + b"sb"
        state = b"\x80\x02" + ORDERED_DICT + b"(" + items + b"u" + metadata + b"."
    heads = [pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, {"little_endian": True})]
    tail = pickle.dumps(list(arrays) if keys is None else keys, 2)
    storages = [
        struct.pack("<q", array.size) + np.ravel(array, order="K").tobytes()
        for array in arrays.values()
    ]
    return b"".join([*heads, state, tail, *storages])


@pytest.fixture(scope="session")
def write_checkpoint() -> Callable[..., bytes]:
    return checkpoint


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that went away is part of the tests."""


class Web:
    """A web server on this machine that can break off, and that keeps what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        #: A reply ends, without a warning, after so many bytes of its body.
        self.breaks_after: int | None = None
        #: The hub's code of a refusal, with which everything is answered.
        self.refuses: str | None = None
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.answer(with_body=False)

            def do_GET(self) -> None:
                self.answer(with_body=True)

            def answer(self, *, with_body: bool) -> None:
                wanted = self.headers.get("range")
                web.asked.append((self.command, self.path, wanted))
                raw = web.files.get(self.path)
                if raw is None or web.refuses:
                    self.send_response(404)
                    self.send_header("x-error-code", web.refuses or "EntryNotFound")
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                fresh = self.headers.get("if-range") in (None, web.headers.get("etag"))
                start = int(wanted[6:].split("-")[0]) if wanted and fresh else 0
                if start and start >= len(raw):
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                for name, value in web.headers.items():
                    self.send_header(name, value)
                if start:
                    self.send_header("content-range", f"bytes {start}-{len(raw) - 1}/{len(raw)}")
                self.send_header("content-length", str(len(raw) - start))
                self.end_headers()
                if with_body:
                    self.wfile.write(raw[start:][: web.breaks_after])
                    self.close_connection = web.breaks_after is not None

            def log_message(self, *_: object) -> None:
                pass

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    thread = Thread(target=web.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield web
    web.server.shutdown()
    thread.join()
    web.server.server_close()


@pytest.fixture
def no_web(tmp_path: Path) -> str:
    """An address at which nobody listens."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.server_close()
    return f"http://127.0.0.1:{server.server_port}"
