"""What was done to a request's parameters, and how a reply says it.

The header ``x-interlingua-changes`` is an RFC 9651 dictionary of inner lists of Strings, or
of Display Strings where a name is not printable ASCII.
"""

import msgspec

#: Longer names are cut, and more names than this are only counted (``;more=n``).
_NAME_LENGTH = 64
_NAMES = 16


class Changes(msgspec.Struct, frozen=True):
    """What was done to a request's top-level parameters, and to the roles of its messages."""

    dropped: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    #: Roles that the model doesn't take, and what their messages became.
    folded: tuple[tuple[str, str], ...] = ()

    def header(self) -> str | None:
        """The value of ``x-interlingua-changes``; ``None`` when nothing changed."""
        members = []
        if self.dropped:
            members.append("dropped=" + _inner_list([_item(name) for name in self.dropped]))
        for member, pairs in (("renamed", self.renamed), ("folded", self.folded)):
            if pairs:
                items = [f"{_item(name)};to={_item(new)}" for name, new in pairs]
                members.append(f"{member}={_inner_list(items)}")
        return ", ".join(members) or None


def _inner_list(items: list[str]) -> str:
    more = f";more={len(items) - _NAMES}" if len(items) > _NAMES else ""
    return f"({' '.join(items[:_NAMES])}){more}"


def _item(name: str) -> str:
    """A String (RFC 9651 §3.3.3) or a Display String (§3.3.8)."""
    name = name[:_NAME_LENGTH]
    if name.isascii() and name.isprintable():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    encoded = "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte not in b'%"' else f"%{byte:02x}"
        for byte in name.encode("utf-8", "replace")
    )
    return f'%"{encoded}"'
