"""What the pages of *Migrate in five minutes* tell to write works, as it stands there."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from azure.ai.inference import ChatCompletionsClient, EmbeddingsClient
from azure.core.credentials import AzureKeyCredential

from interlingua.backends.echo import EchoBackend

from ..server.service import KEY, app_of, served

PAGES = Path(__file__).parents[2] / "docs" / "howto" / "migrate"
BLOCK = re.compile(r"^(Before|After)[^\n]*:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ASK = [{"role": "user", "content": "one two three"}]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(app_of(EchoBackend(name="NAME"))) as url:
        yield url


def after(page: str, url: str) -> str:
    """The block below *After*, with the server's address in place of the usual one."""
    text = (PAGES / page).read_text("utf-8")
    blocks = re.findall(
        r"^(Before|After)[^\n]*:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
    )
    assert [name for name, _ in blocks] == ["Before", "After"]
    assert "http://127.0.0.1:8080" in blocks[1][1] or page in {"our-sdk.md", "semantic-kernel.md"}
    return blocks[1][1].replace("http://127.0.0.1:8080", url)


def client_of(lines: str, **names: object) -> object:
    written: dict[str, object] = dict(names)
    exec(lines, written)  # what the page says
    return written["client"]


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_every_page_has_a_before_and_an_after(page: str) -> None:
    if page != "README.md":
        assert after(page, "http://127.0.0.1:1")


def test_the_index_names_every_page() -> None:
    index = (PAGES / "README.md").read_text("utf-8")
    named = set(re.findall(r"\]\(([\w-]+\.md)\)", index))
    assert named == {path.name for path in PAGES.glob("*.md")} - {"README.md"}


def test_the_official_client_migrates(url: str) -> None:
    names = {"AzureKeyCredential": AzureKeyCredential, "key_that_serve_printed": KEY}
    lines = after("python.md", url)
    chat = client_of(lines, ChatCompletionsClient=ChatCompletionsClient, **names)
    assert isinstance(chat, ChatCompletionsClient)
    with chat:
        assert chat.complete(messages=ASK).choices[0].message.content == "one two three"
    lines = lines.replace("ChatCompletionsClient(", "EmbeddingsClient(")
    texts = client_of(lines, EmbeddingsClient=EmbeddingsClient, **names)
    assert isinstance(texts, EmbeddingsClient)
    with texts:
        assert len(texts.embed(input=["a", "b"]).data) == 2


@pytest.mark.parametrize("which", ["AzureOpenAI", "OpenAI"])
def test_openais_client_migrates(url: str, which: str) -> None:
    calls = re.findall(r"^client = .*$", after("openai-python.md", url), re.MULTILINE)
    line = next(call for call in calls if f"= {which}(" in call)
    client = client_of(line, AzureOpenAI=openai.AzureOpenAI, OpenAI=openai.OpenAI, key=KEY)
    assert isinstance(client, openai.OpenAI)
    with client:
        reply = client.chat.completions.create(model="NAME", messages=ASK)
    assert reply.choices[0].message.content == "one two three"


def test_our_sdk_takes_over(url: str) -> None:
    written: dict[str, Any] = {}
    exec(after("our-sdk.md", url), written)  # what the page says
    messages = [written["SystemMessage"]("Repeat."), written["UserMessage"]("one two")]
    with written["ChatCompletionsClient"](url, KEY) as client:
        assert client.complete(messages=messages).choices[0].message.content.endswith("one two")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_migrates(url: str) -> None:
    line = after("curl.md", url).removeprefix("$ ").replace("$KEY", KEY).replace("\\\n", "")
    asked = subprocess.run(
        ["curl", "--silent", "--fail-with-body", *shlex.split(line)[1:]],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert '"content":"Hello"' in asked.stdout
