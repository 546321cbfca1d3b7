"""Texts to token ids to vectors, with graphs and tokenizers built here."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from interlingua.backends.engines.onnx_text import TextTokenizer, TextTower, shortened
from interlingua.catalog.card import StoredModel, TextEmbedding
from interlingua.catalog.local import card_for_path
from interlingua.errors import ApiError, ContextLengthExceeded, InvalidValue, ModelFileError

from ...support import tiny_clip, tiny_sentence
from ...support.tiny_sentence import TOKENS, words

PLACES = [("body", "input", number) for number in range(8)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    return card_for_path(tiny_sentence.build_tiny_sentence(tmp_path_factory.mktemp("sentences")))


def tokenizer(stored: StoredModel, **settings: object) -> TextTokenizer:
    assert stored.card.text_embedding
    card = msgspec.structs.replace(stored.card.text_embedding, **settings)
    return TextTokenizer(stored.files["tokenizer"], card)


def tower(stored: StoredModel, **settings: object) -> TextTower:
    assert stored.card.text_embedding
    card = msgspec.structs.replace(stored.card.text_embedding, **settings)
    return TextTower(stored.files["model"], pad=0, card=card, threads=1)


def named(ids: tuple[int, ...]) -> str:
    return " ".join(words()[number] for number in ids)


def test_a_text_gets_the_tokens_of_the_template(stored: StoredModel) -> None:
    (ids,) = tokenizer(stored).read_texts(["The cat sat"], None, PLACES[:1])
    assert named(ids) == "[CLS] the cat sat [SEP]"


def test_an_empty_text_is_its_template(stored: StoredModel) -> None:
    (ids,) = tokenizer(stored).read_texts([""], None, PLACES[:1])
    assert named(ids) == "[CLS] [SEP]"


def test_control_tokens_in_a_text_are_plain_text(stored: StoredModel) -> None:
    (ids,) = tokenizer(stored).read_texts(["cat [SEP] [PAD] dog"], None, PLACES[:1])
    assert set(ids[1:-1]).isdisjoint({0, 1, 2})


def test_a_long_text_is_cut_and_keeps_its_template(stored: StoredModel) -> None:
    for text in ("cat " * 30, "cat " * 100_000, " " * 10_000 + "cat " * 30):
        (ids,) = tokenizer(stored).read_texts([text], None, PLACES[:1])
        assert len(ids) == TOKENS
        assert (words()[ids[0]], words()[ids[-1]]) == ("[CLS]", "[SEP]")


def test_a_text_behind_much_white_space_is_not_lost(stored: StoredModel) -> None:
    (ids,) = tokenizer(stored).read_texts([" " * 100_000 + "cat"], None, PLACES[:1])
    assert named(ids) == "[CLS] cat [SEP]"


def test_a_long_text_is_refused_with_both_counts_where_the_card_says_so(
    stored: StoredModel,
) -> None:
    refusing = tokenizer(stored, too_long="refuse")
    assert len(refusing.read_texts(["cat " * (TOKENS - 2)], None, PLACES[:1])[0]) == TOKENS
    with pytest.raises(ContextLengthExceeded, match=r"24 tokens.* has 32") as refused:
        refusing.read_texts(["cat", "cat " * 30], None, PLACES[:2])
    assert refused.value.location == ("body", "input", 1)
    with pytest.raises(ContextLengthExceeded, match=r"24 tokens.* has at least"):
        refusing.read_texts(["cat " * 100_000], None, PLACES[:1])
    with pytest.raises(ContextLengthExceeded, match=r"24 tokens.* has 32"):
        refusing.read_ids([(20,) * 30], None, PLACES[:1])


def test_input_types_put_their_prefix_before_texts_and_ids(stored: StoredModel) -> None:
    prefixed = tokenizer(stored, prefixes={"query": "query: ", "document": "passage: "})
    (query,) = prefixed.read_texts(["cat"], "query", PLACES[:1])
    (document,) = prefixed.read_ids([(words().index("cat"),)], "document", PLACES[:1])
    (plain,) = prefixed.read_texts(["cat"], "text", PLACES[:1])
    assert named(query) == "[CLS] query : cat [SEP]"
    assert named(document) == "[CLS] passage : cat [SEP]"
    assert named(plain) == "[CLS] cat [SEP]"


def test_token_ids_are_content_and_are_cut_like_texts(stored: StoredModel) -> None:
    cat = words().index("cat")
    short, long, empty = tokenizer(stored).read_ids([(cat,), (cat,) * 99, ()], None, PLACES[:3])
    assert named(short) == "[CLS] cat [SEP]"
    assert len(long) == TOKENS
    assert named(empty) == "[CLS] [SEP]"


@pytest.mark.parametrize("wrong", [-1, 10**6, 2**62])
def test_an_id_that_is_no_token_is_refused_by_name(stored: StoredModel, wrong: int) -> None:
    with pytest.raises(InvalidValue, match=f"{wrong} is no token") as refused:
        tokenizer(stored).read_ids([(1,), (1, wrong)], None, PLACES[:2])
    assert refused.value.location == ("body", "input", 1)


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    for content in ("", "{}", "[1, 2]", "\0\0"):
        path.write_text(content, "utf-8")
        with pytest.raises(ModelFileError, match=r"tokenizer.json can't be loaded"):
            TextTokenizer(path, TextEmbedding())


def test_a_padding_token_that_the_tokenizer_lacks_is_named(stored: StoredModel) -> None:
    with pytest.raises(ModelFileError, match="padding token '<none>'"):
        tokenizer(stored, pad_token="<none>")


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_padding_changes_no_vector(stored: StoredModel, pooling: str) -> None:
    model, reader = tower(stored, pooling=pooling), tokenizer(stored)
    ids = reader.read_texts(["cat", "the dog sat on the market", ""], None, PLACES[:3])
    together = model.run(ids)
    for vector, alone in zip(together, (model.run([one])[0] for one in ids), strict=True):
        assert not isinstance(vector, ApiError)
        assert vector == pytest.approx(alone, abs=1e-6)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_poolings_read_different_places(stored: StoredModel) -> None:
    ids = tokenizer(stored).read_texts(["cat in the storm"], None, PLACES[:1])
    found = [tower(stored, pooling=kind).run(ids)[0] for kind in ("mean", "cls", "last")]
    assert not np.allclose(found[0], found[1])
    assert not np.allclose(found[1], found[2])


def test_a_vector_keeps_its_length_where_the_card_says_so(stored: StoredModel) -> None:
    ids = tokenizer(stored).read_texts(["cat dog"], None, PLACES[:1])
    (vector,) = tower(stored, normalize=False).run(ids)
    assert np.linalg.norm(vector) != pytest.approx(1, abs=0.01)


def test_a_shortened_vector_has_length_one_again() -> None:
    vector = np.array([0.6, 0.0, 0.8], np.float32)
    assert shortened(vector, 2, normalize=True) == pytest.approx([1.0, 0.0])
    assert shortened(vector, 2, normalize=False) == pytest.approx([0.6, 0.0])
    assert shortened(vector, 3, normalize=True) is vector
    assert shortened(vector, None, normalize=True) is vector


def test_a_graph_of_fixed_width_is_fed_its_width(tmp_path: Path) -> None:
    joint = card_for_path(tiny_clip.build_tiny_clip(tmp_path / "clip"))
    card = joint.card.text_embedding
    assert card
    reader = TextTokenizer(joint.files["tokenizer"], card)
    text = TextTower(joint.files["text"], pad=reader.pad, card=card, threads=1)
    ids = reader.read_texts(["a red thing", "blue " * 200], None, PLACES[:2])
    assert [text.size(one) for one in ids] == [tiny_clip.TOKENS, tiny_clip.TOKENS]
    red, blue = text.run(ids)
    assert float(np.dot(red, blue)) < 0.5
    narrow = msgspec.structs.replace(card, max_tokens=99)
    with pytest.raises(ModelFileError, match="set max_tokens"):
        TextTower(joint.files["text"], pad=0, card=narrow, threads=1)


def graph(path: Path, node: onnx.NodeProto, *, rows: int | str = "n", taken: str = "ids") -> Path:
    """A graph of one table and one node that makes ``out`` of ``found``."""
    kind = TensorProto.INT32
    nodes = [helper.make_node("Gather", ["table", taken], ["found"]), node]
    table = numpy_helper.from_array(np.array([[0, 1], [3, 4], [9, 9]], np.float32), "table")
    made = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info(taken, kind, [rows, "width"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [table, numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )
    onnx.save(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def open_tower(path: Path, **settings: object) -> TextTower:
    return TextTower(path, pad=0, card=TextEmbedding(**settings), threads=1)


def test_a_graph_of_fixed_rows_and_small_integers_is_fed_in_full(tmp_path: Path) -> None:
    node = helper.make_node("ReduceSum", ["found", "axis"], ["out"], keepdims=0)
    path = graph(tmp_path / "model.onnx", node, rows=3, taken="input_ids")
    model = open_tower(path)
    assert (model.rows, model.length) == (3, 2)
    (vector,) = model.run([(1, 1)])
    assert vector == pytest.approx([0.6, 0.8])


def test_numbers_that_are_none_are_an_error_of_their_input_alone(tmp_path: Path) -> None:
    node = helper.make_node("ReduceLogSum", ["found"], ["out"], axes=[1], keepdims=0)
    path = graph(tmp_path / "model.onnx", node, taken="input_ids")
    model = TextTower(path, pad=1, card=TextEmbedding(), threads=1)
    bad, good = model.run([(0, 0), (1, 1)])
    assert isinstance(bad, ApiError)
    assert not isinstance(good, ApiError)


def test_an_input_that_nothing_feeds_is_named(tmp_path: Path) -> None:
    node = helper.make_node("ReduceSum", ["found", "axis"], ["out"], keepdims=0)
    with pytest.raises(ModelFileError, match=r"asks for pixel_ids"):
        open_tower(graph(tmp_path / "model.onnx", node, taken="pixel_ids"))


def test_an_output_that_is_no_vector_is_named(tmp_path: Path) -> None:
    node = helper.make_node("ReduceSum", ["found"], ["out"], keepdims=0)
    with pytest.raises(ModelFileError, match=r"model.onnx"):
        open_tower(graph(tmp_path / "model.onnx", node, taken="input_ids"))


def test_a_file_that_is_no_graph_is_named(tmp_path: Path, stored: StoredModel) -> None:
    path = tmp_path / "model.onnx"
    whole = stored.files["model"].read_bytes()
    for content in (b"", b"\x00" * 64, b"hello", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=r"model\.onnx"):
            open_tower(path)


def test_external_data_through_a_link_is_refused(tmp_path: Path, stored: StoredModel) -> None:
    (tmp_path / "weights").write_bytes(bytes(1 << 16))
    model = onnx.load(stored.files["model"])
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(
        model,
        folder / "model.onnx",
        save_as_external_data=True,
        location="model.data",
        size_threshold=1024,
    )
    assert open_tower(folder / "model.onnx").length == tiny_sentence.LENGTH
    (folder / "model.data").rename(tmp_path / "elsewhere")
    (folder / "model.data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelFileError, match="is a link"):
        open_tower(folder / "model.onnx")
