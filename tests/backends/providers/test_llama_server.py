"""A server that others wrote, as a provider: llama.cpp's own, over TCP, with a real model."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx2
import pytest

from interlingua.errors import CallerError, UpstreamError
from interlingua.types.chat import JsonSchemaFormat
from interlingua.types.completions import CompletionRequest

from ...support.engines import packaged
from .upstreams import answer, ask, continued, deltas, opened

pytestmark = pytest.mark.anyio

KEY = "cnry-llama-server-0b8c7f3a91d2"
PROGRAM = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, key = sys.argv[1], int(sys.argv[2]), sys.argv[3]
params.hostnames, params.api_keys = ["127.0.0.1"], [key]
params.n_ctx, params.n_parallel, params.verbosity = 1024, 1, -1
params.warmup = params.fit_params = params.ui = False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.use_jinja = True
server = xllamacpp.Server(params)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = packaged("smollm2-135m-instruct").files["model"]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(model), str(port), KEY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        # The program says so when the server listens and its model is loaded.
        assert httpx2.get(f"{address}/health", timeout=30).status_code == 200
        yield f"{address}/v1"
    finally:
        process.kill()
        process.communicate()


async def test_it_chats_by_a_schema_and_continues_texts(url: str) -> None:
    async with opened(url, "llama-server", key=KEY, model=None, timeout_s=60) as provider:
        pieces = await deltas(
            provider, ask("Name the capital of France.", max_tokens=24, temperature=0)
        )
        assert "Paris" in "".join(piece.text for piece in pieces)
        assert len([piece for piece in pieces if piece.text]) > 2
        usage = pieces[-1].usage
        assert usage is not None
        assert usage.prompt_tokens > 5
        schema = JsonSchemaFormat(name="n", schema={"type": "integer"})
        whole = await answer(
            provider, ask("7?", response_format=schema, max_tokens=4, logprobs=True, top_logprobs=2)
        )
        assert (whole.choices[0].text or "").strip("-").isdigit()
        assert len(whole.choices[0].logprobs[0].top_logprobs) == 2
        request = CompletionRequest(
            prompts=("The capital of France is",), max_tokens=4, temperature=0
        )
        assert "Paris" in (await continued(provider, request)).choices[0].text


async def test_its_refusals_are_the_callers_and_its_key_is_ours(url: str) -> None:
    async with opened(url, "llama-server", key=KEY, model=None, timeout_s=60) as provider:
        with pytest.raises(CallerError):
            await deltas(provider, ask("word " * 3000))
    async with opened(url, "llama-server", key="wrong-key-wrong-key", model=None) as provider:
        with pytest.raises(UpstreamError, match="own credential"):
            await deltas(provider)


async def test_it_speaks_anthropics_wire_too(url: str) -> None:
    """Its ``/v1/messages``: a wire that others wrote down, heard from a real model."""
    async with opened(url, "anthropic", key=KEY, timeout_s=60) as provider:
        pieces = await deltas(
            provider,
            ask("Name the capital of France.", max_tokens=24, temperature=0, stop=("\n\n",)),
        )
        assert "Paris" in "".join(piece.text for piece in pieces)
        assert len([piece for piece in pieces if piece.text]) > 2
        assert pieces[-1].finish_reason in {"stop", "length"}
        usage = pieces[-1].usage
        assert usage is not None
        assert (usage.prompt_tokens > 5, usage.completion_tokens > 2) == (True, True)
        with pytest.raises(CallerError):
            await deltas(provider, ask("word " * 3000))
    async with opened(url, "anthropic", key="wrong-key-wrong-key") as provider:
        with pytest.raises(UpstreamError, match="own credential"):
            await deltas(provider)
