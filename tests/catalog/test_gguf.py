import struct
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlingua.catalog.gguf import MAX_STRINGS, GgufHeader, read_gguf, read_layout
from interlingua.catalog.gguf_layout import BLOCKS
from interlingua.errors import ModelFileError

TOKENS = ["<unk>", "<s>", "▁a", "<0x0A>", "<|end|>", "<tool>", "b", "<|user|>"]
TYPES = [2, 3, 1, 6, 1, 4, 4, 3]


def write(path: Path, *, arch: str = "phi3", tokens: list[str] = TOKENS, pooling: int = -1) -> Path:
    """A tiny GGUF with two tensors."""
    types = TYPES if tokens is TOKENS else [1] * len(tokens)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name("tiny")
    writer.add_context_length(4096)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_head_count_kv([2, 1])
    writer.add_key_length(16)
    if pooling >= 0:
        writer.add_pooling_type(gguf.PoolingType(pooling))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(4)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("a.weight", np.zeros((4, 32), np.float32))
    writer.add_tensor(
        "b.weight", np.zeros((2, 34), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_the_header_says_what_the_writer_wrote(tiny: Path) -> None:
    assert read_gguf(tiny) == GgufHeader(
        architecture="phi3",
        name="tiny",
        license=None,
        context_length=4096,
        block_count=2,
        embedding_length=64,
        head_count=4,
        head_count_kv=2,
        key_length=16,
        value_length=None,
        chat_template="{{ messages }}",
        control_tokens=("<s>", "<|end|>", "<tool>", "<|user|>"),
        vocabulary_size=8,
        bos_token_id=1,
        eos_token_id=4,
        add_bos=False,
        pooling=None,
        version=3,
        tensor_count=2,
        size_bytes=tiny.stat().st_size,
    )


def test_the_layout_says_where_the_parts_are(tiny: Path) -> None:
    layout, reader = read_layout(tiny), gguf.GGUFReader(tiny)
    assert [
        (tensor.name, tensor.dimensions, tensor.kind, layout.tensors_at + tensor.offset)
        for tensor in layout.tensors
    ] == [
        (each.name, tuple(each.shape), each.tensor_type.value, each.data_offset)
        for each in reader.tensors
    ]
    assert [tensor.size_bytes for tensor in layout.tensors] == [
        each.n_bytes for each in reader.tensors
    ]
    assert layout.descriptions_at == reader.tensors[0].field.offset
    assert (layout.alignment, layout.file_type_at) == (32, None)


def test_the_pooling_of_an_embedding_model_is_told(tmp_path: Path) -> None:
    assert read_gguf(write(tmp_path / "m.gguf", arch="bert", pooling=0)).pooling == "none"
    assert read_gguf(write(tmp_path / "c.gguf", arch="bert", pooling=2)).pooling == "cls"


def test_the_sizes_of_tensor_types_are_those_of_ggml() -> None:
    assert {kind.value: sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()} == BLOCKS


def test_a_large_vocabulary_takes_little_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", tokens=[f"token{i}" for i in range(150_000)])
    tracemalloc.start()
    try:
        header = read_gguf(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (header.vocabulary_size, header.control_tokens) == (150_000, ())
    assert peak < 16e6


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "it is empty"),
        (b"\0" * 4096, "zeros"),
        (b"GGUF", "cut short"),
        (b"GGUF" + struct.pack("<I", 1) + b"\0" * 64, "version 1"),
        (b"GGUF" + struct.pack(">I", 3) + b"\0" * 64, "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 1 << 60), "claims"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>Not found</html>", "error page"),
        (b'{"error": "not found"}', "error message"),
        (b"PK\x03\x04" + b"\0" * 64, "zip archive"),
        (b"ggjt" + b"\0" * 64, "begins with b'ggjt'"),
    ],
)
def test_a_file_of_another_kind_is_named_with_what_it_is(
    tmp_path: Path, raw: bytes, reason: str
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(raw)
    with pytest.raises(ModelFileError) as caught:
        read_gguf(path)
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)
    assert "Download it again" in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ModelFileError, match=r"/nowhere\.gguf can't be read: No such file"):
        read_gguf(Path("/nowhere.gguf"))


def test_a_file_cut_anywhere_is_refused(tiny: Path, tmp_path: Path) -> None:
    raw = tiny.read_bytes()
    path = tmp_path / "cut.gguf"
    for length in range(1, len(raw) - gguf.GGUF_DEFAULT_ALIGNMENT, 7):
        path.write_bytes(raw[:length])
        with pytest.raises(ModelFileError, match="isn't a usable GGUF"):
            read_gguf(path)


def field(key: str, kind: int, value: bytes) -> bytes:
    raw = key.encode()
    return struct.pack("<Q", len(raw)) + raw + struct.pack("<I", kind) + value


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


ARCH = field("general.architecture", 8, text("llama"))


@pytest.mark.parametrize(
    ("fields", "tensors", "reason"),
    [
        ([], [], "doesn't name its architecture"),
        ([ARCH, ARCH], [], "twice"),
        ([field("x", 99, b"")], [], "unknown type, 99"),
        ([field("x", 9, struct.pack("<IQ", 9, 1))], [], "array of an unknown type, 9"),
        ([field("x", 9, struct.pack("<IQ", 4, 1 << 61))], [], "cut short"),
        ([field("x", 9, struct.pack("<IQ", 8, 1 << 61))], [], "cut short"),
        ([field("x", 8, struct.pack("<Q", (1 << 64) - 1))], [], "cut short"),
        ([ARCH, field("general.alignment", 4, struct.pack("<I", 0))], [b""], "alignment is 0"),
        ([ARCH, field("general.alignment", 4, struct.pack("<I", 1 << 20))], [b""], "alignment"),
        ([ARCH, field("general.alignment", 4, struct.pack("<I", 24))], [b""], "power of two"),
        ([ARCH], [text("t") + struct.pack("<I", 5)], "5 dimensions"),
        ([ARCH], [text("t") + struct.pack("<IQIQ", 1, 1, 0, 8)], "not a multiple of 32"),
        ([ARCH], [text("t") + struct.pack("<IQIQ", 1, 33, 8, 0)], "33 values"),
        (
            [ARCH],
            [text("t") + struct.pack("<IQQQQIQ", 4, *[1 << 63] * 4, 0, 0)],
            "its tensors end at byte",
        ),
        ([ARCH], [text("t") + struct.pack("<IQIQ", 1, 8, 0, 1 << 62)], "tensors end at byte"),
    ],
)
def test_a_header_that_lies_is_refused(
    tmp_path: Path, fields: list[bytes], tensors: list[bytes], reason: str
) -> None:
    path = tmp_path / "model.gguf"
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    path.write_bytes(head + b"".join(fields) + b"".join(tensors))
    with pytest.raises(ModelFileError, match=reason):
        read_gguf(path)


def test_token_types_that_do_not_fit_the_tokens_are_refused(tmp_path: Path) -> None:
    tokens = field("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + text("a") + text("b"))
    types = field("tokenizer.ggml.token_type", 9, struct.pack("<IQi", 5, 1, 3))
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 3) + ARCH + tokens + types)
    with pytest.raises(ModelFileError, match="2 tokens and 1 token types"):
        read_gguf(path)


def test_more_strings_than_any_vocabulary_has_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    array = field("x", 9, struct.pack("<IQ", 8, MAX_STRINGS + 1))
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + array)
    with path.open("ab") as file:
        file.truncate(MAX_STRINGS * 8 + 4096)
    with pytest.raises(ModelFileError, match="claims 4194305 strings"):
        read_gguf(path)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=9)),
        min_size=1,
        max_size=4,
    )
)
def test_a_damaged_header_is_read_or_refused_and_costs_little(
    tiny: Path, tmp_path: Path, changes: list[tuple[float, bytes]]
) -> None:
    raw = bytearray(tiny.read_bytes())
    for where, patch in changes:
        at = int(where * len(raw))
        raw[at : at + len(patch)] = patch
    path = tmp_path / "damaged.gguf"
    path.write_bytes(raw)
    tracemalloc.start()
    try:
        read_gguf(path)
    except ModelFileError as error:
        assert str(path) in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1e6
