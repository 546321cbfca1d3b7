import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from onnx import TensorProto, helper

from interlingua.catalog.card import ImageEmbedding, TextEmbedding
from interlingua.catalog.local import card_for_path
from interlingua.errors import ModelFileError


def graph(path: Path, inputs: dict[str, list[object]], outputs: dict[str, list[object]]) -> None:
    """A graph with these inputs and outputs; what it computes is of no account."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def values(shapes: dict[str, list[object]]) -> list[object]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]

    nodes = [helper.make_node("Identity", [next(iter(inputs))], [name]) for name in outputs]
    made = helper.make_graph(nodes, "g", values(inputs), values(outputs))
    path.write_bytes(helper.make_model(made).SerializeToString())


def settings(folder: Path, **files: object) -> None:
    for name, value in files.items():
        path = folder / name.replace("__", "/")
        path = path.with_name(f"{path.name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))


TOKENS: dict[str, list[object]] = {
    "input_ids": ["n", "t"],
    "attention_mask": ["n", "t"],
}


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    folder = tmp_path / "My Model.v1"
    graph(folder / "onnx" / "model.onnx", TOKENS, {"last_hidden_state": ["n", "t", 32]})
    settings(
        folder,
        tokenizer={},
        modules=[
            {"type": f"sentence_transformers.models.{kind}"}
            for kind in ("Transformer", "Pooling", "Normalize")
        ],
        **{"1_Pooling__config": {"pooling_mode_mean_tokens": True, "word_embedding_dimension": 32}},
        sentence_bert_config={"max_seq_length": 128},
        config={"hidden_size": 32, "max_position_embeddings": 512, "model_type": "bert"},
        tokenizer_config={"pad_token": "[PAD]", "model_max_length": 512},
    )
    return folder


def test_a_sentence_embedding_export_is_read_as_its_files_say(sentences: Path) -> None:
    stored = card_for_path(sentences)
    card = stored.card
    assert (card.name, card.engine, card.type) == ("my-model.v1", "onnx-text", "embedding")
    assert card.text_embedding == TextEmbedding(
        pooling="mean", max_tokens=128, output="last_hidden_state", pad_token="[PAD]"
    )
    assert card.capabilities.embedding_length == 32
    assert card.capabilities.input_types == {"text"}
    assert card.capabilities.dimensions is None
    assert stored.files == {
        "model": sentences / "onnx" / "model.onnx",
        "tokenizer": sentences / "tokenizer.json",
    }


def test_prompts_become_prefixes(sentences: Path) -> None:
    prompts = {"query": "query: ", "passage": "passage: ", "clustering": "cluster: "}
    settings(
        sentences,
        config_sentence_transformers={"prompts": prompts, "default_prompt_name": "clustering"},
    )
    card = card_for_path(sentences).card
    assert card.text_embedding
    assert card.text_embedding.prefixes == {
        "query": "query: ",
        "document": "passage: ",
        "text": "cluster: ",
    }
    assert card.capabilities.input_types == {"text", "query", "document"}


@pytest.mark.parametrize(
    ("pooling", "mode"),
    [
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
    ],
)
def test_pooling_follows_its_config(sentences: Path, pooling: object, mode: str) -> None:
    settings(sentences, **{"1_Pooling__config": pooling})
    text = card_for_path(sentences).card.text_embedding
    assert text
    assert text.pooling == mode


@pytest.mark.parametrize(
    ("pooling", "reason"),
    [
        ({"pooling_mode_max_tokens": True}, "pooling by max"),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": True}, "mean and max"),
        ({}, "pooling by none"),
        ({"pooling_mode_mean_tokens": "yes"}, "isn't as expected"),
    ],
)
def test_pooling_that_no_engine_does_is_refused(
    sentences: Path, pooling: object, reason: str
) -> None:
    settings(sentences, **{"1_Pooling__config": pooling})
    with pytest.raises(ModelFileError, match=reason):
        card_for_path(sentences)


def test_pooling_is_asked_for_and_never_guessed(sentences: Path) -> None:
    (sentences / "1_Pooling" / "config.json").unlink()
    with pytest.raises(ModelFileError, match=r"1_Pooling/config\.json is missing"):
        card_for_path(sentences)


def test_a_graph_that_pools_by_itself_needs_no_pooling_config(sentences: Path) -> None:
    (sentences / "1_Pooling" / "config.json").unlink()
    graph(
        sentences / "onnx" / "model.onnx",
        TOKENS,
        {"last_hidden_state": ["n", "t", 32], "sentence_embedding": ["n", 24]},
    )
    settings(sentences, modules=[{"type": "a.Transformer"}, {"type": "a.Dense"}])
    card = card_for_path(sentences).card
    assert card.text_embedding
    assert (card.text_embedding.pooling, card.text_embedding.output) == (
        "none",
        "sentence_embedding",
    )
    assert card.text_embedding.normalize is False
    assert card.capabilities.embedding_length == 24


def test_a_layer_that_the_graph_lacks_is_refused(sentences: Path) -> None:
    settings(
        sentences, modules=[{"type": "a.Transformer"}, {"type": "a.Pooling"}, {"type": "Dense"}]
    )
    with pytest.raises(ModelFileError, match="ends in Dense"):
        card_for_path(sentences)


def test_roberta_counts_positions_from_behind_its_padding(sentences: Path) -> None:
    (sentences / "sentence_bert_config.json").unlink()
    config = {"max_position_embeddings": 514, "model_type": "xlm-roberta"}
    settings(
        sentences,
        config=config | {"matryoshka_dimensions": [16, 8]},
        tokenizer_config={"pad_token": {"content": "<pad>"}, "model_max_length": 1e30},
    )
    card = card_for_path(sentences).card
    assert card.text_embedding
    assert (card.text_embedding.max_tokens, card.text_embedding.pad_token) == (512, "<pad>")
    assert card.capabilities.dimensions == {8, 16}


def test_a_quantised_graph_is_taken_where_there_is_no_other(sentences: Path) -> None:
    full = sentences / "onnx" / "model.onnx"
    full.rename(full.with_name("model_quantized.onnx"))
    assert card_for_path(sentences).files["model"].name == "model_quantized.onnx"


CLIP = {
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.2],
    "image_std": [0.25, 0.5, 1.0],
}


@pytest.fixture
def joint(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    graph(
        folder / "onnx" / "vision_model.onnx",
        {"pixel_values": ["n", 3, 224, 224]},
        {"last_hidden_state": ["n", 50, 16], "image_embeds": ["n", 8]},
    )
    graph(
        folder / "onnx" / "text_model.onnx",
        TOKENS,
        {"text_embeds": ["n", 8], "last_hidden_state": ["n", "t", 16]},
    )
    settings(
        folder,
        tokenizer={},
        preprocessor_config=CLIP,
        config={"text_config": {"max_position_embeddings": 77}},
        tokenizer_config={"pad_token": "<|endoftext|>"},
    )
    return folder


def test_a_clip_export_is_read_as_its_files_say(joint: Path) -> None:
    stored = card_for_path(joint)
    card = stored.card
    assert (card.engine, card.type) == ("onnx-joint", "image-embedding")
    assert (card.capabilities.embedding_length, card.capabilities.image_text) == (8, True)
    assert card.text_embedding == TextEmbedding(
        pooling="none", max_tokens=77, output="text_embeds", pad_token="<|endoftext|>"
    )
    image = card.image_embedding
    assert image
    assert (image.size, image.resize, image.fit, image.output) == (224, 224, "crop", "image_embeds")
    np.testing.assert_allclose(image.mean, [127.5, 102, 51])
    np.testing.assert_allclose(image.std, [63.75, 127.5, 255])
    assert set(stored.files) == {"vision", "text", "tokenizer"}


def test_a_siglip_export_squashes_and_pads(joint: Path) -> None:
    graph(
        joint / "onnx" / "text_model.onnx",
        {"input_ids": ["n", "t"]},
        {"last_hidden_state": ["n", "t", 8], "pooler_output": ["n", 8]},
    )
    settings(
        joint,
        preprocessor_config={
            "size": {"height": 224, "width": 224},
            "resample": 2,
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
        },
        config={"text_config": {"max_position_embeddings": 64}},
    )
    card = card_for_path(joint).card
    assert card.text_embedding
    assert (card.text_embedding.pad_to, card.text_embedding.output) == (64, "pooler_output")
    assert card.image_embedding == ImageEmbedding(
        size=224,
        fit="squash",
        interpolation="bilinear",
        mean=(127.5,) * 3,
        std=(127.5,) * 3,
        output="image_embeds",
    )


def test_pixels_that_are_not_normalised_stay_between_0_and_1(joint: Path) -> None:
    settings(joint, preprocessor_config=CLIP | {"do_normalize": False})
    image = card_for_path(joint).card.image_embedding
    assert image
    assert (image.mean, image.std) == ((0.0,) * 3, (255.0,) * 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"resample": 1}, "resample 1"),
        ({"crop_size": {"height": 224, "width": 112}}, "doesn't end in a square"),
        ({"do_center_crop": False}, "doesn't end in a square"),
        ({"crop_size": 112}, "images of 112 pixels, the graph takes 224"),
    ],
)
def test_preparation_that_no_engine_does_is_refused(
    joint: Path, change: dict[str, object], reason: str
) -> None:
    settings(joint, preprocessor_config=CLIP | change)
    with pytest.raises(ModelFileError, match=reason):
        card_for_path(joint)


@pytest.mark.parametrize("name", ["preprocessor_config.json", "tokenizer.json"])
def test_a_joint_export_without_its_settings_is_refused(joint: Path, name: str) -> None:
    (joint / name).unlink()
    with pytest.raises(ModelFileError, match=f"{name} is missing"):
        card_for_path(joint)


def test_towers_of_two_spaces_are_refused(joint: Path) -> None:
    graph(joint / "onnx" / "text_model.onnx", TOKENS, {"text_embeds": ["n", 9]})
    with pytest.raises(ModelFileError, match="aren't of one space"):
        card_for_path(joint)


def test_a_gguf_file_is_read_from_its_header(tmp_path: Path) -> None:
    def write(name: str, arch: str, template: str | None) -> Path:
        writer = gguf.GGUFWriter(tmp_path / name, arch)
        writer.add_context_length(128)
        writer.add_embedding_length(32)
        if template:
            writer.add_chat_template(template)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        return tmp_path / name

    chat = card_for_path(write("Chat Model.gguf", "llama", "{{ x }}"))
    assert (chat.card.name, chat.card.type) == ("chat-model", "chat-completion")
    assert (chat.card.engine, chat.card.context_length) == ("llamacpp", 128)
    assert chat.files == {"model": tmp_path / "Chat Model.gguf"}
    assert card_for_path(write("base.gguf", "llama", None)).card.type == "text-generation"
    embedding = card_for_path(write("bert.gguf", "nomic-bert", None)).card
    assert (embedding.type, embedding.capabilities.embedding_length) == ("embedding", 32)
    with pytest.raises(ModelFileError, match="projector"):
        card_for_path(write("mmproj.gguf", "clip", None))
    with pytest.raises(ModelFileError, match=r"did you mean .*Chat Model\.gguf"):
        card_for_path(tmp_path)


def test_what_is_no_model_is_told_what_would_be(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    for path in (tmp_path, tmp_path / "model.safetensors", tmp_path / "nothing"):
        with pytest.raises(ModelFileError, match=r"A model's path names a \.gguf file") as caught:
            card_for_path(path)
        assert str(path) in str(caught.value)
