"""Amazon's event stream without I/O: bytes in, messages out.

Source: Amazon event stream encoding (application/vnd.amazon.eventstream): a prelude of two
lengths and its CRC-32, headers, payload, and the CRC-32 of all that.

Rules of this file:
- Both checksums are checked, and nothing of a message is believed before.
- A stream is read in bounded memory, however it is cut into pieces.
"""

import struct
from binascii import crc32
from collections.abc import Mapping

import msgspec

from .errors import UpstreamError

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_AROUND = _PRELUDE.size + _CRC.size
#: What AWS itself sends at most, of headers and payload.
_MOST_HEADERS = 128 * 1024
_MOST_PAYLOAD = 24 * 1024 * 1024

#: A header's type → the length of its value; before a value of the types 6 and 7 it stands itself,
#: in two bytes.
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES, _TEXT = 6, 7


class Message(msgspec.Struct, frozen=True):
    """``headers`` holds those that are text, which are all that name a message."""

    headers: Mapping[str, str]
    payload: bytes


class Decoder:
    """Reads one stream."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._length = 0
        #: The length of the message whose beginning is there.
        self._wanted = _PRELUDE.size
        self._knows_length = False

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that this chunk completes.

        Raises:
            UpstreamError: a checksum or a length is wrong, or a message is too long.
        """
        self._pieces.append(chunk)
        self._length += len(chunk)
        messages: list[Message] = []
        while self._length >= self._wanted:
            data = b"".join(self._pieces)
            if not self._knows_length:
                self._wanted = _read_length(data)
                self._knows_length = True
                self._keep(data)
                continue
            messages.append(_read(data[: self._wanted]))
            self._keep(data[self._wanted :])
            self._wanted = _PRELUDE.size
            self._knows_length = False
        return messages

    def finish(self) -> None:
        """The stream is over.

        Raises:
            UpstreamError: it ended inside a message.
        """
        if self._length:
            raise UpstreamError("The stream ended inside an event.")

    def _keep(self, data: bytes) -> None:
        self._pieces = [data]
        self._length = len(data)


def _read_length(data: bytes) -> int:
    total, headers, crc = _PRELUDE.unpack_from(data)
    if crc32(data[:8]) != crc:
        raise _broken("its prelude's checksum is wrong")
    payload = total - headers - _AROUND
    if payload < 0:
        raise _broken("its lengths don't go together")
    if headers > _MOST_HEADERS or payload > _MOST_PAYLOAD:
        raise _broken("it is too long")
    return int(total)


def _read(message: bytes) -> Message:
    (crc,) = _CRC.unpack_from(message, len(message) - _CRC.size)
    if crc32(message[: -_CRC.size]) != crc:
        raise _broken("its checksum is wrong")
    (headers,) = _CRC.unpack_from(message, 4)
    end = _PRELUDE.size + headers
    return Message(_read_headers(message[_PRELUDE.size : end]), message[end : -_CRC.size])


def _read_headers(data: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    place = 0
    while place < len(data):
        name, place = _sized(data, place, 1)
        (kind,), place = _cut(data, place, 1)
        if kind in _FIXED:
            _, place = _cut(data, place, _FIXED[kind])
        elif kind in {_BYTES, _TEXT}:
            value, place = _sized(data, place, 2)
            if kind == _TEXT:
                headers[_text(name)] = _text(value)
        else:
            raise _broken(f"a header has the unknown type {kind}")
    return headers


def _sized(data: bytes, place: int, width: int) -> tuple[bytes, int]:
    """What follows its own length, and the place after it."""
    size, place = _cut(data, place, width)
    return _cut(data, place, int.from_bytes(size, "big"))


def _cut(data: bytes, place: int, count: int) -> tuple[bytes, int]:
    end = place + count
    if end > len(data):
        raise _broken("its headers break off")
    return data[place:end], end


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _broken("a header is not UTF-8") from error


def _broken(why: str) -> UpstreamError:
    return UpstreamError(f"An event of the stream can't be read: {why}.")
