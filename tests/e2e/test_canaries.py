"""No secret comes out: a real server, with a canary in the place of each, at its most talkative.

A secret of the config is found by its ``${NAME}``: to add one, add the deployment that has it
to ``DEPLOYMENTS``. Callers' secrets stand in ``CALLERS``.
"""

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import interlingua.tracing
from interlingua import ChatCompletionsClient, EmbeddingsClient
from interlingua.exceptions import HttpResponseError
from interlingua.sdk.credentials import AzureKeyCredential

from ..support.scripted_upstream import (
    Reply,
    Request,
    ScriptedUpstream,
    chat_chunk,
    chat_stream,
    completion_stream,
    embeddings,
    error,
    events,
    html,
    json_reply,
)


def canary() -> str:
    """As a key may look; a URL spells it otherwise."""
    return f"{secrets.token_hex(6)}+/={secrets.token_hex(6)}"


SERVER = """
[server]
port = 0
keys = ["${CALLERS_KEY}"]
usage = true

[[deployment]]
name = "echo"
model = "echo"
"""
#: Every way in which the config holds secrets. ``URL`` is where the scripted provider is.
DEPLOYMENTS = {
    "openai": 'key = "${OPENAI_KEY}"',
    "azure": 'key = "${AZURE_KEY}"',
    "azure-openai": 'key = "${AZURE_OPENAI_KEY}"\nmodel = "m"',
}
DEPLOYMENT = """
[[deployment]]
name = "{name}"
provider = "{name}"
base_url = "{url}"
{settings}

[[deployment]]
name = "{name}.embed"
provider = "{name}"
base_url = "{url}"
type = "embedding"
{settings}
"""
#: Credentials that are made into something else for each call, or fetched.
SIGNED = """
[[deployment]]
name = "entra"
provider = "azure-openai"
base_url = "{url}"
model = "m"
[deployment.entra]
tenant = "well"
client_id = "application"
client_secret = "${{ENTRA_SECRET}}"
authority = "{url}"

[[deployment]]
name = "entra-refused"
provider = "azure-openai"
base_url = "{url}"
model = "m"
[deployment.entra]
tenant = "refused"
client_id = "application"
client_secret = "${{OTHER_ENTRA_SECRET}}"
authority = "{url}"

[[deployment]]
name = "bedrock"
provider = "bedrock"
base_url = "{url}"
model = "m"
[deployment.aws]
region = "us-east-1"
access_key_id = "${{AWS_KEY_ID}}"
secret_access_key = "${{AWS_SECRET}}"
session_token = "${{AWS_TOKEN}}"
"""
#: What callers send, by what it is.
CALLERS = {
    "a wrong key": canary(),
    "a header": canary(),
    "a cookie": canary(),
    "a query's key": canary(),
    "a prompt": canary(),
    "the provider's error": canary(),
    "a fetched token": canary(),
}
PROMPT = CALLERS["a prompt"]
TOLD = CALLERS["the provider's error"]
DEBUG = (
    "import logging, sys; logging.basicConfig(level=logging.DEBUG, stream=sys.stderr); "
    "logging.debug('talkative'); "
    "from interlingua.cli.main import main; main()"
)


def upstream_says(request: Request) -> Reply:
    """As well as a prompt asks for it; what is wrong repeats every secret that it was sent."""
    found = re.search(rb"mode:(\w+)", request.body)
    sent = " ".join([*request.headers.values(), request.target])
    details = {"debug": TOLD, "headers": request.headers, "trace": [TOLD, sent]}
    match found[1].decode() if found else "well":
        case "html":
            return html(500, f"<html><body>{TOLD} {sent}</body></html>")
        case "json":
            body = {"error": {"message": f"The key {sent} failed.", "details": details}}
            return json_reply({**body, **details}, 400, x_secret=TOLD)
        case "limited":
            return error(429, "limited", f"Slow down, {sent}", retry_after="1", set_cookie=TOLD)
        case "refused":
            return error(401, "invalid_api_key", f"Incorrect API key provided: {sent} {TOLD}")
        case "redirect":
            return Reply(status=302, headers={"location": f"http://127.0.0.1:9/?key={quote(TOLD)}"})
        case "nonsense":
            return Reply((f'{{"choices": {TOLD} {sent}'.encode(),))
        case "inside":
            return json_reply({"error": {"message": f"{sent}", "type": TOLD}})
        case "event":
            return events(f'{{"choices": "{TOLD}" {sent}')
        case "cut":
            return events(chat_chunk({"content": "He"}), done=False).ending("cut")
        case "drop":
            return Reply(end="drop")
    if "embeddings" in request.path:
        return embeddings([[0.5, 0.5]])
    if "chat" in request.path:
        return chat_stream("He", "llo")
    return completion_stream("He", "llo")


MODES = (
    "well",
    "html",
    "json",
    "limited",
    "refused",
    "redirect",
    "nonsense",
    "inside",
    "event",
    "cut",
    "drop",
)


def directory_says(request: Request) -> Reply:
    """Entra ID: a token for one tenant; the other one's secret is refused, and repeated."""
    if "/well/" in request.path:
        token = CALLERS["a fetched token"]
        return json_reply({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
    sent = request.body.decode()
    return json_reply({"error": "invalid_client", "error_description": f"{sent} {TOLD}"}, 401)


class Seen:
    """Everything that came out, by where it was seen."""

    def __init__(self, url: str, secret: dict[str, str]) -> None:
        self.url = url
        self.secrets = secret
        self.places: list[tuple[str, bytes, bool]] = []
        self.client = httpx2.Client(
            base_url=url,
            timeout=60,
            headers={"x-secret": CALLERS["a header"], "cookie": f"s={CALLERS['a cookie']}"},
        )

    def add(self, place: str, said: bytes, *, prompts: bool = False) -> None:
        """``prompts``: the caller's own may stand there."""
        self.places.append((place, said, prompts))

    def call(self, path: str, body: object = None, *, key: str | None = None) -> int:
        """A call in all its talkativeness; the status."""
        content = body if isinstance(body, bytes) else None
        said = b""
        sending = self.client.stream(
            "POST" if body is not None else "GET",
            path,
            json=None if content else body,
            content=content,
            params={"api-key": CALLERS["a query's key"], "key": CALLERS["a query's key"]},
            headers={"api-key": key or self.secrets["CALLERS_KEY"]},
        )
        # A stream that fails breaks off.
        with contextlib.suppress(httpx2.RemoteProtocolError), sending as reply:
            for chunk in reply.iter_raw():
                said += chunk
        place = f"{path} {reply.status_code}"
        heads = "\n".join(f"{name}: {value}" for name, value in reply.headers.items())
        self.add(f"headers of {place}", heads.encode())
        self.add(place, said, prompts=reply.status_code == 200)
        return reply.status_code

    def leaks(self) -> list[str]:
        """Where a secret, its ends, or its form in a URL was seen."""
        named = {**self.secrets, **CALLERS}
        return [
            f"{name} in {place}: {said[:2000]!r}"
            for name, value in named.items()
            for place, said, prompts in self.places
            if not (prompts and value == PROMPT)
            for form in (value, value[:8], value[-8:], quote(value, safe=""))
            if form.encode() in said
        ]


def config_of(url: str) -> str:
    return (
        SERVER
        + "".join(
            DEPLOYMENT.format(name=name, url=url, settings=settings)
            for name, settings in DEPLOYMENTS.items()
        )
        + SIGNED.format(url=url)
    )


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    """A server whose every log line is written, recording, and keeping usage."""
    with ScriptedUpstream() as upstream:
        for path in (CHAT, COMPLETE, EMBED):
            for prefix in ("", "/openai/deployments/m"):
                upstream.on(prefix + path, upstream_says)
        upstream.on("/model/m/converse-stream", upstream_says)
        for tenant in ("well", "refused"):
            upstream.on(f"/{tenant}/oauth2/v2.0/token", directory_says)
        config = config_of(upstream.url)
        (tmp_path / "config.toml").write_text(config)
        names = re.findall(r"\$\{(\w+)\}", config)
        held = {name: canary() for name in names}
        log = tmp_path / "server.log"
        with log.open("wb") as errors:
            arguments = ["serve", "--config", "config.toml", "--record", "exchanges.jsonl"]
            process = subprocess.Popen(
                [sys.executable, "-c", DEBUG, *arguments],
                cwd=tmp_path,
                env={
                    **os.environ,
                    **held,
                    "INTERLINGUA_DATA_DIR": str(tmp_path / "data"),
                    "PYTHONASYNCIODEBUG": "1",
                },
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        assert process.stdout is not None
        first = process.stdout.readline()
        found = re.search(rb"http://\S+", first)
        assert found, log.read_text()
        seen = Seen(found[0].decode(), held)
        seen.add("what it prints", first)
        try:
            yield seen
        finally:
            seen.client.close()
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
            process.stdout.close()
            assert process.wait(30) == 0
        seen.add("what it prints", rest)
        assert b"talkative" in log.read_bytes()
        for file in tmp_path.rglob("*"):
            if file.is_file():
                seen.add(file.name, file.read_bytes(), prompts=file.name == "exchanges.jsonl")
        assert seen.leaks() == []


CHAT, COMPLETE, EMBED = "/chat/completions", "/completions", "/embeddings"
WRONG = [
    {"messages": PROMPT},
    {"messages": [PROMPT]},
    {"messages": [{"role": "nobody", "content": PROMPT}]},
    {"messages": [{"role": "user", "content": {"text": PROMPT}}]},
    {"messages": [{"role": "user", "content": PROMPT}], "temperature": 9},
    {"messages": [{"role": "user", "content": PROMPT}], "safe": 1},
    {"messages": [{"role": "user", "content": PROMPT}], "tools": [{"type": "function"}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url"}, PROMPT]}]},
    {"messages": [{"role": "user", "content": f"!fail status=503\n{PROMPT}"}], "model": "echo"},
    {"messages": [{"role": "user", "content": PROMPT}], "model": "nobody"},
    f'{{"messages": [{{"role": "user", "content": "{PROMPT}'.encode(),
]


def good_and_failing_calls(seen: Seen) -> None:
    """Every dialect and operation, well and in every way that a provider fails."""
    for mode in MODES:
        text = f"{PROMPT} mode:{mode}"
        for name in DEPLOYMENTS:
            chat = {"messages": [{"role": "user", "content": text}], "model": name}
            for path in (CHAT, "/v1" + CHAT, f"/openai/deployments/{name}{CHAT}"):
                status = seen.call(path, chat)
                assert (status == 200) == (mode == "well"), (mode, name, status)
            seen.call("/v1" + CHAT, {**chat, "stream": True})
            for path in (EMBED, "/v1" + EMBED):
                seen.call(path, {"model": f"{name}.embed", "input": [text]})
        seen.call("/v1" + COMPLETE, {"model": "azure", "prompt": text})
        for name in ("entra", "entra-refused", "bedrock"):
            chat = {"messages": [{"role": "user", "content": text}], "model": name}
            status = seen.call(CHAT, chat)
            assert (status == 200) == (mode == "well" and name == "entra"), (mode, name, status)
            seen.call("/v1" + CHAT, {**chat, "stream": True})
    for wrong in WRONG:
        assert seen.call(CHAT, wrong) >= 400
        seen.call("/v1" + CHAT, wrong)
    for key in (CALLERS["a wrong key"], f"{seen.secrets['CALLERS_KEY']}x"):
        assert seen.call(CHAT, {"messages": []}, key=key) == 401
        assert seen.call("/v1/models", key=key) == 401
    for path in ("/info", "/metrics", "/v1/models", "/catalog/models", "/docs", "/openapi.json"):
        assert seen.call(path) == 200
    seen.call("/nowhere")


def traced_calls(seen: Seen, exporter: InMemorySpanExporter) -> None:
    """The SDK's spans, of calls that succeed and that fail."""
    key = AzureKeyCredential(seen.secrets["CALLERS_KEY"])
    with ChatCompletionsClient(seen.url, key) as client:
        for mode in ("well", "json", "cut"):
            ask = {
                "messages": [{"role": "user", "content": f"{PROMPT} mode:{mode}"}],
                "model": "openai",
            }
            for stream in (False, True):
                try:
                    said = client.complete(**ask, stream=stream)
                    if stream:
                        list(said)
                except HttpResponseError as failed:
                    seen.add("an exception", repr(failed).encode() + str(failed).encode())
    with EmbeddingsClient(seen.url, key) as client:
        client.embed(input=[PROMPT], model="openai.embed")
    spans = exporter.get_finished_spans()
    assert len(spans) >= 6
    for span in spans:
        seen.add(f"the span {span.name}", span.to_json().encode())


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def test_no_canary_comes_out(seen: Seen, exporter: InMemorySpanExporter) -> None:
    good_and_failing_calls(seen)
    interlingua.tracing.AIInferenceInstrumentor().instrument()
    try:
        traced_calls(seen, exporter)
    finally:
        interlingua.tracing.AIInferenceInstrumentor().uninstrument()
    assert seen.leaks() == []
