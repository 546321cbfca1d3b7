"""Deltas → the event stream of one reply.

Rules of this file:
- LF only, data only, no pings: the official client refuses everything else (Azure: PY's
  parser of server-sent events).
- The head goes out with the first delta, which the gateway has waited for.
- Each delta is sent before the next is asked for, so a client that reads slowly slows down
  what writes.
"""

from collections.abc import AsyncIterable, Callable, Mapping
from typing import TypeVar

from interlingua.dialects.base import StreamWriter
from interlingua.types.chat import ChatDelta
from interlingua.types.completions import CompletionDelta
from interlingua.types.usage import Usage

from .exchange import Exchange

Delta = TypeVar("Delta", ChatDelta, CompletionDelta)


async def stream(
    exchange: Exchange,
    deltas: AsyncIterable[Delta],
    writer: StreamWriter[Delta],
    headers: Mapping[str, str],
    used: Callable[[Usage], None],
) -> None:
    """Send all deltas, then the stream's proper end. What was used comes with the last one."""
    await exchange.begin_stream(headers)
    delta: Delta | None = None
    async for delta in deltas:
        events = writer.write(delta)
        if events and not exchange.sends_event(events):
            await exchange.send_event(events)
    if delta is not None and delta.usage is not None:
        used(delta.usage)
    await exchange.end_stream(writer.finish())
