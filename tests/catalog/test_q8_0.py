"""Q4_1 and Q5_1 made Q8_0, beside what the format's own library makes of the same weights."""

import subprocess
import sys
from pathlib import Path

import gguf
import msgspec
import numpy as np
import pytest

from interlingua.catalog.gguf import read_gguf
from interlingua.catalog.q8_0 import main, rewrite
from interlingua.catalog.requantization import Requantized

from ..support.quantized import Kind, write_quantized


def read(path: Path) -> gguf.GGUFReader:
    return gguf.GGUFReader(path)


def fields(path: Path) -> dict[str, object]:
    """Name, type and value of everything that the file says of itself."""
    return {
        name: (field.types, field.contents())
        for name, field in read(path).fields.items()
        if not name.startswith("GGUF.")
    }


@pytest.mark.parametrize("kind", [Kind.Q4_1, Kind.Q5_1])
@pytest.mark.parametrize("alignment", [32, 64])
def test_the_tensors_are_those_that_ggml_makes(tmp_path: Path, kind: Kind, alignment: int) -> None:
    source = write_quantized(tmp_path / "m.gguf", kind, alignment=alignment)
    rewrite(source, tmp_path / "q.gguf")
    before, after = read(source).tensors, read(tmp_path / "q.gguf").tensors
    assert [tensor.name for tensor in after] == [tensor.name for tensor in before]
    assert [tensor.tensor_type for tensor in after] == [Kind.Q8_0] * 3 + [Kind.F32]
    for old, new in zip(before, after, strict=True):
        wanted = old.data
        if old.tensor_type == kind:
            wanted = gguf.quants.quantize(gguf.quants.dequantize(old.data, kind), Kind.Q8_0)
        assert np.array_equal(new.data, wanted)
        assert list(new.shape) == list(old.shape)


def test_everything_else_is_kept(tmp_path: Path) -> None:
    source = write_quantized(tmp_path / "m.gguf")
    rewrite(source, tmp_path / "q.gguf")
    before, after = fields(source), fields(tmp_path / "q.gguf")
    types, file_type = after.pop("general.file_type")
    assert (types, file_type) == ([gguf.GGUFValueType.UINT32], gguf.LlamaFileType.MOSTLY_Q8_0)
    del before["general.file_type"]
    assert after == before
    assert read_gguf(tmp_path / "q.gguf").tensor_count == read_gguf(source).tensor_count


@pytest.mark.parametrize(("kind", "name"), [(Kind.Q4_1, "Q4_1"), (Kind.Q5_1, "Q5_1")])
def test_the_loss_is_that_of_the_weights(tmp_path: Path, kind: Kind, name: str) -> None:
    source = write_quantized(tmp_path / "m.gguf", kind)
    made = rewrite(source, tmp_path / "q.gguf")
    changes = []
    for old, new in zip(read(source).tensors[:2], read(tmp_path / "q.gguf").tensors, strict=False):
        weights = gguf.quants.dequantize(old.data, kind)
        change = gguf.quants.dequantize(new.data, Kind.Q8_0) - weights
        changes.append((float((change**2).sum()), float((weights**2).sum())))
    change, weights = map(sum, zip(*changes, strict=True))
    assert (made.source, made.tensors) == (name, 2)
    assert made.relative_rms == pytest.approx((change / weights) ** 0.5, rel=1e-4)
    worst = max(changes, key=lambda sums: sums[0] / sums[1])
    assert made.worst_relative_rms == pytest.approx((worst[0] / worst[1]) ** 0.5, rel=1e-4)
    assert made.worst_tensor == ("a.weight", "b.weight")[changes.index(worst)]
    assert 0.001 < made.relative_rms < 0.01


def test_run_as_a_program_it_tells_how_far_it_is_and_what_it_did(tmp_path: Path) -> None:
    source = write_quantized(tmp_path / "m.gguf")
    command = [sys.executable, "-m", "interlingua.catalog.q8_0", source, tmp_path / "q.gguf"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert all(line.startswith("Progress ") for line in said[:-1])
    assert msgspec.json.decode(said[-1], type=Requantized).tensors == 2


def test_a_file_that_is_no_gguf_ends_it_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.gguf").write_bytes(b"<html>")
    assert main([str(tmp_path / "m.gguf"), str(tmp_path / "q.gguf")]) == 1
    assert "it is a text" in capsys.readouterr().err
