"""A scripted upstream: answers what the packaged models can't, and says what reached it.

For the samples that need a model to choose tools, to look at an image or to hear a sound.
It speaks the chat and embeddings wires on any path; each answer is made of the request, so
that what a sample prints shows that its parameters arrived.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What a model that understands the samples' questions would call the tools with.
ARGUMENTS = {
    "get_flight_info": {"origin_city": "Seattle", "destination_city": "Miami"},
    "get_weather": {"city": "Seattle"},
    "get_temperature": {"city": "Seattle"},
}
#: The chat parameters that every model takes; what else arrives is told.
USUAL = frozenset({"messages", "model", "stream", "stream_options", "tools", "tool_choice"})
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def chat_message(request: dict[str, Any]) -> dict[str, Any]:
    """The assistant's message."""
    messages = request["messages"]
    told = [m["content"] for m in messages if m["role"] == "tool"]
    if request.get("tools") and not told:
        calls = [
            {
                "id": f"call_{place}",
                "type": "function",
                "function": {
                    "name": tool["function"]["name"],
                    "arguments": json.dumps(ARGUMENTS.get(tool["function"]["name"], {})),
                },
            }
            for place, tool in enumerate(request["tools"])
        ]
        return {"role": "assistant", "content": None, "tool_calls": calls}
    if told:
        return {"role": "assistant", "content": f"The tools said: {' '.join(told)}"}
    schema = (request.get("response_format") or {}).get("json_schema", {}).get("schema")
    if schema:
        return {"role": "assistant", "content": json.dumps(example(schema, schema))}
    said = [_seen(part) for part in messages[-1]["content"] if isinstance(part, dict)]
    extras = {name: value for name, value in request.items() if name not in USUAL}
    text = " ".join(filter(None, said)) or f"Upstream got {json.dumps(extras, sort_keys=True)}"
    return {"role": "assistant", "content": text}


def example(schema: dict[str, Any], whole: dict[str, Any]) -> Any:
    """The smallest value of a schema, which shows that all of it arrived."""
    if "$ref" in schema:
        return example(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    match schema["type"]:
        case "object":
            return {name: example(part, whole) for name, part in schema["properties"].items()}
        case "array":
            return [example(schema["items"], whole)]
        case "integer":
            return 1
        case _:
            return schema.get("description", "some text")


def _seen(part: dict[str, Any]) -> str:
    if part["type"] == "image_url":
        image = part["image_url"]
        return f"An image of {len(image['url'])} characters, detail {image.get('detail')}."
    if part["type"] == "input_audio":
        sound = part["input_audio"]
        return f"Hola, ¿cómo estás? ({sound['format']}, {len(sound['data'])} characters)"
    return ""


def vectors(request: dict[str, Any]) -> dict[str, Any]:
    """As many numbers as asked for; the first tells which ``input_type`` arrived."""
    length = request.get("dimensions") or 16
    kind = {"text": 1.0, "query": 2.0, "document": 3.0}.get(request.get("input_type", ""), 0.0)
    inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
    data = [
        {"object": "embedding", "index": place, "embedding": [kind] + [float(place)] * (length - 1)}
        for place, _ in enumerate(inputs)
    ]
    usage = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
    return {"id": "v-1", "object": "list", "model": "scripted", "data": data, "usage": usage}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path = self.path.partition("?")[0]
        if path.endswith("/chat/completions"):
            message = chat_message(request)
            reason = "tool_calls" if "tool_calls" in message else "stop"
            (self._stream if request.get("stream") else self._whole)(request, message, reason)
        elif path.endswith("/embeddings"):
            self._send("application/json", json.dumps(vectors(request)).encode())
        else:
            self.send_error(404)

    def _whole(self, request: dict[str, Any], message: dict[str, Any], reason: str) -> None:
        choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
        self._send("application/json", _reply(request, "chat.completion", [choice], USAGE))

    def _stream(self, request: dict[str, Any], message: dict[str, Any], reason: str) -> None:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        for place, call in enumerate(message.get("tool_calls", ())):
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            head = {"name": name, "arguments": ""}
            deltas.append({"tool_calls": [{**call, "index": place, "function": head}]})
            deltas += [
                {"tool_calls": [{"index": place, "function": {"arguments": arguments[i : i + 5]}}]}
                for i in range(0, len(arguments), 5)
            ]
        deltas += [{"content": word + " "} for word in (message["content"] or "").split()]
        events = [
            _reply(request, "chat.completion.chunk", [{"index": 0, "delta": d}], None)
            for d in deltas
        ]
        last = [{"index": 0, "delta": {}, "finish_reason": reason}]
        events.append(_reply(request, "chat.completion.chunk", last, None))
        if (request.get("stream_options") or {}).get("include_usage"):
            events.append(_reply(request, "chat.completion.chunk", [], USAGE))
        body = b"".join(b"data: " + event + b"\n\n" for event in [*events, b"[DONE]"])
        self._send("text/event-stream", body)

    def _send(self, media_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(  # type: ignore[explicit-override]  # typing.override comes with 3.12
        self, format: str, *args: object
    ) -> None:
        """Say nothing."""


def _reply(
    request: dict[str, Any],
    kind: str,
    choices: list[dict[str, Any]],
    usage: dict[str, int] | None,
) -> bytes:
    model = request.get("model") or "scripted"
    reply = {"id": "chatcmpl-1", "object": kind, "created": 1, "model": model, "choices": choices}
    return json.dumps(reply | ({"usage": usage} if usage else {})).encode()


@contextlib.contextmanager
def upstream() -> Iterator[str]:
    """The address of a running one."""
    with local_server(_Handler) as url:
        yield url


@contextlib.contextmanager
def local_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer on a free port with ``handler`` until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
