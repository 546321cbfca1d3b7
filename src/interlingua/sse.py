"""Server-sent events without I/O: bytes in, the data of events out, and the other way.

Rules of this file:
- What is written is ``data: ...`` and two line feeds, nothing else: the official Python client
  takes no comment, no event name and no carriage return.
- What is read may be anything that the HTML standard (9.2.6) calls an event stream.
- A stream is read in bounded memory, however it is cut into pieces.
"""

from .errors import UpstreamError

#: The event that ends a stream, as OpenAI and Azure send it.
DONE = b"data: [DONE]\n\n"

_BOM = b"\xef\xbb\xbf"
_LINE_ENDS = (b"\n", b"\r")


def encode(data: bytes) -> bytes:
    """One event. ``data`` is one line, as JSON without indentation always is."""
    return b"data: %b\n\n" % data


class Decoder:
    """Reads one stream. Comments and the fields event, id and retry are skipped."""

    def __init__(self, max_line_bytes: int = 1024 * 1024) -> None:
        self._max = max_line_bytes
        #: The pieces of a line whose end has not come yet, and their length together.
        self._pieces: list[bytes] = []
        self._length = 0
        #: The data lines of an event whose end has not come yet, and their length together.
        self._data: list[bytes] = []
        self._data_length = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that this chunk completes.

        Raises:
            UpstreamError: a line, or the lines of one event together, are too long.
        """
        if not (self._pieces or self._data or self._after_cr or self._at_start):
            plain = self._plain(chunk)
            if plain is not None:
                return plain
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
        lines = chunk.splitlines(keepends=True)
        if not lines:
            return []
        self._after_cr = lines[-1].endswith(b"\r")
        rest = b"" if lines[-1].endswith(_LINE_ENDS) else lines.pop()
        events: list[bytes] = []
        for line in lines:
            event = self._line(self._joined(line))
            if event is not None:
                events.append(event)
        if rest:
            self._keep(rest)
        return events

    def _plain(self, chunk: bytes) -> list[bytes] | None:
        """The data of whole events as nearly everyone writes them, which :func:`encode` shows;
        ``None``: there is something else, too.
        """
        if chunk[-2:] != b"\n\n" or len(chunk) > self._max or b"\r" in chunk:
            return None
        events = chunk[:-2].split(b"\n\n")
        for place, event in enumerate(events):
            if event[:6] != b"data: " or b"\n" in event:
                return None
            events[place] = event[6:]
        return events

    def finish(self) -> list[bytes]:
        """The data of a last event that the stream's end cut short of its empty line."""
        last = self._joined(b"")
        if last:
            self._line(last)
        event = self._line(b"")
        return [] if event is None else [event]

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._length += len(piece)
        if self._length > self._max:
            raise self._too_long()

    def _joined(self, end: bytes) -> bytes:
        if self._pieces:
            self._keep(end)
            end = b"".join(self._pieces)
            self._pieces.clear()
            self._length = 0
        return end.rstrip(b"\r\n")

    def _line(self, line: bytes) -> bytes | None:
        """The data of the event that this line ends, if it ends one."""
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            if not self._data:
                return None
            event = b"\n".join(self._data)
            self._data.clear()
            self._data_length = 0
            return event
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data_length += len(line)
            if self._data_length > self._max:
                raise self._too_long()
            self._data.append(value[1:] if value.startswith(b" ") else value)
        elif len(line) > self._max:
            raise self._too_long()
        return None

    def _too_long(self) -> UpstreamError:
        return UpstreamError(f"An event of the stream is longer than {self._max} bytes.")
