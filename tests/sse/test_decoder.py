"""Server-sent events, however they are spelled and cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.errors import UpstreamError
from interlingua.sse import DONE, Decoder, encode


def decode(*chunks: bytes, **limits: int) -> list[bytes]:
    decoder = Decoder(**limits)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.finish()


def test_an_event_is_written_as_the_official_client_reads_it() -> None:
    assert encode(b'{"a":1}') == b'data: {"a":1}\n\n'
    assert encode(b"[DONE]") == DONE


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b": ping\n\ndata: a\n: ping\n\n", [b"a"]),
        (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
        (b"event: x\n\n", []),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\n\n", [b""]),
        (b"database: a\n\n", []),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"", []),
    ],
)
def test_what_the_standard_allows_is_read(stream: bytes, events: list[bytes]) -> None:
    assert decode(stream) == events
    assert decode(*[bytes([byte]) for byte in stream]) == events


LINES = st.sampled_from(
    [
        b"data: {}",
        b"data:x",
        "data: h\u00e9\u4e2d\U0001f600".encode(),
        b": c",
        b"event: e",
        b"",
        b"",
    ]
)


@given(
    st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]))),
    st.data(),
)
def test_the_cut_of_the_bytes_makes_no_difference(
    lines: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(line + end for line, end in lines)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert decode(*chunks) == decode(stream)


def test_a_chunk_without_bytes_between_cr_and_lf_ends_one_line() -> None:
    assert decode(b"data: a\r", b"", b"\ndata: b\r", b"\n\r\n") == [b"a\nb"]


@pytest.mark.parametrize(
    "chunks",
    [
        [b"data: " + b"x" * 64 + b"\n\n"],
        [b"data: ", *[b"x"] * 64],
        [b": " + b"x" * 64 + b"\n"],
        [b"data: " + b"x" * 16 + b"\n"] * 4,
    ],
)
def test_a_line_or_an_event_over_the_cap_is_an_upstream_error(chunks: list[bytes]) -> None:
    with pytest.raises(UpstreamError, match="longer than 50 bytes"):
        decode(*chunks, max_line_bytes=50)


def test_a_long_line_in_single_bytes_costs_no_more_than_its_length() -> None:
    line = b"data: " + b"x" * 200_000
    assert decode(*[line[i : i + 1] for i in range(len(line))], b"\n\n") == [line[6:]]
