"""What llama.cpp's server is asked for, by the size of the file."""

from pathlib import Path

import pytest
import xllamacpp

from interlingua.backends.engines.llamacpp_process import Settings, _params


def settings(path: Path, **fields: object) -> Settings:
    given = {"socket": "s", "key": "k", "path": str(path), "name": "m", "context": 512}
    return Settings(**given, slots=2, threads=1, **fields)  # type: ignore[arg-type]  # a test's choice


@pytest.mark.parametrize(
    ("size_bytes", "batch", "mode"), [(1 << 20, 256, "NONE"), (2 << 30, 128, "AUTO")]
)
def test_small_models_take_larger_batches_and_are_read_into_memory(
    tmp_path: Path, size_bytes: int, batch: int, mode: str
) -> None:
    path = tmp_path / "m.gguf"
    with path.open("wb") as file:
        file.truncate(size_bytes)
    params = _params(settings(path))
    assert (params.n_batch, params.n_ubatch, params.n_ctx) == (batch, batch, 1024)
    wanted = getattr(xllamacpp.llama_load_mode, f"LLAMA_LOAD_MODE_{mode}")
    assert int(params.load_mode) == int(wanted)


def test_an_embedding_model_reads_a_text_in_one_batch(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.touch()
    params = _params(settings(path, embedding=True, pooling="cls"))
    assert (params.n_batch, params.n_ubatch) == (512, 512)
    assert int(params.pooling_type) == int(xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_CLS)
