"""Fetches images from the hosts that the operator allows, and embeds them as data URLs.

Rules of this file:
- Off unless ``remote_images`` lists hosts. Nothing is looked up or connected to before the
  URL's host and port are found on that list; a redirect's likewise.
- One parser reads a URL, and what it read is what is connected to.
- A name is looked up once a connection, all its addresses must be public, and only they are
  connected to. An address on the list is meant as it stands, public or not.
- No cookies, credentials, proxies or decompression; bytes, time and numbers are bounded.
- Whatever goes wrong is the caller's :class:`InvalidValue`. It repeats nothing that the
  remote side said, and of the URL only its host.
"""

import asyncio
import base64
import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Self

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from interlingua.config.hosts import Address, Host, read_host, read_name
from interlingua.errors import InvalidValue, Location

_DATA = "send the content itself, as 'data:image/png;base64,…' (with its own media type)"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_URL_LENGTH = 8192
_HEADERS = {
    "accept": "image/png, image/jpeg, image/webp, image/gif",
    "accept-encoding": "identity",
    "user-agent": "interlingua",
}
#: RFC 6052: IPv4 addresses behind a translator.
_NAT64 = IPv6Network("64:ff9b::/96")


class FetchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What fetching may take."""

    #: Bytes of one image, and of all images of a call.
    image_bytes: int = 20 * 1024 * 1024
    call_bytes: int = 32 * 1024 * 1024
    #: For one image, redirects included.
    seconds: float = 10.0
    redirects: int = 3
    at_once: int = 8
    images: int = 64


DEFAULT_LIMITS = FetchLimits()


class _RefusedError(Exception):
    """Why an image isn't fetched, as the second half of a sentence about its host."""


class RemoteImages:
    """Judges and fetches the images that requests name by URL."""

    def __init__(
        self,
        hosts: Iterable[str],
        limits: FetchLimits = DEFAULT_LIMITS,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """``hosts`` as ``remote_images`` lists them; ``resolver``, where given, looks names up
        instead of the system.
        """
        self._hosts = frozenset(map(read_host, hosts))
        self._limits = limits
        self._resolver = resolver

    def check(self, images: Mapping[Location, str]) -> dict[Location, URL]:
        """The URLs of images, read, where all of them may be fetched. Connects to nothing.

        Raises:
            InvalidValue: names the first that may not.
        """
        if images and not self._hosts:
            raise _off(*next(iter(images.items())))
        if len(images) > self._limits.images:
            location = list(images)[self._limits.images]
            raise InvalidValue(
                f"At most {self._limits.images} images of a call are fetched: for more, {_DATA}.",
                location=location,
            )
        return {location: self._read(url, location) for location, url in images.items()}

    async def fetch(self, images: Mapping[Location, URL]) -> dict[Location, str]:
        """The images, checked before, as ``data:`` URLs.

        Raises:
            InvalidValue: names one that can't be had; the others are given up.
        """
        async with _Fetch(self._hosts, self._limits, self._resolver) as fetch:
            tasks = [asyncio.create_task(fetch.image(*item)) for item in images.items()]
            try:
                return dict(zip(images, await asyncio.gather(*tasks), strict=True))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _read(self, text: str, location: Location) -> URL:
        try:
            url = _parse(text)
        except _RefusedError as error:
            raise InvalidValue(f"This URL {error}: {_DATA}.", location=location) from error
        if not _allowed(url, self._hosts):
            raise InvalidValue(
                f"No images are fetched from {_shown(url)}: the setting remote_images doesn't list "
                f"it. Else {_DATA}.",
                location=location,
            )
        return url


class _Fetch:
    """The fetches of one call: they share a session and an allowance of bytes."""

    def __init__(
        self, hosts: frozenset[Host], limits: FetchLimits, resolver: AbstractResolver | None
    ) -> None:
        self._hosts = hosts
        self._limits = limits
        self._left = limits.call_bytes
        self._places = asyncio.Semaphore(limits.at_once)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_PublicResolver(resolver or aiohttp.ThreadedResolver()),
                use_dns_cache=False,
                force_close=True,
                limit=limits.at_once,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._session.close()

    async def image(self, location: Location, url: URL) -> str:
        async with self._places:
            try:
                async with asyncio.timeout(self._limits.seconds):
                    content = await self._get(url)
            except _RefusedError as error:
                raise _failed(url, str(error), location) from error
            except TimeoutError as error:
                took = f"took longer than {self._limits.seconds:g} s"
                raise _failed(url, took, location) from error
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise _failed(url, "can't be reached, or broke off", location) from error
        # What the remote side calls it is not believed: whoever decodes it looks at the bytes.
        return "data:application/octet-stream;base64," + base64.b64encode(content).decode("ascii")

    async def _get(self, url: URL) -> bytes:
        for _ in range(self._limits.redirects + 1):
            response = await self._session.get(url, headers=_HEADERS, allow_redirects=False)
            try:
                if response.status == 200:
                    return await self._content(response)
                if response.status not in _REDIRECTS:
                    raise _RefusedError(f"answered with status {response.status}")
                url = self._target(url, response.headers.get("location", ""))
            finally:
                response.close()
        raise _RefusedError(f"redirects more than {self._limits.redirects} times")

    def _target(self, url: URL, place: str) -> URL:
        """Where a redirect leads, if that is allowed."""
        try:
            target = _parse(place, base=url)
        except _RefusedError as error:
            raise _RefusedError("redirects to a place that isn't a plain URL") from error
        if not _allowed(target, self._hosts):
            raise _RefusedError("redirects to a host that the setting remote_images doesn't list")
        return target

    async def _content(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        self._allow(response.content_length or 0, 0)
        async for chunk in response.content.iter_any():
            self._allow(len(content) + len(chunk), len(chunk))
            self._left -= len(chunk)
            content += chunk
        return bytes(content)

    def _allow(self, length: int, new: int) -> None:
        """Refuse an image of ``length`` bytes, of which ``new`` are not yet counted."""
        if length > self._limits.image_bytes:
            raise _RefusedError(f"sends more than {self._limits.image_bytes} bytes for one image")
        if new > self._left:
            raise _RefusedError(
                f"sends too much: all images of a call may have {self._limits.call_bytes} bytes "
                "(max_body_bytes)"
            )


class _PublicResolver(AbstractResolver):
    """Looks names up, and refuses those with an address that isn't public."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(  # type: ignore[explicit-override]  # typing.override comes with 3.12
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not all(is_public(each["host"]) for each in found):
            raise _RefusedError(
                "has an address that isn't public; the setting remote_images may list that "
                "address itself"
            )
        return found

    async def close(self) -> None:  # type: ignore[explicit-override]  # as above
        await self._resolver.close()


def is_public(text: str) -> bool:
    """Whether an address leads out to the internet, whatever it is wrapped in."""
    address = _unwrapped(ip_address(text))
    inward = address.is_multicast or address.is_reserved or getattr(address, "is_site_local", False)
    return address.is_global and not inward


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, where it does."""
    if not isinstance(address, IPv6Address):
        return address
    if address in _NAT64:
        return ip_address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _parse(text: str, base: URL | None = None) -> URL:
    """An absolute URL that may be looked for on the list."""
    if len(text) > _URL_LENGTH:
        raise _RefusedError(f"is longer than {_URL_LENGTH} characters")
    try:
        url = URL(text)
        if base is not None:
            url = base.join(url)
        port = url.port
    except ValueError as error:
        raise _RefusedError("is malformed") from error
    if url.scheme not in {"http", "https"}:
        raise _RefusedError("is neither http nor https")
    if not url.raw_host or not port:
        raise _RefusedError("names no host")
    if "@" in url.raw_authority:
        raise _RefusedError("has a user name in it")
    return url


def _allowed(url: URL, hosts: frozenset[Host]) -> bool:
    name = read_name(url.raw_host or "")
    return Host(name, url.port) in hosts or (url.is_default_port() and Host(name) in hosts)


def _shown(url: URL) -> str:
    host = url.raw_authority
    return f"the host {host!r}" if len(host) <= 100 else "this host"


def _failed(url: URL, reason: str, location: Location) -> InvalidValue:
    host = _shown(url)
    return InvalidValue(
        f"The image was not fetched: {host} {reason}. Else {_DATA}.", location=location
    )


def _off(location: Location, url: str) -> InvalidValue:
    return InvalidValue(
        f"This server fetches no images from other hosts (remote_images is empty): {_DATA}.",
        location=location,
        value=url if len(url) <= 100 and url.isprintable() else None,
    )
