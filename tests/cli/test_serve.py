"""``interlingua serve`` as a process: its start, what it prints, and its end."""

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

CONFIG = '[[deployment]]\nname = "echo"\nmodel = "echo"\n'
SERVE = [sys.executable, "-m", "interlingua", "serve", "--port", "0"]
#: What only commands, engines and fetching need.
FOREIGN = {
    "rich",
    "httpx2",
    "huggingface_hub",
    "pip",
    "numpy",
    "onnxruntime",
    "xllamacpp",
    "PIL",
    "jwt",
    "cryptography",
}
#: A server whose only deployment never answers.
HANGING = """
import asyncio, sys
sys.path.insert(0, {support!r})
from service import app_of, hanging
from interlingua.config.schema import ServerConfig
from interlingua.server.live import Live
from interlingua.server.run import listen, server_of, url_of
settings = ServerConfig(drain_timeout_s=60)
listener = listen("127.0.0.1", 0)
tell = lambda: print(url_of(listener), flush=True)
app = app_of(hanging(), settings=settings)
server_of(Live(app), settings, on_start=tell).run(sockets=[listener])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "interlingua.toml").write_text(CONFIG)
    return tmp_path


def environment(folder: Path, **more: str) -> dict[str, str]:
    ours = os.environ.items()
    kept = {name: value for name, value in ours if name != "INTERLINGUA_API_KEY"}
    return {**kept, "INTERLINGUA_DATA_DIR": str(folder / "data"), **more}


def failure(folder: Path, *arguments: str, **more: str) -> str:
    """What a server that can't start says; nothing else is printed."""
    done = subprocess.run(
        [*SERVE, *arguments],
        cwd=folder,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


@contextlib.contextmanager
def running(
    command: list[str], folder: Path, **more: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and what it printed first."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment(folder, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


def test_it_answers_with_its_generated_key_and_stops_when_told(folder: Path) -> None:
    with running([*SERVE, "--json"], folder) as (process, line):
        serving = json.loads(line)
        key_file = folder / "data" / "key"
        assert serving["key_file"] == str(key_file)
        assert serving["deployments"][0]["url"] == serving["url"] + "/endpoints/echo"
        with httpx2.Client(trust_env=False, headers={"api-key": key_file.read_text().strip()}) as c:
            body = {"messages": [{"role": "user", "content": "hello you"}]}
            answer = c.post(serving["deployments"][0]["url"] + "/chat/completions", json=body)
            assert answer.json()["choices"][0]["message"]["content"] == "hello you"
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_it_prints_where_to_call_and_lines_to_paste_but_no_key_into_a_pipe(folder: Path) -> None:
    with running(SERVE, folder) as (process, line):
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found
        key = (folder / "data" / "key").read_text().strip()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stdout is not None
        printed = process.stdout.read()
    assert f"{found[0]}/endpoints/echo" in printed
    assert f'ChatCompletionsClient("{found[0]}"' in printed
    assert f'OpenAI(base_url="{found[0]}/v1"' in printed
    assert f"curl {found[0]}/chat/completions" in printed
    assert key not in printed
    assert str(folder / "data" / "key") in printed


def test_the_pasted_python_lines_answer(folder: Path) -> None:
    with running(SERVE, folder) as (process, line):
        assert process.stdout is not None
        printed = line
        while "Ctrl-C" not in printed:
            printed += process.stdout.readline()
        for opening in ("# pip install azure-ai-inference", "# pip install openai", "curl "):
            start = printed.index(opening)
            snippet = printed[start : printed.index("\n\n", printed.index("messages", start))]
            run = ["sh", "-c"] if opening == "curl " else [sys.executable, "-c"]
            done = subprocess.run(
                [*run, snippet], capture_output=True, text=True, timeout=60, check=True
            )
            assert "Why is the sky blue?" in done.stdout


def test_a_key_from_the_environment_is_used_and_not_shown(folder: Path) -> None:
    (folder / "interlingua.toml").write_text(f'[server]\nkeys = ["${{MY_KEY}}"]\n{CONFIG}')
    with running(SERVE, folder, MY_KEY="from-outside") as (process, line):
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found
        with httpx2.Client(trust_env=False) as client:
            assert client.get(found[0] + "/info").status_code == 401
            headers = {"authorization": "Bearer from-outside"}
            assert client.get(found[0] + "/info", headers=headers).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stdout is not None
        assert "from-outside" not in process.stdout.read()
    assert not (folder / "data" / "key").exists()


def test_the_server_process_is_light(folder: Path) -> None:
    command = [sys.executable, "-X", "importtime", *SERVE[1:]]
    with running(command, folder) as (process, line):
        assert "http://" in line
        status = Path(f"/proc/{process.pid}/status")
        if status.exists():
            resident = re.search(r"VmRSS:\s+(\d+) kB", status.read_text())
            assert resident
            assert int(resident[1]) < 60_000
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        imports = process.stderr.read()
        assert process.wait(30) == 0
    imported = set(re.findall(r"^import time:.*\| +([\w]+)", imports, re.MULTILINE))
    assert "uvicorn" in imported
    assert imported & FOREIGN == set()


def test_a_second_signal_ends_it_now(folder: Path) -> None:
    support = str(Path(__file__).parents[1] / "server")
    with running([sys.executable, "-c", HANGING.format(support=support)], folder) as (
        process,
        line,
    ):
        address = line.strip().removeprefix("http://").split(":")
        body = b'{"messages": [{"role": "user", "content": "x"}]}'
        head = "POST /chat/completions HTTP/1.1\r\nhost: x\r\napi-key: test-key\r\n"
        with socket.create_connection((address[0], int(address[1]))) as connection:
            connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            with httpx2.Client(trust_env=False) as client:
                assert client.get(line.strip() + "/health/live").status_code == 200
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            assert time.monotonic() - began < 10
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_a_taken_port_is_told(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port} of 127.0.0.1 already" in failure(folder, "--port", port)


def test_beyond_loopback_it_needs_keys(folder: Path) -> None:
    assert "keys must be set" in failure(folder, "--host", "0.0.0.0")


def test_without_pulling_a_missing_model_is_told(folder: Path) -> None:
    (folder / "interlingua.toml").write_text(
        '[[deployment]]\nname = "a"\nmodel = "smollm2-135m-instruct"\n'
    )
    message = failure(folder, "--no-pull")
    assert "interlingua models pull smollm2-135m-instruct" in message


def test_a_model_that_cannot_be_fetched_is_told(folder: Path) -> None:
    (folder / "interlingua.toml").write_text(
        '[[deployment]]\nname = "a"\nmodel = "smollm2-135m-instruct"\n'
    )
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": os.devnull,
    }
    assert "couldn't be fetched" in failure(folder, **nowhere)


def test_a_bad_config_is_told(folder: Path) -> None:
    (folder / "interlingua.toml").write_text("[server]\nprot = 1\n")
    assert "did you mean 'port'?" in failure(folder)


def test_over_tls_the_pasted_lines_answer_once_they_trust_the_certificate(folder: Path) -> None:
    with running([*SERVE, "--tls", "dev"], folder) as (process, line):
        assert process.stdout is not None
        printed = line
        while "Ctrl-C" not in printed:
            printed += process.stdout.readline()
        assert re.search(r"https://127\.0\.0\.1:\d+", line)
        assert "http://" not in printed
        trust = dict(re.findall(r"export (\w+)='(.*?)'", printed))
        ca = str(folder / "data" / "tls" / "ca.pem")
        names = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
        assert trust == dict.fromkeys(names, ca)
        for opening in (
            "# pip install azure-ai-inference",
            "# pip install openai",
            "curl --cacert '",
        ):
            start = printed.rindex(opening)
            snippet = printed[start : printed.index("\n\n", printed.index("messages", start))]
            run = ["sh", "-c"] if opening.startswith("curl") else [sys.executable, "-c"]
            done = subprocess.run(
                [*run, snippet],
                env={**os.environ, **trust},
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            assert "Why is the sky blue?" in done.stdout
        # The client commands find the certificate by themselves.
        url = line.split()[-1]
        done = subprocess.run(
            [sys.executable, "-m", "interlingua", "chat", "--endpoint", url, "hello you"],
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout == "hello you\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_certificate_is_given_by_flags_whatever_the_config_says(folder: Path) -> None:
    with running([*SERVE, "--tls", "dev", "--json"], folder) as (_, line):
        made = Path(json.loads(line)["ca_file"]).parent
    (folder / "interlingua.toml").write_text(f'[server]\ntls = "dev"\n{CONFIG}')
    given = ["--tls-cert", str(made / "server.pem"), "--tls-key", str(made / "server-key.pem")]
    with running([*SERVE, *given, "--json"], folder) as (process, line):
        serving = json.loads(line)
        assert serving["ca_file"] is None
        trust = ssl.create_default_context(cafile=made / "ca.pem")
        with httpx2.Client(trust_env=False, verify=trust) as client:
            assert client.get(serving["url"] + "/health/live").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    said = failure(folder, "--tls-cert", "missing.pem", "--tls-key", str(made / "server-key.pem"))
    assert "server.tls_cert: missing.pem can't be read" in said
    assert "server.tls_cert: it needs tls_key" in failure(folder, "--tls-cert", "missing.pem")
