"""Our SDK beside Microsoft's: what importing, a first call and a streamed chunk cost."""

import importlib.metadata
import json
import re
import resource
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .rows import Row

#: Chunks of one streamed answer, each in a write of its own.
CHUNKS = 2000

# What each side runs.
IMPORT = "import {package}"
NAMES = "from {package} import ChatCompletionsClient; import {package}.models"
CLIENT = "from {package} import ChatCompletionsClient as C; c = C({url!r}, {key})"
CALL = CLIENT + "; c.complete(messages=[{{'role': 'user', 'content': 'x'}}])"
STREAM = """
import time
from {package} import ChatCompletionsClient
client = ChatCompletionsClient({url!r}, {key})
def read():
    texts = []
    for update in client.complete(messages=[{{'role': 'user', 'content': 'x'}}], stream=True):
        if update.choices and update.choices[0].delta.content:
            texts.append(update.choices[0].delta.content)
    return len(texts)
read()
began = time.process_time()
count = read()
print((time.process_time() - began) / count)
"""
AZURE_KEY = "__import__('azure.core.credentials').core.credentials.AzureKeyCredential('k')"
SIDES = (("interlingua", "'k'"), ("azure.ai.inference", AZURE_KEY))


def sdk(rounds: int) -> Iterator[Row]:
    """CPU time, so that what else the machine does counts less; both sides in turn, in one run."""
    with _service() as url:
        for what, code, holds in (
            ("SDK: import, CPU ms of the process", IMPORT, "≤ 0.5"),
            ("SDK: import a client and the models", NAMES, ""),
            ("SDK: import and construct a client", CLIENT, "≤ 0.65"),
            ("SDK: import, construct, first call", CALL, ""),
        ):
            yield _compared(what, [_whole(code, url) for _ in range(rounds * 2)], 1000, holds)
        pairs = [_inside(STREAM, url) for _ in range(rounds)]
        yield _compared("SDK: a streamed chunk, CPU µs", pairs, 1e6, "≤ 0.5")
    ours, theirs = (_installed_mb(name) for name in ("interlingua", "azure-ai-inference"))
    yield Row(
        "SDK: installed, MB", f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}", "≤ 15 MB"
    )


def _compared(what: str, pairs: list[tuple[float, float]], unit: float, holds: str) -> Row:
    ours, theirs = ([pair[side] * unit for pair in pairs] for side in (0, 1))
    ratios = sorted(one / other for one, other in zip(ours, theirs, strict=True))
    spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return Row(
        what, f"{statistics.median(ours):.1f}", f"{statistics.median(theirs):.1f}", spread, holds
    )


def _whole(code: str, url: str) -> tuple[float, float]:
    """The CPU seconds of a process that runs it: ours, theirs."""
    ours, theirs = (_process(code.format(package=p, key=k, url=url)) for p, k in SIDES)
    return ours, theirs


def _process(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _inside(code: str, url: str) -> tuple[float, float]:
    """What it prints: ours, theirs."""
    ours, theirs = (
        float(
            subprocess.check_output(
                [sys.executable, "-c", code.format(package=p, key=k, url=url)], text=True
            )
        )
        for p, k in SIDES
    )
    return ours, theirs


def _installed_mb(name: str) -> float:
    """A distribution and all that it requires, as installed, without byte code."""
    seen: set[str] = set()
    waiting = [name]
    size = 0
    while waiting:
        each = waiting.pop().lower().replace("_", "-")
        if each in seen:
            continue
        seen.add(each)
        found = importlib.metadata.distribution(each)
        files = [Path(str(found.locate_file(file))) for file in found.files or []]
        if each == "interlingua":
            files = list((Path(__file__).parents[1] / "src").rglob("*"))
        size += sum(f.stat().st_size for f in files if f.is_file() and f.suffix != ".pyc")
        for line in found.requires or []:
            requirement, _, marker = line.partition(";")
            if not re.search(r"extra|python|platform|implementation", marker):
                waiting.append(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
    return size / 1e6


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        if not asked.get("stream"):
            body = json.dumps(_chunk("message", "x", "stop")).encode()
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number in range(CHUNKS):
            self._event(json.dumps(_chunk("delta", f" word{number}", None)))
        self._event(json.dumps(_chunk("delta", "", "stop")))
        self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))

    def log_message(self, *_: object) -> None:
        pass


def _chunk(place: str, text: str, reason: str | None) -> dict[str, object]:
    said = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": reason, place: said, "logprobs": None}
    whole: dict[str, object] = {"id": "65c2a8b6f2f24a0e", "object": "chat.completion.chunk"}
    return whole | {"created": 1729000000, "model": "phi-3-mini", "choices": [choice]}


@contextmanager
def _service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
