"""Thoughts and answer, taken apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.backends.engines.thinking import Thinking


def split(pieces, *, opened=False):
    thinking = Thinking(opened=opened)
    thoughts, answer = [], []
    for piece in pieces:
        thought, text = thinking.feed(piece)
        thoughts.append(thought)
        answer.append(text)
    thought, text = thinking.finish()
    return "".join([*thoughts, thought]), "".join([*answer, text])


CASES = [
    ("<think>\na b\n</think>\n\nanswer ", False, ("a b", "answer ")),
    ("a b\n</think>\nanswer", True, ("a b", "answer")),
    ("answer <think>no</think>", False, ("", "answer <think>no</think>")),
    ("  answer", False, ("", "  answer")),
    ("<think></think>x", False, ("", "x")),
    ("<think>cut of", False, ("cut of", "")),
    ("<think>a </thin b</think>c", False, ("a </thin b", "c")),
    ("<th", False, ("", "<th")),
    ("\n <think>x</think>y", False, ("x", "y")),
    ("", False, ("", "")),
    ("", True, ("", "")),
]


@pytest.mark.parametrize(("text", "opened", "expected"), CASES)
def test_a_text_is_split(text, opened, expected):
    assert split([text], opened=opened) == expected


@pytest.mark.parametrize(("text", "opened", "expected"), CASES)
def test_it_is_split_the_same_letter_by_letter(text, opened, expected):
    assert split(text, opened=opened) == expected


@given(st.text(alphabet="<>/think \nab"), st.lists(st.integers(1, 5)), st.booleans())
def test_pieces_never_change_the_result(text, cuts, opened):
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(text[at : at + cut])
        at += cut
    pieces.append(text[at:])
    assert split(pieces, opened=opened) == split([text], opened=opened)


def test_thought_is_told_as_soon_as_it_is_certain():
    thinking = Thinking(opened=True)
    assert thinking.feed("so far ") == ("so far", "")
    assert thinking.inside
    assert thinking.feed("more") == (" more", "")
    assert thinking.feed("</think>") == ("", "")
    assert not thinking.inside
