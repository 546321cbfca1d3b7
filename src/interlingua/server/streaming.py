"""Deltas → the event stream of one reply.

Rules of this file:
- LF only, data only, no pings: the official client refuses everything else (Azure: PY's
  parser of server-sent events).
- The head goes out with the first delta, which the gateway has waited for.
- Each delta is sent before the next is asked for, so a client that reads slowly slows down
  what writes.
"""

from collections.abc import AsyncGenerator, Mapping
from typing import TypeVar

from interlingua.dialects.base import StreamWriter

from .exchange import Exchange

Delta = TypeVar("Delta")


async def stream(
    exchange: Exchange,
    deltas: AsyncGenerator[Delta],
    writer: StreamWriter[Delta],
    headers: Mapping[str, str],
) -> None:
    """Send all deltas, then the stream's proper end."""
    await exchange.begin_stream(headers)
    async for delta in deltas:
        events = writer.write(delta)
        if events:
            await exchange.send_event(events)
    await exchange.end_stream(writer.finish())
