"""How an answer is shown while it comes: reasoning dim, control characters harmless."""

import sys

import click

from .conversation import Answer, Piece

#: What a model may say without moving the cursor, changing the title or ringing.
_HARMLESS = {"\n", "\t"}
_UNSAFE = {
    code: "\N{REPLACEMENT CHARACTER}"
    for code in (*range(0x20), *range(0x7F, 0xA0))
    if chr(code) not in _HARMLESS
}


class Screen:
    """Shows one answer on stdout. Into a pipe goes the text alone, as it came."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._dim = False
        self._fresh = True

    def show(self, piece: Piece) -> None:
        if self._terminal and piece.reasoning:
            self._write(piece.reasoning, dim=True)
        if piece.text:
            self._write(piece.text, dim=False)

    def end(self, answer: Answer) -> None:
        """Close the line, and say what cut the answer short."""
        if not self._fresh:
            click.echo()
        if self._terminal:
            note(_cut(answer))

    def _write(self, text: str, *, dim: bool) -> None:
        if self._dim and not dim:
            click.echo("\n")
        self._dim, self._fresh = dim, False
        if self._terminal:
            text = text.translate(_UNSAFE)
        # color=True: click is to leave the text as it is.
        click.echo(click.style(text, dim=True) if dim else text, nl=False, color=True)


def note(text: str) -> None:
    """A dim remark on stderr; an empty one is left out."""
    if text:
        click.echo(click.style(f"[{text}]", dim=True), err=True)


def _cut(answer: Answer) -> str:
    match answer.finish_reason:
        case "length":
            return "cut: the tokens that the answer may take are used up"
        case "content_filter":
            return "cut by a content filter"
        case _:
            return ""
