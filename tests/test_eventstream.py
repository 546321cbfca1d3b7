"""Amazon's event stream, whole and however it is cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.errors import UpstreamError
from interlingua.eventstream import Decoder, Message

from .support.amazon_events import framed, prelude, sealed

#: Source: the vectors that AWS's own libraries test their event streams with
#: (aws-c-event-stream, aws-sdk-go: decoded and encoded "positive" cases).
VECTORS = {
    "000000100000000005c248eb7d98c8ff": Message({}, b""),
    "0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936": Message({}, b"{'foo':'bar'}"),
    "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e7b"
    "27666f6f273a27626172277d8d9c08b1": Message(
        {"content-type": "application/json"}, b"{'foo':'bar'}"
    ),
}
NAMES = st.text("abc:-", min_size=1, max_size=9)
MESSAGES = st.lists(
    st.tuples(st.dictionaries(NAMES, st.text(max_size=20), max_size=3), st.binary(max_size=60)),
    max_size=5,
)


@pytest.mark.parametrize("vector", VECTORS)
def test_the_published_vectors_are_read(vector: str) -> None:
    assert Decoder().feed(bytes.fromhex(vector)) == [VECTORS[vector]]


@given(MESSAGES, st.lists(st.integers(0, 400), max_size=6))
def test_messages_are_the_same_however_they_are_cut(
    messages: list[tuple[dict[str, str], bytes]], cuts: list[int]
) -> None:
    data = b"".join(framed(*message) for message in messages)
    decoder = Decoder()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    read = [
        message
        for start, end in itertools.pairwise(places)
        for message in decoder.feed(data[start:end])
    ]
    decoder.finish()
    assert [(message.headers, message.payload) for message in read] == messages


@given(st.integers(0, 60), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place: int, change: int) -> None:
    data = bytearray(framed({":event-type": "messageStart"}, b'{"role":"assistant"}'))
    data[place % len(data)] ^= change
    with pytest.raises(UpstreamError):
        _read_whole(bytes(data))


def _read_whole(data: bytes) -> None:
    decoder = Decoder()
    # A longer length may also make it wait for what doesn't come.
    assert decoder.feed(data) == []
    decoder.finish()


@given(st.integers(1, 59))
def test_a_stream_that_ends_inside_a_message_is_an_error(length: int) -> None:
    data = framed({":event-type": "messageStart"}, b'{"role":"assistant"}')
    decoder = Decoder()
    assert decoder.feed(data[:length]) == []
    with pytest.raises(UpstreamError):
        decoder.finish()


def test_headers_of_every_type_are_skipped_but_text() -> None:
    lengths = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
    headers = b"".join(
        b"\x01" + bytes([97 + kind, kind]) + b"\x00" * length for kind, length in lengths.items()
    )
    headers += b"\x01b\x06\x00\x03\xff\xff\xff" + b"\x01t\x07\x00\x02hi"
    assert Decoder().feed(sealed(headers)) == [Message({"t": "hi"}, b"")]


@pytest.mark.parametrize(
    "headers",
    [
        b"\x01",
        b"\x01x",
        b"\x01x\x07",
        b"\x01x\x07\x00\x05abc",
        b"\x01x\x0a",
        b"\x01x\x07\x00\x01\xff",
    ],
    ids=["no name", "no type", "no length", "too short", "unknown type", "not UTF-8"],
)
def test_headers_that_make_no_sense_are_an_error(headers: bytes) -> None:
    with pytest.raises(UpstreamError):
        Decoder().feed(sealed(headers))


@pytest.mark.parametrize(
    ("total", "headers"), [(15, 0), (40, 30), (2**31, 0), (2**20, 2**18), (0, 2**32 - 1)]
)
def test_lengths_that_make_no_sense_are_refused_before_anything_is_kept(
    total: int, headers: int
) -> None:
    with pytest.raises(UpstreamError):
        Decoder().feed(prelude(total, headers))
