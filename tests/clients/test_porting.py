"""Programs for the official package, ported by their import lines: they do the same."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from clients.porting import port, ported

from ..e2e.conftest import serving

CONFIG = """
[server]
port = 0
keys = ["${E2E_KEY}"]

[[deployment]]
name = "echo"
model = "echo"
"""
#: As the official samples are: imports at the top and in functions, sync and async clients.
PROGRAM = '''
"""Written for azure.ai.inference."""
import asyncio, sys

from azure.ai.inference import ChatCompletionsClient, EmbeddingsClient, load_client
from azure.ai.inference.models import (
    ImageEmbeddingInput,
    SystemMessage,
    UserMessage,
)
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError

endpoint, key = sys.argv[1], AzureKeyCredential(sys.argv[2])
messages = [SystemMessage("azure.ai.inference stays in a text"), UserMessage("one two three")]


def chat():
    client = ChatCompletionsClient(endpoint, key, headers={"azureml-model-deployment": None})
    answer = client.complete(messages=messages, max_tokens=2)
    print(answer.choices[0].message.content, answer.choices[0].finish_reason, answer.usage)
    for update in client.complete(messages=messages, stream=True):
        print(update.choices[0].delta.content if update.choices else update.usage)
    try:
        client.complete(messages=messages, temperature=9)
    except HttpResponseError as error:
        print(error.status_code, error.message)


def embed():
    client = EmbeddingsClient(endpoint, key, dimensions=8)
    print(client.embed(input=["a", "b"]).data[1].embedding)
    print(load_client(endpoint, key).get_model_info())


async def images():
    from azure.ai.inference.aio import ImageEmbeddingsClient

    async with ImageEmbeddingsClient(endpoint, key, dimensions=8) as client:
        image = ImageEmbeddingInput(image="data:image/png;base64,AAAA")
        print((await client.embed(input=[image])).data[0].embedding)


def prompt():
    import azure.ai.inference.prompts as prompts

    template = prompts.PromptTemplate.from_string("system:\\nYou know {{what}}.")
    print(template.create_messages(what="trees"))


chat(), embed(), asyncio.run(images()), prompt()
print(sorted(name for name in sys.modules if name == "azure.ai.inference"))
'''


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("from azure.ai.inference import load_client", "from interlingua import load_client"),
        ("    import azure.ai.inference.aio as aio", "    import interlingua.aio as aio"),
        ("from\tazure.ai.inference.models import (", "from\tinterlingua.models import ("),
        ("from azure.core.credentials import A", "from azure.core.credentials import A"),
        ("from azure.ai.inference_more import A", "from azure.ai.inference_more import A"),
        ('name = "azure.ai.inference"  # as it is', 'name = "azure.ai.inference"  # as it is'),
    ],
)
def test_import_lines_change_and_nothing_else(theirs: str, ours: str) -> None:
    assert ported(f"x = 1\n{theirs}\ny = 2\n") == f"x = 1\n{ours}\ny = 2\n"


def test_a_folder_of_programs_is_ported_and_its_data_copied(tmp_path: Path) -> None:
    (tmp_path / "from" / "more").mkdir(parents=True)
    (tmp_path / "from" / "more" / "a.py").write_text("import azure.ai.inference\n")
    (tmp_path / "from" / "a.txt").write_text("import azure.ai.inference\n")
    for _ in range(2):
        made = port(tmp_path / "from", tmp_path / "to")
    assert (made / "more" / "a.py").read_text() == "import interlingua\n"
    assert (made / "a.txt").read_text() == "import azure.ai.inference\n"


@pytest.mark.parametrize("module", ["", ".aio", ".models", ".prompts", ".tracing"])
def test_every_name_that_the_official_package_exports_is_there(module: str) -> None:
    theirs = importlib.import_module(f"azure.ai.inference{module}")
    ours = importlib.import_module(f"interlingua{module}")
    names = getattr(theirs, "__all__", ["PromptTemplate"])
    assert [name for name in names if not hasattr(ours, name)] == []


def test_a_program_prints_the_same_when_ported(tmp_path: Path) -> None:
    printed = []
    with serving(CONFIG, tmp_path) as server:
        for name, program in (("theirs", PROGRAM), ("ours", ported(PROGRAM))):
            (tmp_path / f"{name}.py").write_text(program)
            done = subprocess.run(
                [sys.executable, f"{name}.py", server.url, server.key],
                cwd=tmp_path,
                check=False,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
            printed.append(done.stdout.splitlines())
    (*theirs, loaded), (*ours, not_loaded) = printed
    assert ours == theirs
    assert (loaded, not_loaded) == ("['azure.ai.inference']", "[]")
