"""The hosts that ``remote_images`` lists: how an entry is written, and what it means."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec

from interlingua.errors import ConfigError

Address = IPv4Address | IPv6Address

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*{_LABEL}")
#: What some resolvers take for an address although it isn't written as one: 127.1, 0x7f000001.
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_ENTRY = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[1-9][0-9]{0,4}))?")


class Host(msgspec.Struct, frozen=True):
    """A host of a URL. ``port`` is ``None`` where the scheme's own is meant."""

    name: str | Address
    port: int | None = None


def read_name(text: str) -> str | Address:
    """A host as it is compared: addresses by value, names without regard to case."""
    try:
        return ip_address(text)
    except ValueError:
        return text.lower()


def read_host(entry: str) -> Host:
    """What an entry of ``remote_images`` allows.

    Raises:
        ConfigError: names the entry and how one is written.
    """
    bare = read_name(entry)
    if isinstance(bare, IPv6Address) and bare.scope_id is None:
        return Host(bare)
    parts = _ENTRY.fullmatch(entry)
    if parts is None or int(parts["port"] or 1) > 65535:
        raise _malformed(entry)
    name = read_name(parts["host"] if parts["v6"] is None else parts["v6"])
    if not _is_plain(name, bracketed=parts["v6"] is not None):
        raise _malformed(entry)
    return Host(name, int(parts["port"]) if parts["port"] else None)


def _is_plain(name: str | Address, *, bracketed: bool) -> bool:
    match name:
        case IPv6Address():
            return bracketed and name.scope_id is None
        case IPv4Address():
            return not bracketed
        case _:
            plain = _NAME.fullmatch(name) and not _NUMBER.fullmatch(name)
            return bool(plain) and not bracketed


def _malformed(entry: str) -> ConfigError:
    shown = entry if len(entry) <= 100 else entry[:100] + "…"
    return ConfigError(
        f"server.remote_images: {shown!r} is not a host. Write a plain name or address with an "
        'optional port, without scheme, path or wildcard: "images.example.com", '
        '"10.0.0.5:9000", "[2001:db8::5]:9000"; a name in other letters as xn--….'
    )
