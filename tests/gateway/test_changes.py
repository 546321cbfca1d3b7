"""The header that says what was changed (RFC 9651)."""

import re

from hypothesis import given
from hypothesis import strategies as st

from interlingua.gateway.changes import Changes


def test_nothing_changed_makes_no_header() -> None:
    assert Changes().header() is None


def test_dropped_and_renamed_are_inner_lists() -> None:
    changes = Changes(dropped=("seed", "foo"), renamed=(("max_tokens", "max_completion_tokens"),))
    assert changes.header() == (
        'dropped=("seed" "foo"), renamed=("max_tokens";to="max_completion_tokens")'
    )


def test_quotes_and_backslashes_are_escaped() -> None:
    assert Changes(dropped=('a"b\\c',)).header() == 'dropped=("a\\"b\\\\c")'


def test_names_beyond_ascii_are_display_strings() -> None:
    assert Changes(dropped=("füß\r\n%",)).header() == 'dropped=(%"f%c3%bc%c3%9f%0d%0a%25")'


def test_long_names_are_cut_and_many_are_counted() -> None:
    header = Changes(dropped=tuple("x" * 70 for _ in range(20))).header()
    assert header is not None
    assert header.count('"' + "x" * 64 + '"') == 16
    assert header.endswith(");more=4")


@given(st.lists(st.text(), min_size=1, max_size=20))
def test_any_name_makes_a_header_value_that_can_be_sent(names: list[str]) -> None:
    header = Changes(dropped=tuple(names)).header()
    assert header is not None
    assert re.fullmatch(r"[\x20-\x7e]*", header)
