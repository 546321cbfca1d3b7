"""The gateways that are compared, each started as its users start it, before one upstream."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from peers.peers import HERE as PEERS
from peers.peers import free_port

from clients import environments

MODEL = "gpt-4o-mini"
_STARTS_WITHIN_S = 180.0
_NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_buffer_size 2m;
  client_max_body_size 40m; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""
#: What everybody who runs a gateway for a team has: named keys with limits, usage, metrics.
CONFIG = """
[server]
port = {port}

[[deployment]]
name = "{model}"
provider = "openai"
base_url = "http://127.0.0.1:{upstream}/v1"
model = "{model}"
key = "${{UPSTREAM_KEY}}"
slots = 1024
"""
KEY = """
[[key]]
name = "team-{number}"
key = "${{TEAM_{number}}}"
requests_per_minute = 100000000
tokens_per_minute = 1000000000
tokens_per_day = 100000000000
"""
#: Node's own Response of a fetch has headers that can't be changed, and Portkey changes them
#: (Portkey-AI/gateway#1389): without this it answers streams with 500.
_SHIM = """
const { fetch: original } = globalThis;
globalThis.fetch = async (...given) => {
  const reply = await original(...given);
  return new Response(reply.body, {
    status: reply.status, statusText: reply.statusText, headers: new Headers(reply.headers),
  });
};
"""


class Gateway(NamedTuple):
    """One that runs: where, as which process, and what its callers send besides."""

    name: str
    version: str
    port: int
    pid: int
    headers: Mapping[str, str]
    #: From the start of its process to its first answer.
    start_s: float
    #: How many streams at once are asked of it.
    streams: int = 512


def request(
    gateway: Gateway | None, *, stream: bool = False, prompt: str = "Why is the sky blue?"
) -> bytes:
    """A whole request for a chat, as it goes over the wire; ``None``: to the upstream."""
    body = {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": prompt},
        ],
        "max_tokens": 64,
        "temperature": 0.7,
        **({"stream": True} if stream else {}),
    }
    data = json.dumps(body).encode()
    headers = {"host": "127.0.0.1", "content-type": "application/json"}
    headers |= gateway.headers if gateway is not None else {}
    lines = ["POST /v1/chat/completions HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(data)}", "", ""]).encode() + data


Start = Callable[[Path, int, ExitStack], Gateway]


def nginx(folder: Path, upstream: int, stack: ExitStack) -> Gateway:
    """The floor: a reverse proxy that reads no body."""
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        program = str(_unpacked_nginx())
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, upstream=upstream, port=port))
    version = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    said = version.strip().rpartition("/")[2]
    return _run("nginx", said, [program, "-c", str(config)], folder, port, stack)


def _unpacked_nginx() -> Path:
    """Debian's, unpacked rather than installed, which takes no rights."""
    home = environments.HOME / "nginx"
    program = home / "usr" / "sbin" / "nginx"
    if not program.exists():
        if shutil.which("apt-get") is None:
            raise environments.SetupFailed("nginx isn't installed, and there is no apt-get")
        home.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "--quiet", "nginx"], cwd=home, check=True)
        (package,) = home.glob("nginx_*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, home], check=True)
    return program


def ferrogw(folder: Path, upstream: int, stack: ExitStack) -> Gateway:
    interpreter = environments.python("ferrogw", PEERS)
    port = free_port()
    given = {
        "ALLOW_UNAUTHENTICATED_PROXY": "true",
        "OPENAI_API_KEY": "sk-upstream",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}",
        "PORT": str(port),
        "LOG_LEVEL": "error",
        "RATE_LIMIT_RPS": "1000000",
        "RATE_LIMIT_BURST": "1000000",
    }
    command = [str(interpreter.with_name("ferrogw")), "serve"]
    version = environments.version(interpreter, "ferrogw")
    return _run("ferrogw", version, command, folder, port, stack, given=given)


def portkey(folder: Path, upstream: int, stack: ExitStack) -> Gateway:
    if shutil.which("npm") is None:
        raise environments.SetupFailed("Node isn't installed")
    home = environments.HOME / "portkey"
    package = "@portkey-ai/gateway"
    if not (home / "node_modules" / package).exists():
        home.mkdir(parents=True, exist_ok=True)
        options = ["--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(home)]
        subprocess.run(["npm", "install", *options, f"{package}@1.15.2"], check=True)
    port = free_port()
    shim = folder / "shim.mjs"
    shim.write_text(_SHIM)
    program = home / "node_modules" / package / "build" / "start-server.js"
    command = ["node", "--import", str(shim), str(program), f"--port={port}", "--headless"]
    headers = {
        "authorization": "Bearer sk-upstream",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1",
    }
    version = environments.node_version(home, package)
    found = _run("Portkey", version, command, folder, port, stack, headers=headers)
    return found._replace(streams=64)


def litellm(folder: Path, upstream: int, stack: ExitStack) -> Gateway:
    interpreter = environments.python("litellm", PEERS)
    port, key = free_port(), "sk-" + secrets.token_urlsafe(32)
    behind = {"api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-upstream"}
    config = {
        "model_list": [
            {"model_name": MODEL, "litellm_params": {"model": f"openai/{MODEL}", **behind}}
        ],
        "general_settings": {"master_key": key},
    }
    (folder / "litellm.yaml").write_text(json.dumps(config), "utf-8")
    command = [str(interpreter.with_name("litellm")), "--config", "litellm.yaml"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    given = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    headers = {"authorization": f"Bearer {key}"}
    version = environments.version(interpreter, "litellm")
    found = _run("LiteLLM", version, command, folder, port, stack, given=given, headers=headers)
    return found._replace(streams=16)


def interlingua(
    folder: Path,
    upstream: int,
    stack: ExitStack,
    *,
    workers: int = 1,
    deployments: int = 1,
    keys: int = 1,
) -> Gateway:
    """Ours, with everything on: keys, validation, limits and a budget, usage, metrics."""
    port = free_port()
    config = CONFIG.format(port=port, upstream=upstream, model=MODEL)
    for number in range(1, deployments):
        more = CONFIG.format(port=port, upstream=upstream, model=f"other-{number}")
        config += more.partition("\n\n")[2]
    config += "".join(KEY.format(number=number) for number in range(keys))
    file = folder / f"interlingua-{port}.toml"
    file.write_text(config, "utf-8")
    secret = {f"TEAM_{number}": secrets.token_urlsafe(24) for number in range(keys)}
    command = [sys.executable, "-m", "interlingua", "serve", "--config", str(file)]
    command += ["--data-dir", str(folder / f"data-{port}")]
    command += ["--workers", str(workers)] if workers > 1 else []
    headers = {"authorization": f"Bearer {secret['TEAM_0']}"}
    given = {**secret, "UPSTREAM_KEY": "sk-upstream"}
    name = "Interlingua" if workers == 1 else f"Interlingua, {workers} workers"
    version = environments.version(Path(sys.executable), "interlingua")
    return _run(name, version, command, folder, port, stack, given=given, headers=headers)


ALL: Mapping[str, Start] = {
    "nginx": nginx,
    "ferrogw": ferrogw,
    "portkey": portkey,
    "litellm": litellm,
    "interlingua": interlingua,
}


def _run(
    name: str,
    version: str,
    command: list[str],
    folder: Path,
    port: int,
    stack: ExitStack,
    *,
    given: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Gateway:
    kept = {each: os.environ[each] for each in ("PATH", "HOME", "LANG") if each in os.environ}
    began = time.monotonic()
    process = stack.enter_context(_running(command, folder, {**kept, **(given or {})}, name))
    gateway = Gateway(name, version, port, process.pid, headers or {}, 0)
    while not _answers(gateway):
        if process.poll() is not None or time.monotonic() - began > _STARTS_WITHIN_S:
            told = (folder / f"{port_file(name)}.log").read_text("utf-8", "replace")[-1500:]
            raise environments.SetupFailed(f"{name} didn't start: {told}")
        time.sleep(0.01)
    return gateway._replace(start_s=time.monotonic() - began)


def port_file(name: str) -> str:
    return name.lower().replace(" ", "-").replace(",", "")


@contextmanager
def _running(
    command: list[str], folder: Path, environment: Mapping[str, str], name: str
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{port_file(name)}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()
        process.wait()


def _answers(gateway: Gateway) -> bool:
    head, _, body = request(gateway).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    headers = dict(line.split(": ", 1) for line in lines if not line.startswith("content-length"))
    call = urllib.request.Request(
        f"http://127.0.0.1:{gateway.port}/v1/chat/completions", data=body, headers=headers
    )
    try:
        with urllib.request.urlopen(call, timeout=30) as reply:
            return bool(json.load(reply)["choices"])
    except (OSError, ValueError, KeyError):
        return False
