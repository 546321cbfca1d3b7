"""A server over a real socket that answers with recorded bytes, and remembers what it heard."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Literal

WAIT_S = 20.0


@dataclass(frozen=True)
class Reply:
    """``cut``: the connection ends before the body does. ``hold``: the body never ends, and
    the client has to leave.
    """

    chunks: tuple[bytes, ...] = ()
    status: int = 200
    content_type: str = "application/json"
    end: Literal["whole", "cut", "hold"] = "whole"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Heard:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        return json.loads(self.body)


class Wire:
    """What is answered by path, without its query; the last reply of a path is repeated."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: list[Heard] = []
        self.left = threading.Event()
        self._replies: dict[str, list[Reply]] = {}

    def answer(self, path: str, *replies: Reply) -> None:
        self._replies[path] = list(replies)

    def reply(self, path: str) -> Reply:
        replies = self._replies.get(path.partition("?")[0])
        if not replies:
            body = b'{"error":{"code":"not_found","message":"Resource not found"}}'
            return Reply((body,), status=404)
        return replies.pop(0) if len(replies) > 1 else replies[0]


def events(*data: str) -> Reply:
    """A stream that ends as it should."""
    return stream(*data, "[DONE]")


def stream(*data: str, end: Literal["whole", "cut", "hold"] = "whole") -> Reply:
    chunks = tuple(f"data: {each}\n\n".encode() for each in data)
    return Reply(chunks, content_type="text/event-stream", end=end)


def chunk(content: str, finish_reason: str | None = None, **delta: str) -> str:
    """One chunk in the shape of the service's own recordings (Azure SDK for .NET)."""
    choice = {
        "delta": {"content": content, **delta},
        "finish_reason": finish_reason,
        "index": 0,
        "logprobs": None,
    }
    whole: dict[str, object] = {
        "choices": [choice],
        "created": 1729000000,
        "id": "65c2a8b6f2f24a0e8b3f5a9b8c7d6e5f",
        "model": "mistral-small",
        "object": "chat.completion.chunk",
    }
    if finish_reason:
        whole["usage"] = {"completion_tokens": 2, "prompt_tokens": 18, "total_tokens": 20}
    return json.dumps(whole)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wire: ClassVar[Wire]

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client may leave when it likes
            super().handle()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.wire.heard.append(Heard(self.command, self.path, headers, body))
        reply = self.wire.reply(self.path)
        self.send_response(reply.status)
        self.send_header("content-type", reply.content_type)
        self.send_header("transfer-encoding", "chunked")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        for each in reply.chunks:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(each), each))
            self.wfile.flush()
        if reply.end == "whole":
            self.wfile.write(b"0\r\n\r\n")
            return
        self.close_connection = True
        if reply.end == "hold":
            self.connection.settimeout(WAIT_S)
            if self.rfile.read(1) == b"":
                self.wire.left.set()


@contextmanager
def running_wire() -> Iterator[Wire]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    wire = Wire(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"wire": wire})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield wire
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
