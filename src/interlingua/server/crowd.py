"""How many connections a server process holds, and what becomes of one too many.

Rules of this file:
- One too many is told so, in the API's own shape, and ends: it is never left waiting for
  others to go.
- Telling is bounded as well: who comes by the thousand is not waited for.
"""

import asyncio
from collections import Counter
from ipaddress import IPv6Address
from typing import cast

from interlingua.dialects.error_wire import write_azure_error
from interlingua.errors import Unavailable

#: How long one that was sent away may take to read why.
_READING_S = 1.0
#: How many of them may do so at a time.
_MOST_READING = 256


class Crowd:
    """Counts the connections of one process. For one thread."""

    def __init__(self, most: int, most_by_address: int | None = None) -> None:
        """``most_by_address``: of one origin, which is an IPv4 address or an IPv6 /64."""
        self._most = most
        self._most_by_origin = most_by_address
        self._count = 0
        self._origins: Counter[str] = Counter()
        self._reading = 0
        self._refusals = tuple(
            _reply(f"The server holds as many connections{whose} as it may ({name} = {limit}).")
            for whose, name, limit in (
                ("", "server.max_connections", most),
                (" from your address", "server.max_connections_by_address", most_by_address),
            )
        )

    def enter(self, transport: asyncio.Transport) -> bool:
        """Whether it may stay; else it is told why and ends, and its protocol is another."""
        full = self._count >= self._most
        if self._most_by_origin is not None and not full:
            origin = _origin(transport)
            if self._origins[origin] >= self._most_by_origin:
                self._refuse(transport, self._refusals[1])
                return False
            self._origins[origin] += 1
        if full:
            self._refuse(transport, self._refusals[0])
            return False
        self._count += 1
        return True

    def leave(self, transport: asyncio.Transport) -> None:
        """One that stayed is gone."""
        self._count -= 1
        if self._most_by_origin is not None:
            origin = _origin(transport)
            self._origins[origin] -= 1
            if not self._origins[origin]:
                del self._origins[origin]

    def _refuse(self, transport: asyncio.Transport, reply: bytes) -> None:
        transport.write(reply)
        if self._reading >= _MOST_READING:
            transport.close()
            return
        self._reading += 1
        transport.set_protocol(_Refused(self, transport))

    def read(self) -> None:
        """One that was sent away is gone."""
        self._reading -= 1


class _Refused(asyncio.Protocol):
    """Takes what the client still says, since an end before would lose it the reply."""

    def __init__(self, crowd: Crowd, transport: asyncio.Transport) -> None:
        self._crowd = crowd
        self._clock = asyncio.get_running_loop().call_later(_READING_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:  # type: ignore[explicit-override]  # 3.12's
        del exc
        self._clock.cancel()
        self._crowd.read()


def _origin(transport: asyncio.Transport) -> str:
    peer = cast("tuple[str, ...] | None", transport.get_extra_info("peername"))
    if not peer:
        return ""
    address = peer[0].partition("%")[0]
    if ":" not in address:
        return address
    whole = IPv6Address(address)
    return str(whole.ipv4_mapped or int(whole) >> 64)


def _reply(message: str) -> bytes:
    error = write_azure_error(Unavailable(message))
    headers = {**error.headers, "content-length": str(len(error.body)), "connection": "close"}
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 503 Service Unavailable\r\n{''.join(lines)}\r\n".encode() + error.body
