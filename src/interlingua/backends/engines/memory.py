"""How much memory there is, and how many slots of a model fit into it."""

import contextlib
import os
from pathlib import Path

from interlingua.catalog.gguf import GgufHeader

#: Keys and values are kept in 16 bits.
_VALUE_BYTES = 2
#: The part of the available memory that the slots of one model may take.
_SHARE = 4
_MOST_SLOTS = 4


def available_bytes() -> int | None:
    """What can be taken without swapping; ``None`` where the system doesn't tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def token_bytes(header: GgufHeader) -> int | None:
    """What one token of context takes; ``None`` where the header doesn't say enough."""
    heads = header.head_count_kv or header.head_count
    if not header.block_count or not heads:
        return None
    length = 0
    if header.embedding_length and header.head_count:
        length = header.embedding_length // header.head_count
    keys, values = header.key_length or length, header.value_length or length
    return header.block_count * heads * (keys + values) * _VALUE_BYTES or None


def slots_that_fit(header: GgufHeader, context: int, available: int | None) -> int:
    """1 to 4: as many as a quarter of the available memory holds."""
    per_token = token_bytes(header)
    if per_token is None or available is None:
        return 1
    return max(1, min(_MOST_SLOTS, available // _SHARE // (per_token * context)))


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
