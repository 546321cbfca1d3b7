"""The load: streamed chats as a plain aiohttp client sends them."""

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import aiohttp

WORDS = (
    *("river", "mountain", "lantern", "copper", "garden", "violin", "harbour", "winter"),
    *("pepper", "window", "marble", "thunder", "basket", "feather", "candle", "forest"),
    *("silver", "engine", "meadow", "pocket"),
)


class Door(NamedTuple):
    """Where calls go: a URL, and the Unix socket that it is behind, if it is."""

    name: str
    url: str
    headers: dict[str, str]
    socket: str | None = None

    def session(self) -> aiohttp.ClientSession:
        """A session that takes a fresh connection for each call, as engines need it."""
        connector: aiohttp.BaseConnector = (
            aiohttp.UnixConnector(self.socket, limit=0, force_close=True)
            if self.socket
            else aiohttp.TCPConnector(limit=0, force_close=True)
        )
        return aiohttp.ClientSession(connector=connector, headers=self.headers)


class Stream(NamedTuple):
    """What one streamed chat took."""

    first_token_s: float
    tokens: int


def prompt(seed: int, words: int) -> str:
    """A prompt that no earlier one begins like, so that no cache answers for it."""
    chosen = [WORDS[(seed * 7919 + i * (seed % 17 + 1)) % len(WORDS)] for i in range(words)]
    return f"{seed}: write a story with the words {' '.join(chosen)}."


async def stream_chat(
    session: aiohttp.ClientSession, url: str, text: str, max_tokens: int
) -> Stream:
    body = {
        "messages": [{"role": "user", "content": text}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began = time.perf_counter()
    first = 0.0
    tokens = 0
    async with session.post(url, json=body) as reply:
        assert reply.status == 200, await reply.text()
        async for line in reply.content:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if not first and event["choices"] and event["choices"][0]["delta"].get("content"):
                first = time.perf_counter() - began
            if event.get("usage"):
                tokens = event["usage"]["completion_tokens"]
    return Stream(first, tokens)


async def chat_round(
    door: Door, seeds: Sequence[int], *, words: int, max_tokens: int
) -> tuple[float, float]:
    """Tokens per second over all streams at once, and the median time to the first token."""
    async with door.session() as session:
        began = time.perf_counter()
        streams = await asyncio.gather(
            *(stream_chat(session, door.url, prompt(seed, words), max_tokens) for seed in seeds)
        )
        took = time.perf_counter() - began
    rate = sum(stream.tokens for stream in streams) / took
    return rate, statistics.median(stream.first_token_s for stream in streams)
