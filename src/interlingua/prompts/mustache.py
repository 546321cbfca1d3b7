"""Mustache without code: variables, sections, inverted sections, comments, delimiters.

Rules of this file:
- What is rendered is what azure-ai-inference 1.0.0b9 renders: ``& " < >`` are escaped in
  ``{{x}}``, a dotted name is looked up as a whole from the innermost scope outwards, what
  isn't found is empty, and an item that is empty (``0``, ``""``, ``{}``) is passed over.
- Partials and functions are refused: a template is text, and reads and runs nothing. So is
  what that release drops in silence (``{{{x}}``, ``{{}}``).
- A mistake is told when the template is made, with its line.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec


class TemplateError(ValueError):
    """A template that can't be read, or values that it can't be filled with."""


class Text(msgspec.Struct, frozen=True):
    text: str


class Variable(msgspec.Struct, frozen=True):
    name: str
    escaped: bool


class Section(msgspec.Struct, frozen=True):
    """Rendered for each item, for what is neither a list nor empty once; inverted: if empty."""

    name: str
    inverted: bool
    body: "tuple[Node, ...]"


Node = Text | Variable | Section


class _Tag(NamedTuple):
    sign: str
    name: str
    line: int


class _Open(NamedTuple):
    """A section whose end hasn't been read."""

    tag: _Tag
    before: list[Node]


#: What the first character of a tag may say; anything else begins a variable's name.
_SIGNS = "!#^/>={&"
#: Tags that stand for text: their line stays, whatever else is on it.
_INLINE = ("", "{", "&")
_NO_ATTRIBUTES = (str, bytes, int, float, list, type(None))


def parse(template: str) -> tuple[Node, ...]:
    """A template as what to render.

    Raises:
        TemplateError: a tag or a section isn't closed, or names a partial.
    """
    nodes: list[Node] = []
    opened: list[_Open] = []
    for token in _tokens(template):
        if isinstance(token, str):
            nodes.append(Text(token))
        elif token.sign in {"#", "^"}:
            opened.append(_Open(token, nodes))
            nodes = []
        elif token.sign == "/":
            if not opened or opened[-1].tag.name != token.name:
                raise TemplateError(f"line {token.line}: no section {token.name!r} is open here")
            tag, before = opened.pop()
            before.append(Section(tag.name, tag.sign == "^", tuple(nodes)))
            nodes = before
        elif token.sign in _INLINE:
            nodes.append(Variable(token.name, escaped=token.sign == ""))
        elif token.sign == ">":
            raise TemplateError(
                f"line {token.line}: partials ({token.name!r}) are not read: put the text here"
            )
    if opened:
        tag = opened[-1].tag
        raise TemplateError(f"line {tag.line}: the section {tag.name!r} is never closed")
    return tuple(nodes)


def render(
    nodes: Sequence[Node], data: Mapping[str, object], *, marked: Callable[[str], str] = str
) -> str:
    """The text. Each value passes through ``marked`` on its way into it.

    Raises:
        TemplateError: a section is about a function.
    """
    return "".join(_render(nodes, (data,), marked))


# -- Reading --------------------------------------------------------------------------------


def _tokens(template: str) -> Iterator[str | _Tag]:
    """Texts and tags in turn; a line with nothing but a tag that renders nothing is left out."""
    opening, closing = "{{", "}}"
    position = 0
    alone = True
    while (start := template.find(opening, position)) >= 0:
        text = template[position:start]
        line = template.count("\n", 0, start) + 1
        tag, position = _read_tag(template, start + len(opening), closing, line)
        alone = _begins_line(text, alone=alone) and tag.sign not in _INLINE
        if alone:
            rest, line_end, _ = template[position:].partition("\n")
            alone = not rest.strip()
            if alone:
                text = text.rstrip(" ")
                position += len(rest) + 1 if line_end else 0
        if text:
            yield text
        if tag.sign == "=":
            opening, closing = _delimiters(tag)
        yield tag
    if position < len(template):
        yield template[position:]


def _begins_line(text: str, *, alone: bool) -> bool:
    """Whether what follows this text is the first on its line."""
    return ("\n" in text or alone) and not text.rpartition("\n")[2].strip()


def _read_tag(template: str, start: int, closing: str, line: int) -> tuple[_Tag, int]:
    """The tag that begins here, and where the text goes on."""
    end = template.find(closing, start)
    inside = template[start:end]
    if end < 0 or not inside.strip():
        raise TemplateError(f"line {line}: a tag is {'empty' if end >= 0 else 'not closed'}")
    after = end + len(closing)
    sign = inside[0] if inside[0] in _SIGNS else ""
    name = inside[len(sign) :]
    if sign == "{":
        if closing != "}}" or not template.startswith("}", after):
            raise TemplateError(f"line {line}: '{{{{{{{name.strip()}' needs three closing braces")
        after += 1
    if sign == "=":
        if not name.endswith("="):
            raise TemplateError(f"line {line}: a change of delimiters ends with '='")
        name = name[:-1]
    return _Tag(sign, name.strip(), line), after


def _delimiters(tag: _Tag) -> tuple[str, str]:
    match tag.name.split():
        case [opening, closing]:
            return opening, closing
        case _:
            raise TemplateError(f"line {tag.line}: '=' takes two delimiters, as in {{{{=<% %>=}}}}")


# -- Rendering ------------------------------------------------------------------------------


def _render(
    nodes: Sequence[Node], scopes: tuple[object, ...], marked: Callable[[str], str]
) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Text):
            yield node.text
            continue
        value = _look_up(node.name, scopes)
        if isinstance(node, Variable):
            text = marked(str(value))
            yield _escape(text) if node.escaped else text
        else:
            for scope in _scopes_of(node, value):
                yield from _render(node.body, (*scope, *scopes), marked)


def _scopes_of(section: Section, value: object) -> Iterator[tuple[object, ...]]:
    """What is put before the scopes, each time that the section is rendered."""
    if section.inverted:
        if not value:
            yield ()
    elif callable(value):
        raise TemplateError(f"{section.name!r} is a function: give its result instead")
    elif isinstance(value, Sequence | Iterator) and not isinstance(value, str | bytes):
        yield from ((item,) for item in value if item)
    elif value:
        yield (value,)


def _look_up(name: str, scopes: tuple[object, ...]) -> object:
    if name == ".":
        return scopes[0]
    for scope in scopes:
        value = scope
        try:
            for part in name.split("."):
                if _is_zero(value):
                    break
                value = _child(value, part)
        except (AttributeError, IndexError, KeyError, ValueError):
            continue
        return value if value or _is_zero(value) else ""
    return ""


def _is_zero(value: object) -> bool:
    """``0`` and ``False`` are shown; every other empty value isn't."""
    return isinstance(value, int | float) and not value


def _child(value: object, name: str) -> object:
    if isinstance(value, Mapping):
        return value[name]
    if isinstance(value, Sequence) and name.lstrip("-").isdigit():
        return value[int(name)]
    if isinstance(value, _NO_ATTRIBUTES) or name.startswith("_"):
        raise AttributeError(name)
    return getattr(value, name)


def _escape(text: str) -> str:
    """As HTML, without the apostrophe."""
    for character, entity in (("&", "&amp;"), ('"', "&quot;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, entity)
    return text
