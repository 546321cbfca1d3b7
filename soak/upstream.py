"""The provider of the long runs: does what the call's text says, wrong things too.

    python -m soak.upstream        # prints its port

A text is ``n=17 do=plain``; the answer has ``words(17)`` words, and says that the prompt had
17 tokens, so that each usage record tells whose it is. ``GET /told`` says what was done.
"""

import asyncio
import json
import re
import socket
import struct
import sys
import time
from collections import Counter

_ASKED = re.compile(rb"n=(\d+) do=([a-z-]+)")
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_NO_LINGER = struct.pack("ii", 1, 0)
_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
SLOW_S = 0.2

#: What goes wrong, in the names that texts have.
_NO_ANSWER = ("reset", "close", "stall", "garbage", "busy", "broken", "page")
FAULTS = (
    *_NO_ANSWER, "reset-within", "close-within", "stall-within", "garbage-within", "error-within",
)  # fmt: skip


def words(number: int) -> int:
    """How many words the answer to this call has."""
    return number % 7 + 2


class Memory:
    """What all connections know."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        #: When the connections of held calls ended, by the clock that all processes share.
        self.left: dict[int, float] = {}
        #: Calls that were reset once, and are answered now.
        self.once: set[int] = set()


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._came = b""
        self._held: int | None = None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio gives it
        if self._held is not None:
            self._memory.left[self._held] = time.monotonic()

    def data_received(self, data: bytes) -> None:
        self._came += data
        while True:
            end = self._came.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._came, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._came) < whole:
                return
            request, self._came = self._came[:whole], self._came[whole:]
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        if request.startswith(b"GET "):
            told = {"done": self._memory.done, "left": self._memory.left}
            self._whole(json.dumps(told).encode())
            return
        found = _ASKED.search(request)
        if found is None:
            self._whole(b'{"error": {"message": "n=... do=... is missing"}}', "400 Bad Request")
            return
        number, do = int(found[1]), found[2].decode()
        self._memory.done[do] += 1
        if do == "once":
            if number not in self._memory.once:
                self._memory.once.add(number)
                self._reset()
                return
            do = "plain"
        if do == "slow":
            asyncio.get_running_loop().call_later(SLOW_S, self._say, request, number, "plain")
        else:
            self._say(request, number, do)

    def _say(self, request: bytes, number: int, do: str) -> None:
        if do in _NO_ANSWER:
            self._fail(do)
        elif b"/embeddings" in request[:100]:
            self._whole(_vectors(number))
        elif b'"stream":true' in request:
            self._stream(number, do)
        elif do.endswith("-within"):
            self._begun_whole(number, do)
        else:
            self._whole(_completion(number))

    def _fail(self, do: str) -> None:
        match do:
            case "reset":
                self._reset()
            case "close":
                self._transport.close()
            case "garbage":
                self._transport.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            case "busy":
                self._whole(b'{"error": {"message": "busy"}}', "503 Service Unavailable")
            case "broken":
                self._whole(b'{"error": {"message": "broken"}}', "500 Internal Server Error")
            case "page":
                self._whole(b"<html>Sign in</html>", kind="text/html")

    def _whole(self, body: bytes, status: str = "200 OK", kind: str = "application/json") -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)

    def _begun_whole(self, number: int, do: str) -> None:
        body = _completion(number)
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        self._transport.write(head.encode() + b"\r\n\r\n" + body[:50])
        self._break(do, b"\xff\xfe" * (len(body) // 2))

    def _stream(self, number: int, do: str) -> None:
        events = [_chunk({"content": f"w{place} "}) for place in range(words(number))]
        if do == "hold":
            self._held = number
            self._transport.write(_STREAM + _framed(events[0]))
            return
        if do.endswith("-within"):
            self._transport.write(_STREAM + _framed(events[0]))
            self._break(do, b"\xff\xfe{}\r\n")
            return
        events += [_chunk({}, "stop"), _usage(number), "[DONE]"]
        self._transport.write(_STREAM + b"".join(map(_framed, events)) + b"0\r\n\r\n")

    def _break(self, do: str, garbage: bytes) -> None:
        match do:
            case "reset-within":
                # What was written may be lost with a reset that comes at once.
                asyncio.get_running_loop().call_later(0.01, self._reset)
            case "close-within":
                self._transport.close()
            case "garbage-within":
                self._transport.write(garbage)
            case "error-within":
                self._transport.write(_framed('{"error": {"message": "broken"}}'))

    def _reset(self) -> None:
        end: socket.socket = self._transport.get_extra_info("socket")
        if end.fileno() >= 0:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()


def _framed(data: str) -> bytes:
    event = f"data: {data}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


def _counted(number: int) -> dict[str, int]:
    said = words(number)
    return {"prompt_tokens": number, "completion_tokens": said, "total_tokens": number + said}


def _completion(number: int) -> bytes:
    text = "".join(f"w{place} " for place in range(words(number)))
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice],
         "usage": _counted(number)}
    ).encode()  # fmt: skip


def _chunk(delta: dict[str, str], reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return json.dumps(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
         "choices": [choice]}
    )  # fmt: skip


def _usage(number: int) -> str:
    return json.dumps(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
         "usage": _counted(number)}
    )  # fmt: skip


def _vectors(number: int) -> bytes:
    data = [{"object": "embedding", "index": 0, "embedding": [float(number), 0.5]}]
    usage = {"prompt_tokens": number, "total_tokens": number}
    return json.dumps({"object": "list", "model": "m", "data": data, "usage": usage}).encode()


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    memory = Memory()
    server = await loop.create_server(lambda: Upstream(memory), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Whoever started it holds the other end.
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
