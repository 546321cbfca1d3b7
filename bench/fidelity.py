"""How far a re-quantized model's next tokens are from those of the file as downloaded."""

import asyncio
import math
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from .load import Door
from .rows import Row

TEXTS = ("README.md", "CONTRIBUTING.md", "docs/dev/README.md")
PROMPTS = 100
WORDS = 48
#: The most probable tokens that are compared; they hold nearly all of the probability.
MOST_PROBABLE = 64


def same_next_tokens(ours: Door, theirs: Door) -> Iterator[Row]:
    """The same prompts to both: is the same token next, and how do the probabilities differ."""
    prompts = _prompts()
    pairs = list(zip(*(asyncio.run(_asked(door, prompts)) for door in (ours, theirs)), strict=True))
    same = [max(a, key=a.__getitem__) == max(b, key=b.__getitem__) for a, b in pairs]
    apart = [_divergence(theirs, ours) for ours, theirs in pairs]
    share = f"{sum(same) / len(same):.3f}"
    yield Row(f"prepared, {PROMPTS} prompts: same next token", share, "", "", "≥ 0.95")
    mean = f"{statistics.mean(apart):.4f}"
    spread = f"at most {max(apart):.3f}"
    yield Row("prepared, next token: KL divergence, nats", mean, "", spread, "≤ 0.01")


def _prompts() -> list[str]:
    """Pieces of prose, from everywhere in the texts."""
    root = Path(__file__).parents[1]
    words = re.findall(r"[\w',.]+", " ".join((root / name).read_text() for name in TEXTS))
    step = (len(words) - WORDS) // PROMPTS
    return [" ".join(words[at : at + WORDS]) for at in range(0, step * PROMPTS, step)]


async def _asked(door: Door, prompts: list[str]) -> list[dict[int, float]]:
    """For each prompt the log probabilities of the tokens that may come next."""
    url = door.url.removesuffix("/v1/chat/completions") + "/completion"
    found = []
    async with door.session() as session:
        for prompt in prompts:
            body = {"prompt": prompt, "n_predict": 1, "n_probs": MOST_PROBABLE, "temperature": 0}
            found.append(await _next(session, url, body))
    return found


async def _next(
    session: aiohttp.ClientSession, url: str, body: dict[str, object]
) -> dict[int, float]:
    async with session.post(url, json=body) as reply:
        assert reply.status == 200, await reply.text()
        said = await reply.json()
    return {
        each["id"]: each["logprob"] for each in said["completion_probabilities"][0]["top_logprobs"]
    }


def _divergence(given: dict[int, float], other: dict[int, float]) -> float:
    """Kullback and Leibler's, of ``other`` from ``given``, over the tokens that both know."""
    both = given.keys() & other.keys()
    return sum(math.exp(given[token]) * (given[token] - other[token]) for token in both)
