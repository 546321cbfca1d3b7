"""An HTTP server over a real socket that answers from a table, and records what it was asked.

    with ScriptedUpstream() as upstream:
        upstream.on("/v1/chat/completions", chat_stream("Hello"))
        ...                          # point a deployment's base_url at upstream.url + "/v1"
        upstream.requests[-1].json()

A path is answered by one reply for ever, by a list of replies in turn (the last one is
repeated), or by a function of the request. A path that isn't there is 404.
"""

import base64
import json
import struct
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Literal, Self
from urllib.parse import parse_qsl, unquote

#: How long a reply that never ends waits for its client to leave.
_HOLD_S = 20.0


@dataclass(frozen=True)
class Request:
    """``path`` is decoded and without its query; header names are lower-case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    #: The path and query as they came.
    target: str

    def json(self) -> dict[str, object]:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """``whole``: the body ends as it should. ``cut``: the connection ends before the body
    does. ``hold``: the body never ends, and the client has to leave. ``drop``: the connection
    ends without a byte. ``silent``: not a byte comes, and the client has to leave.
    """

    chunks: tuple[bytes, ...] = ()
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    end: Literal["whole", "cut", "hold", "drop", "silent"] = "whole"

    def ending(self, end: Literal["whole", "cut", "hold", "drop", "silent"]) -> "Reply":
        return replace(self, end=end)


Answer = Reply | Sequence[Reply] | Callable[[Request], Reply]


class ScriptedUpstream:
    """A context manager; ``url`` has no trailing slash. Safe to use from any thread."""

    def __init__(self, port: int = 0, answers: Mapping[str, Answer] | None = None) -> None:
        self.requests: list[Request] = []
        #: Set when a client left a reply that was held.
        self.left = threading.Event()
        #: How many connections were made.
        self.connections = 0
        self._answers: dict[str, Answer] = {}
        self._turns: dict[str, int] = {}
        self._lock = threading.Lock()
        for path, answer in (answers or {}).items():
            self.on(path, answer)
        handler = type("Handler", (_Handler,), {"upstream": self})
        self._server = _Server(("127.0.0.1", port), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def on(self, path: str, *answer: Answer) -> None:
        """Answer the path so from now on: with one answer, or with replies in turn."""
        with self._lock:
            self._answers[path] = answer[0] if len(answer) == 1 else list(answer)  # type: ignore[arg-type]  # replies
            self._turns[path] = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            answer = self._answers.get(request.path)
            if answer is None:
                return error(404, "not_found", f"Nothing is scripted at {request.path}.")
            if isinstance(answer, Reply):
                return answer
            if not callable(answer):
                turn = self._turns[request.path]
                self._turns[request.path] = turn + 1
                return answer[min(turn, len(answer) - 1)]
        return answer(request)


# -- Replies --------------------------------------------------------------------------------


def json_reply(body: object, status: int = 200, **headers: str) -> Reply:
    """A header's name has ``_`` for ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply((json.dumps(body).encode(),), status=status, headers=named)


def error(status: int, code: str | None, message: str, **headers: str) -> Reply:
    """OpenAI: the error object."""
    body = {"error": {"message": message, "type": "error", "param": None, "code": code}}
    return json_reply(body, status, **headers)


def html(status: int, text: str = "<html><body><h1>Bad gateway</h1></body></html>") -> Reply:
    """What a proxy in front of a provider says."""
    return Reply((text.encode(),), status=status, content_type="text/html")


def events(*data: object, done: bool = True) -> Reply:
    """A stream: each event an object or raw text, then ``[DONE]``."""
    texts = [each if isinstance(each, str) else json.dumps(each) for each in data]
    chunks = tuple(f"data: {text}\n\n".encode() for text in [*texts, *["[DONE]"] * done])
    return Reply(chunks, content_type="text/event-stream")


def chat_chunk(
    delta: Mapping[str, object] | None = None,
    finish_reason: str | None = None,
    *,
    index: int = 0,
    usage: Mapping[str, object] | None = None,
    model: str = "scripted",
) -> dict[str, object]:
    """One chunk of a chat (OpenAI: "The chat completion chunk object")."""
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish_reason}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1730000000,
        "model": model,
        "choices": [choice],
        **({} if usage is None else {"usage": usage}),
    }


def usage_chunk(prompt: int = 3, completion: int = 2, model: str = "scripted") -> dict[str, object]:
    """OpenAI: ``stream_options.include_usage``, a last chunk without choices."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1730000000,
        "model": model,
        "choices": [],
        "usage": usage(prompt, completion),
    }


def usage(prompt: int = 3, completion: int = 2) -> dict[str, object]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def chat_stream(*texts: str, finish_reason: str = "stop") -> Reply:
    """A streamed chat as OpenAI sends it: role, texts, finish reason, usage."""
    return events(
        chat_chunk({"role": "assistant", "content": ""}),
        *(chat_chunk({"content": text}) for text in texts),
        chat_chunk({}, finish_reason),
        usage_chunk(),
    )


def chat_whole(text: str, finish_reason: str = "stop", model: str = "scripted") -> Reply:
    """A whole chat (OpenAI: "The chat completion object")."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None}
    return json_reply(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1730000000,
            "model": model,
            "choices": [choice],
            "usage": usage(),
        }
    )


def completion_stream(*texts: str, finish_reason: str = "stop") -> Reply:
    """A streamed text completion (OpenAI: "The completion object")."""
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1730000000, "model": "scripted"}
    chunks = [
        {**head, "choices": [{"index": 0, "text": text, "finish_reason": None}]} for text in texts
    ]
    end = {**head, "choices": [{"index": 0, "text": "", "finish_reason": finish_reason}]}
    return events(*chunks, end, {**head, "choices": [], "usage": usage()})


def embeddings(vectors: Iterable[Sequence[float]], *, encoded: bool = False) -> Reply:
    """Vectors as numbers, or ``encoded`` as base64 of float32."""
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            if encoded
            else list(vector),
        }
        for index, vector in enumerate(vectors)
    ]
    spent = {"prompt_tokens": 5, "total_tokens": 5}
    return json_reply({"object": "list", "model": "scripted", "data": data, "usage": spent})


# -- The server -----------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    #: Of connections at once; one more would wait for a second.
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    upstream: ClassVar[ScriptedUpstream]

    def handle(self) -> None:
        self.upstream.connections += 1
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
        path, _, query = self.path.partition("?")
        request = Request(
            method=self.command,
            path=unquote(path),
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            target=self.path,
        )
        self._send(self.upstream.answer(request))

    def _send(self, reply: Reply) -> None:
        if reply.end in {"drop", "silent"}:
            self.close_connection = True
            if reply.end == "silent":
                self._hold()
            return
        self.send_response_only(reply.status)
        named = {"content-type": reply.content_type, **reply.headers}
        for name, value in {**named, "transfer-encoding": "chunked"}.items():
            self.send_header(name, value)
        self.end_headers()
        for chunk in reply.chunks:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if reply.end == "whole":
            self.wfile.write(b"0\r\n\r\n")
            return
        self.close_connection = True
        if reply.end == "hold":
            self._hold()

    def _hold(self) -> None:
        self.connection.settimeout(_HOLD_S)
        with suppress(OSError):
            if self.rfile.read(1) == b"":
                self.upstream.left.set()
