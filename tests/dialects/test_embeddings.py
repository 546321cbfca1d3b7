"""Embeddings: inputs, encodings, replies."""

import base64
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.dialects.encodings import decode_vector, encode_vector
from interlingua.errors import InvalidValue, UpstreamError
from interlingua.types.embeddings import Embeddings, ImageInput
from interlingua.types.models import EncodingFormat
from interlingua.types.usage import Usage

from .wires import AZURE, BOTH, OPENAI, REPLY, call

FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=40)


def packed(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("float", [0.5, -1.0, 0.0, 0.25]),
        ("base64", base64.b64encode(packed(0.5, -1, 0, 0.25)).decode()),
        ("int8", [64, -127, 0, 32]),
        ("uint8", [192, 1, 128, 160]),
        ("ubinary", [0b10010000]),
        ("binary", [0b10010000 - 128]),
        (None, [0.5, -1.0, 0.0, 0.25]),
    ],
)
def test_a_vector_in_each_encoding(encoding: EncodingFormat | None, expected: object) -> None:
    embeddings = Embeddings(vectors=(packed(0.5, -1, 0, 0.25),), usage=Usage(3))
    for dialect in BOTH:
        reply = json.loads(dialect.write_embeddings(embeddings, encoding, REPLY))
        assert reply["data"] == [{"index": 0, "object": "embedding", "embedding": expected}]
        assert reply["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert "id" not in json.loads(OPENAI.write_embeddings(embeddings, encoding, REPLY))


@given(FLOATS)
def test_numbers_and_base64_come_back_as_they_were(values: list[float]) -> None:
    vector = packed(*values)
    embeddings = Embeddings(vectors=(vector, packed(1)), usage=Usage(2))
    for encoding in ("float", "base64"):
        written = AZURE.write_embeddings(embeddings, encoding, REPLY)
        assert AZURE.read_embeddings(written) == embeddings


@given(FLOATS)
def test_the_short_encodings_have_the_documented_ranges_and_lengths(values: list[float]) -> None:
    vector = packed(*values)
    small = encode_vector(vector, "int8")
    assert all(-127 <= number <= 127 for number in small)
    assert encode_vector(vector, "uint8") == [number + 128 for number in small]
    bits = encode_vector(vector, "ubinary")
    assert len(bits) == -(-len(values) // 8)
    assert encode_vector(vector, "binary") == [byte - 128 for byte in bits]
    for place, value in enumerate(values):
        assert bool(bits[place // 8] >> (7 - place % 8) & 1) == (value > 0)


@pytest.mark.parametrize(
    "change",
    [
        {"input": []},
        {"input": [[]]},
        {"input": ["a"] * 2049},
        {"input": ["a", 1]},
        {"input": {}},
        {"dimensions": 0},
        {"encoding_format": "hex"},
        {"input_type": "image"},
    ],
)
def test_a_wrong_value_is_refused_by_name(change: dict[str, object]) -> None:
    for dialect in BOTH:
        with pytest.raises(InvalidValue) as caught:
            dialect.read_embeddings(call({"input": "a", **change}))
        assert caught.value.location[1] in change


def test_inputs_have_four_forms() -> None:
    for given_input, inputs in (
        ("a", ("a",)),
        (["a", ""], ("a", "")),
        ([1, 2], ((1, 2),)),
        ([[1], [2]], ((1,), (2,))),
    ):
        assert AZURE.read_embeddings(call({"input": given_input})).inputs == inputs
    assert len(AZURE.read_embeddings(call({"input": ["a"] * 2048})).inputs) == 2048


def test_an_image_input_needs_an_image_or_a_text() -> None:
    request = AZURE.read_image_embeddings(call({"input": [{"image": "data:,"}, {"text": "t"}]}))
    assert request.inputs == (ImageInput(image="data:,"), ImageInput(text="t"))
    for wrong, place in (
        ([{}], (0, "image")),
        ([{"image": ""}], (0, "image")),
        ([{"image": 1}], (0, "image")),
        (["x"], (0,)),
        ([], ()),
    ):
        with pytest.raises(InvalidValue) as caught:
            AZURE.read_image_embeddings(call({"input": wrong}))
        assert caught.value.location == ("body", "input", *place)


def test_vectors_are_read_in_the_order_of_their_index() -> None:
    body = {"data": [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1.0]}]}
    read = AZURE.read_embeddings(json.dumps(body).encode())
    assert read == Embeddings(vectors=(packed(1), packed(2)))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": [{"index": 1, "embedding": [1]}]},
        {"data": [{"embedding": "***"}]},
        {"data": [{"embedding": "AAA="}]},
        {"data": [{"embedding": {"x": 1}}]},
        {"data": [{"embedding": [1e300]}]},
        {"error": {"message": "m"}},
    ],
)
def test_a_reply_without_the_vectors_is_an_error(body: object) -> None:
    with pytest.raises(UpstreamError):
        AZURE.read_embeddings(json.dumps(body).encode())


def test_a_vector_of_whole_numbers_is_packed_too() -> None:
    assert decode_vector([1, -2]) == packed(1, -2)
