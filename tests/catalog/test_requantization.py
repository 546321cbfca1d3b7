import importlib.util
from pathlib import Path

import pytest

from interlingua.catalog import requantization
from interlingua.catalog.card import Card, ModelFile, UrlSource
from interlingua.catalog.gguf import read_layout
from interlingua.catalog.requantization import (
    NotRequantizedError,
    name_of,
    requantize,
    worth_it,
)
from interlingua.catalog.store import Store
from interlingua.errors import ModelFileError

from ..support.quantized import Kind, write_quantized


@pytest.fixture(autouse=True)
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the tests run, the CPU is one for which it was measured."""
    monkeypatch.setattr(requantization, "_has_avx2", lambda: True)


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    return write_quantized(tmp_path / "noise.Q4_1.gguf")


def nothing(_done: int, _total: int | None, _what: str) -> None:
    pass


@pytest.mark.parametrize(
    ("kind", "worth"),
    [(Kind.Q4_1, True), (Kind.Q5_1, True), (Kind.Q4_0, False), (Kind.Q8_0, False)],
)
def test_it_is_worth_it_for_types_without_kernels_for_many_tokens(
    tmp_path: Path, kind: Kind, worth: bool
) -> None:
    assert worth_it(write_quantized(tmp_path / "m.gguf", kind)) is worth


def test_it_is_not_worth_it_where_it_was_not_measured(
    slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert worth_it(slow) is False


def test_the_cpu_is_asked_what_it_has(
    slow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(requantization, "_CPUINFO", info)
    assert worth_it(slow) is False
    info.write_text("flags\t\t: fpu sse2 avx\n")
    assert worth_it(slow) is False
    info.write_text("flags\t\t: fpu sse2 avx avx2 bmi2\n")
    assert worth_it(slow) is True


def test_it_is_not_worth_it_for_a_file_that_waits_for_memory(
    slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requantization, "MOST_BYTES", 1000)
    assert worth_it(slow) is False


def test_other_files_are_not_read(tmp_path: Path) -> None:
    assert worth_it(tmp_path / "gone.onnx") is False


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("SmolLM2.Q4_1.gguf", "SmolLM2.Q8_0.gguf"),
        ("m-q5_1-x.gguf", "m-Q8_0-x.gguf"),
        ("model.gguf", "model.Q8_0.gguf"),
    ],
)
def test_the_twin_is_named_by_its_type(name: str, twin: str) -> None:
    assert name_of(Path(name)) == twin


def test_the_twin_takes_the_place_of_the_file(slow: Path) -> None:
    seen: list[tuple[int, int | None, str]] = []
    size = slow.stat().st_size
    twin, made = requantize(slow, lambda *step: seen.append(step))
    assert twin == slow.with_name("noise.Q8_0.gguf")
    assert not slow.exists()
    assert {tensor.kind for tensor in read_layout(twin).tensors} == {0, 8}
    assert made.source == "Q4_1"
    assert seen[0] == (0, None, "making noise.Q4_1.gguf Q8_0 for this CPU")
    assert seen[-1][1] == size


def test_without_numpy_the_file_stays(slow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(NotRequantizedError, match="numpy isn't installed: pip install"):
        requantize(slow, nothing)
    assert [path.name for path in slow.parent.iterdir()] == [slow.name]


def test_without_room_for_both_the_file_stays(slow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise ModelFileError("noise.Q8_0.gguf needs 1 MB")

    monkeypatch.setattr(requantization, "require_space", none_left)
    with pytest.raises(NotRequantizedError, match="needs 1 MB"):
        requantize(slow, nothing)
    assert slow.exists()


def test_what_would_change_too_much_stays(slow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requantization, "MOST_LOSS", 1e-4)
    with pytest.raises(NotRequantizedError, match=r"its weights would change by 0\.\d\d%"):
        requantize(slow, nothing)
    assert [path.name for path in slow.parent.iterdir()] == [slow.name]


def test_a_failure_is_told_in_one_line_and_the_file_stays(slow: Path) -> None:
    slow.write_bytes(slow.read_bytes()[:-64])
    with pytest.raises(NotRequantizedError, match=r"can't be made Q8_0 \(.*cut short"):
        requantize(slow, nothing)
    assert [path.name for path in slow.parent.iterdir()] == [slow.name]


# In the store.


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


@pytest.fixture
def card(slow: Path, web) -> Card:
    web.files["/m.gguf"] = slow.read_bytes()
    source = UrlSource(url=f"{web.address}/m.gguf")
    return Card(
        name="noise",
        title="Noise",
        publisher="me",
        type="chat-completion",
        license="MIT",
        engine="llamacpp",
        files=(ModelFile(role="model", name="noise.Q4_1.gguf", source=source),),
    )


def test_a_pull_keeps_the_twin_alone_and_records_both(store: Store, card: Card) -> None:
    stored = store.pull(card)
    assert stored.files["model"].name == "noise.Q8_0.gguf"
    names = sorted(path.name for path in store.path(card).iterdir())
    assert names == ["manifest.json", "noise.Q8_0.gguf"]
    manifest = store.manifest(card)
    assert manifest
    assert manifest.fetched[0].name == "noise.Q4_1.gguf"
    assert manifest.requantized
    assert manifest.requantized.tensors == 2
    assert manifest.kept_as_is is None
    assert store.get(card) == stored
    store.verify(card)


def test_a_pull_can_leave_it_as_it_is(store: Store, card: Card, slow: Path) -> None:
    stored = store.pull(card, as_is=True)
    assert stored.files["model"].read_bytes() == slow.read_bytes()
    manifest = store.manifest(card)
    assert manifest
    assert (manifest.requantized, manifest.kept_as_is) == (None, "as asked")
    # Later pulls leave what is there, one way or the other.
    assert store.pull(card) == stored


def test_a_model_that_was_pulled_before_there_was_this_stays(store: Store, card: Card) -> None:
    stored = store.pull(card, as_is=True)
    record = store.path(card) / "manifest.json"
    lines = record.read_text().splitlines()
    old = [line for line in lines if "kept_as_is" not in line and "requantized" not in line]
    old[-2] = old[-2].rstrip(",")
    record.write_text("\n".join(old))
    assert store.status(card) == "pulled"
    assert store.pull(card) == stored


def test_what_cannot_be_made_faster_is_kept_and_says_why(
    store: Store, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requantization, "MOST_LOSS", 1e-4)
    assert store.pull(card).files["model"].name == "noise.Q4_1.gguf"
    manifest = store.manifest(card)
    assert manifest
    assert (manifest.kept_as_is or "").startswith("its weights would change")
