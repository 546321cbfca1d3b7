"""Bytes that no client should send: each is an error of the caller, soon, and nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.errors import CallerError, InvalidValue, MalformedBody
from interlingua.http import HttpCall

from .wires import BOTH

READERS = ("read_chat", "read_completion", "read_embeddings", "read_image_embeddings")
KEYS = {
    "read_chat": "messages",
    "read_completion": "prompt",
    "read_embeddings": "input",
    "read_image_embeddings": "input",
}
HI = b'"messages":[{"role":"user","content":"x"}]'


def refused(reader: str, body: bytes, policy: str = "pass-through") -> None:
    call = HttpCall(path="/", headers={"extra-parameters": policy}, body=body)
    for dialect in BOTH:
        with pytest.raises(CallerError) as caught:
            getattr(dialect, reader)(call)
        assert caught.value.status in {400, 422}
        json.loads(dialect.write_error(caught.value).body)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "value",
    [
        b"NaN",
        b"Infinity",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"[" * 5_000 + b"]" * 5_000,
        b"1" * 5_000,
        b"1e999",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        rb'"\ud800"',
        rb'"\udc00"',
        b'"',
        b"tru",
        b"{}",
        b"null",
        b"5",
        b"[null]",
        b"[[]]",
        b"[]",
        b"[1,[2]]",
        b'[{"a":1}]',
    ],
)
def test_the_main_field_can_be_anything(reader: str, value: bytes) -> None:
    refused(reader, b'{"%b":%b}' % (KEYS[reader].encode(), value))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"5",
        b"null",
        b"{}",
        b"{} {}",
        b"\xff\xfe{",
        b"[" * 200_000,
        b"{1:2}",
    ],
)
def test_the_body_can_be_anything(reader: str, body: bytes) -> None:
    refused(reader, body)


@pytest.mark.parametrize(
    "value",
    [
        b"NaN",
        b"[" * 65 + b"]" * 65,
        b"[" * 200_000,
        b"1" * 5_000,
        b"1e999",
        b'"\xff"',
        rb'"\ud800"',
        rb'{"\udc00":1}',
    ],
)
def test_an_extra_parameter_can_be_anything(value: bytes) -> None:
    refused("read_chat", b'{%b,"foo":%b}' % (HI, value))


def test_what_is_not_json_is_400_and_what_is_no_object_422() -> None:
    call = HttpCall(path="/", body=b"{")
    with pytest.raises(MalformedBody) as malformed:
        BOTH[0].read_chat(call)
    assert malformed.value.status == 400
    with pytest.raises(InvalidValue, match="must be a JSON object"):
        BOTH[0].read_chat(HttpCall(path="/", body=b"[]"))


def test_a_legal_depth_passes() -> None:
    body = b'{%b,"foo":%b}' % (HI, b"[" * 64 + b"]" * 64)
    call = HttpCall(path="/", headers={"extra-parameters": "drop"}, body=body)
    assert "foo" in BOTH[0].read_chat(call).extra


def test_control_characters_in_names_and_policies_stay_out_of_headers() -> None:
    call = HttpCall(path="/", headers={"extra-parameters": "x\r\ny: \u00e9"}, body=b"{}")
    named = HttpCall(path="/", body=json.dumps({"a\r\nb: \u00e9": 1}).encode())
    for dialect in BOTH:
        for hostile in (call, named):
            with pytest.raises(CallerError) as caught:
                dialect.read_chat(hostile)
            reply = dialect.write_error(caught.value)
            for name, value in reply.headers.items():
                assert (name + value).isascii()
                assert (name + value).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        *("messages", "prompt", "input", "tools", "tool_choice", "stop", "response_format"),
        *("logit_bias", "seed", "n", "max_tokens", "stream_options", "audio", "encoding_format"),
        *("role", "content", "type", "function", "name", "parameters", "json_schema", "image_url"),
    ]
)
SHAPED = st.recursive(
    JSON,
    lambda inner: (
        st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=5)
        | st.lists(inner, max_size=3)
    ),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, SHAPED), st.sampled_from(READERS), st.sampled_from(BOTH))
def test_any_json_is_read_or_refused_with_a_reply_that_can_be_sent(
    body: dict[str, object], reader: str, dialect: object
) -> None:
    call = HttpCall(path="/", body=json.dumps(body).encode())
    try:
        getattr(dialect, reader)(call)
    except CallerError as error:
        reply = dialect.write_error(error)  # type: ignore[attr-defined]
        assert json.loads(reply.body)["error"]["message"]
        assert reply.status in {400, 422}


@given(st.binary())
def test_any_bytes_are_refused(body: bytes) -> None:
    for dialect in BOTH:
        with pytest.raises(CallerError):
            dialect.read_embeddings(HttpCall(path="/", body=body))
