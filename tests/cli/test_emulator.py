"""``interlingua serve --record`` and ``--replay`` as processes, and the official clients."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from azure.ai.inference import ChatCompletionsClient, EmbeddingsClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from click.testing import CliRunner
from openai import APIError, NotFoundError, OpenAI

from interlingua.cli.main import cli
from interlingua.errors import ConfigError

from ..support.scripted_upstream import ScriptedUpstream, chat_stream

KEY = "key-of-the-callers"
PROVIDER_KEY = "key-of-the-provider"
CONFIG = """
[server]
port = 0
keys = ["${{CALLERS}}"]
extra_parameters = "drop"
model_type = "documentation"

[[deployment]]
name = "echo"
model = "echo"
aliases = ["gpt-4o"]
[deployment.capabilities]
parameters = ["encoding_format", "max_tokens", "temperature"]

[[deployment]]
name = "vllm"
provider = "vllm"
base_url = "{url}/v1"
key = "${{PROVIDER}}"
aliases = ["*"]

[[endpoint]]
name = "support"
traffic = {{ echo = 1 }}
"""
ASK = [{"role": "user", "content": "one two three"}]
SERVE = [sys.executable, "-m", "interlingua", "serve"]


@contextmanager
def serving(folder: Path, *arguments: str, kill: bool = False, **more: str) -> Iterator[str]:
    """The address of such a server; it is killed at the end, or told to stop."""
    log = folder / "server.log"
    kept = {n: v for n, v in os.environ.items() if not n.startswith("INTERLINGUA_")}
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [*SERVE, "--json", *arguments],
            cwd=folder,
            env={**kept, "INTERLINGUA_DATA_DIR": str(folder / "data"), **more},
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield json.loads(line)["url"]
    finally:
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        code = process.wait(30)
        process.stdout.close()
    assert code == (-signal.SIGKILL if kill else 0)
    assert "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recording of a server that was killed."""
    folder = tmp_path_factory.mktemp("emulator")
    with ScriptedUpstream() as upstream:
        upstream.on("/v1/chat/completions", chat_stream("He", "llo"))
        (folder / "interlingua.toml").write_text(CONFIG.format(url=upstream.url))
        secrets = {"CALLERS": KEY, "PROVIDER": PROVIDER_KEY}
        with serving(folder, "--record", "exchanges.jsonl", kill=True, **secrets) as url:
            with ChatCompletionsClient(url, AzureKeyCredential(KEY)) as client:
                client.complete(messages=ASK, model="echo", temperature=0)
                list(client.complete(messages=ASK, model="any-model", stream=True))
                fail = [{"role": "user", "content": "!fail status=429"}]
                with pytest.raises(HttpResponseError):
                    client.complete(messages=fail, model="echo", retry_total=0)
                fail = [{"role": "user", "content": "!fail cut\none two"}]
                with pytest.raises(HttpResponseError):
                    client.complete(messages=fail, model="echo", retry_total=0)
            with EmbeddingsClient(url, AzureKeyCredential(KEY)) as client:
                client.embed(input=["a", "b"], model="echo")
    return folder


@pytest.fixture(scope="module")
def url(recorded: Path) -> Iterator[str]:
    """Its replay, without the provider and every key of then."""
    # A config that lies there is another server's: its variables aren't even set.
    arguments = ["--replay", "exchanges.jsonl", "--port", "0"]
    with serving(recorded, *arguments, INTERLINGUA_API_KEY="ci-key") as url:
        yield url


@pytest.fixture
def openai(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key="ci-key", max_retries=0) as client:
        yield client


def post(url: str, path: str, body: object, **headers: str) -> httpx2.Response:
    return httpx2.post(url + path, json=body, headers={"api-key": "ci-key", **headers}, timeout=30)


def test_the_file_holds_whole_lines_without_secrets_for_its_owner_alone(recorded: Path) -> None:
    file = recorded / "exchanges.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["kind"] for line in lines] == ["server"] + ["deployment"] * 2 + ["exchange"] * 5
    assert KEY not in text
    assert PROVIDER_KEY not in text


def test_the_other_dialect_the_other_route_and_the_other_delivery_get_the_same(
    url: str, openai: OpenAI
) -> None:
    streamed = openai.chat.completions.create(
        model="gpt-4o", messages=ASK, temperature=0.0, stream=True
    )
    texts = [chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices]
    assert [text for text in texts if text] == ["one", " two", " three"]
    whole = openai.chat.completions.create(model="any-model", messages=ASK)
    assert (whole.choices[0].message.content, whole.model) == ("Hello", "vllm")
    assert whole.usage is not None
    assert whole.usage.total_tokens == 5
    body = {"temperature": 0, "messages": ASK}
    managed = post(url, "/endpoints/support/chat/completions", body)
    assert managed.json()["choices"][0]["message"]["content"] == "one two three"
    assert managed.headers["azureml-model-deployment"] == "echo"
    vectors = openai.embeddings.create(model="echo", input=["a", "b"])
    assert [len(item.embedding) for item in vectors.data] == [64, 64]


def test_its_errors_are_what_the_recorded_server_said(url: str, openai: OpenAI) -> None:
    with ChatCompletionsClient(url, AzureKeyCredential("ci-key")) as client:
        fail = [{"role": "user", "content": "!fail status=429"}]
        with pytest.raises(HttpResponseError) as limited:
            client.complete(messages=fail, model="echo", retry_total=0)
        assert limited.value.status_code == 429
        assert limited.value.response is not None
        assert limited.value.response.headers["retry-after"] == "1"
    cut = [{"role": "user", "content": "!fail cut\none two"}]
    heard = []
    with pytest.raises(APIError):  # noqa: PT012 - what was heard before counts
        for chunk in openai.chat.completions.create(model="echo", messages=cut, stream=True):
            heard += [choice.delta.content for choice in chunk.choices]
    assert [text for text in heard if text] == ["one"]


def test_it_validates_as_the_recorded_server_did(url: str) -> None:
    body = {"model": "echo", "messages": ASK, "temperature": 0}
    dropped = post(url, "/chat/completions", {**body, "safe": 1})
    assert (dropped.status_code, dropped.headers["x-interlingua-changes"]) == (
        200,
        'dropped=("safe")',
    )
    refused = post(url, "/chat/completions", {**body, "safe": 1}, **{"extra-parameters": "error"})
    assert refused.json()["error"]["code"] == "extra_parameters"
    assert post(url, "/chat/completions", {**body, "top_p": 0.5}).status_code == 422
    assert post(url, "/chat/completions", {**body, "temperature": 3}).status_code == 422
    wrong_key = post(url, "/chat/completions", body, **{"api-key": KEY})
    assert wrong_key.status_code == 401
    info = httpx2.get(f"{url}/info", headers={"api-key": "ci-key"}).json()
    assert info["model_type"] == "chat-completions"


def test_what_was_not_recorded_is_a_404_that_names_the_difference(url: str, openai: OpenAI) -> None:
    with (
        ChatCompletionsClient(url, AzureKeyCredential("ci-key")) as client,
        pytest.raises(ResourceNotFoundError) as told,
    ):
        client.complete(messages=ASK, model="echo", temperature=1)
    assert "differs in temperature (recorded 0.0, asked 1.0)" in str(told.value)
    assert told.value.error is not None
    assert told.value.error.code == "not_recorded"
    with pytest.raises(NotFoundError) as other:
        openai.chat.completions.create(model="another-model", messages=ASK)
    assert other.value.code == "not_recorded"
    assert other.value.param == "model"


def test_the_how_to_works_as_it_is_written(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "howto" / "test-offline.md"
    files = re.findall(r"<!-- tried: (\S+) -->\n```python\n(.*?)```", page.read_text(), re.DOTALL)
    for name, text in files:
        (tmp_path / name).write_text(text)
    (tmp_path / "interlingua.toml").write_text('[[deployment]]\nname = "echo"\nmodel = "echo"\n')
    commands = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}
    arguments = ["--record", "exchanges.jsonl", "--port", "0"]
    with serving(tmp_path, *arguments) as url:
        key = (tmp_path / "data" / "key").read_text().strip()
        theirs = {"AZURE_INFERENCE_ENDPOINT": url, "AZURE_INFERENCE_CREDENTIAL": key}
        app = [sys.executable, "app.py"]
        subprocess.run(app, cwd=tmp_path, env={**environment, **theirs}, timeout=60, check=True)
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "2 passed" in tests.stdout, tests.stdout


def test_what_cannot_be_recorded_or_replayed_is_told_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "damaged"
    file.write_text("{\n")
    both = CliRunner().invoke(cli, ["serve", "--replay", str(file), "--record", "b"])
    assert "without --config or --record" in both.stderr
    told = CliRunner().invoke(cli, ["serve", "--replay", str(file), "--port", "0"])
    assert isinstance(told.exception, ConfigError)
    assert "damaged, line 1 is no line of a recording" in str(told.exception)
