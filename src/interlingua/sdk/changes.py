"""What the server changed in a request, as its reply says it.

The header ``x-interlingua-changes`` is an RFC 9651 dictionary of inner lists of Strings, or
of Display Strings where a name is not printable ASCII.
"""

import re
from typing import NamedTuple
from urllib.parse import unquote

HEADER = "x-interlingua-changes"

_STRING = r'%?"(?:[^"\\]|\\.)*"'
_LIST = re.compile(rf'(\w+)=\(((?:{_STRING}|[^")])*)\)(?:;more=(\d+))?')
_ITEM = re.compile(rf"({_STRING})(?:;to=({_STRING}))?")


class Changes(NamedTuple):
    """What was done to a request's top-level parameters.

    A long name is cut by the server, and of many names some are only counted: ``more``.
    """

    dropped: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    more: int = 0
    #: Roles that the model doesn't take, and what their messages became.
    folded: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.dropped or self.renamed or self.folded)


def read_changes(header: str | None) -> Changes | None:
    """What the header says; what it says in another way than ours is left out."""
    if not header:
        return None
    dropped: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    folded: tuple[tuple[str, str], ...] = ()
    more = 0
    for kind, items, rest in _LIST.findall(header):
        pairs = _ITEM.findall(items)
        more += int(rest or 0)
        if kind == "dropped":
            dropped = tuple(_text(name) for name, _ in pairs)
        elif kind == "renamed":
            renamed = tuple((_text(name), _text(new)) for name, new in pairs if new)
        elif kind == "folded":
            folded = tuple((_text(name), _text(new)) for name, new in pairs if new)
    return Changes(dropped, renamed, more, folded)


def _text(item: str) -> str:
    if item.startswith("%"):
        return unquote(item[2:-1], errors="replace")
    return re.sub(r"\\(.)", r"\1", item[1:-1])
