"""A GGUF file whose Q4_1 and Q5_1 tensors are made Q8_0; all else stays to the byte.

Run as ``python -m interlingua.catalog.q8_0 SOURCE TARGET``: it needs numpy, which nobody
else should have to import. It prints ``Progress DONE of TOTAL`` in bytes as it goes, and in
its last line what it did, as JSON (``Requantized``).

A block of each of the types has 32 weights. Q4_1 and Q5_1 keep a scale, a minimum and 4 or 5
bits a weight; Q8_0 a scale and 8 bits.

Source: ggml's reference of the types (ggml-quants.c).
"""

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt

from interlingua.errors import ModelFileError

from .gguf import read_layout
from .gguf_layout import BLOCKS, GgufLayout, GgufTensor
from .requantization import KINDS, Q8_0, Requantized

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

#: ``general.file_type`` of a file that is mostly Q8_0.
MOSTLY_Q8_0 = 7
#: Blocks at a time: what is worked on fits the processor's cache.
_BLOCKS_AT_ONCE = 1 << 13
_COPY_BYTES = 1 << 22


class _Loss(msgspec.Struct):
    """Squares summed up: of what changed, and of the weights."""

    change: float = 0.0
    weights: float = 0.0

    @property
    def relative_rms(self) -> float:
        return float((self.change / self.weights) ** 0.5) if self.weights else 0.0


def weights_of(blocks: Bytes, kind: int) -> Floats:
    """The weights of blocks of Q4_1 or Q5_1, a row of 32 each."""
    scale, minimum = (blocks[:, at : at + 2].view("<f2").astype(np.float32) for at in (0, 2))
    nibbles = blocks[:, -16:]
    levels = np.concatenate([nibbles & 15, nibbles >> 4], axis=1)
    if KINDS[kind] == "Q5_1":
        fifth = np.unpackbits(blocks[:, 4:8], axis=1, bitorder="little")
        levels |= fifth << 4
    return levels * scale + minimum


def q8_0_of(weights: Floats) -> Bytes:
    """The blocks of Q8_0 that come nearest to rows of 32 weights."""
    scale = np.abs(weights).max(axis=1, keepdims=True) / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    levels = weights * inverse
    levels += np.copysign(np.float32(0.5), levels)
    return np.concatenate(
        [scale.astype("<f2").view(np.uint8), levels.astype(np.int8).view(np.uint8)], axis=1
    )


def weights_of_q8_0(blocks: Bytes) -> Floats:
    """What the blocks of Q8_0 stand for."""
    scale = blocks[:, :2].view("<f2").astype(np.float32)
    return blocks[:, 2:].view(np.int8) * scale


def rewrite(source: Path, target: Path) -> Requantized:
    """Write ``target``, and tell how far its weights are from those of ``source``.

    Raises:
        ModelFileError: the source isn't a whole GGUF file.
        OSError: the disk refuses.
    """
    layout = read_layout(source)
    losses: dict[str, _Loss] = {}
    with source.open("rb") as given, target.open("wb") as out:
        data = np.memmap(given, np.uint8, "r")
        placed = _placed(layout)
        _write_head(data, layout, placed, out)
        for tensor, after in zip(layout.tensors, placed, strict=True):
            out.write(bytes(-out.tell() % layout.alignment))
            start = layout.tensors_at + tensor.offset
            raw = data[start : start + tensor.size_bytes]
            if after.kind == tensor.kind:
                raw.tofile(out)
            else:
                losses[tensor.name] = _write_q8_0(raw, tensor.kind, out)
            _tell(start + tensor.size_bytes, data.size)
        out.write(bytes(-out.tell() % layout.alignment))
    return _summary(layout, losses)


def _placed(layout: GgufLayout) -> list[GgufTensor]:
    """The tensors as the new file has them, one after the other in the same order."""
    placed: list[GgufTensor] = []
    at = 0
    for tensor in layout.tensors:
        kind, size = tensor.kind, tensor.size_bytes
        if kind in KINDS:
            size = size // BLOCKS[kind][1] * BLOCKS[Q8_0][1]
            kind = Q8_0
        placed.append(msgspec.structs.replace(tensor, kind=kind, size_bytes=size, offset=at))
        at += -(-size // layout.alignment) * layout.alignment
    return placed


def _write_head(data: Bytes, layout: GgufLayout, placed: list[GgufTensor], out: BinaryIO) -> None:
    """Everything before the tensors: the fields as they are, but for the file's type."""
    fields = bytearray(data[: layout.descriptions_at])
    if layout.file_type_at is not None:
        struct.pack_into("<I", fields, layout.file_type_at, MOSTLY_Q8_0)
    out.write(fields)
    for tensor in placed:
        name = tensor.name.encode()
        out.write(struct.pack("<Q", len(name)) + name)
        rank = len(tensor.dimensions)
        out.write(struct.pack(f"<I{rank}QIQ", rank, *tensor.dimensions, tensor.kind, tensor.offset))


def _write_q8_0(raw: Bytes, kind: int, out: BinaryIO) -> _Loss:
    loss = _Loss()
    for blocks in _pieces(raw.reshape(-1, BLOCKS[kind][1])):
        weights = weights_of(blocks, kind)
        made = q8_0_of(weights)
        made.tofile(out)
        change = weights_of_q8_0(made) - weights
        loss.change += float(np.vdot(change, change))
        loss.weights += float(np.vdot(weights, weights))
    return loss


def _pieces(blocks: Bytes) -> Iterator[Bytes]:
    for start in range(0, len(blocks), _BLOCKS_AT_ONCE):
        yield np.ascontiguousarray(blocks[start : start + _BLOCKS_AT_ONCE])


def _summary(layout: GgufLayout, losses: dict[str, _Loss]) -> Requantized:
    worst = max(losses, key=lambda name: losses[name].relative_rms)
    whole = _Loss(
        change=sum(loss.change for loss in losses.values()),
        weights=sum(loss.weights for loss in losses.values()),
    )
    kinds = {KINDS[tensor.kind] for tensor in layout.tensors if tensor.kind in KINDS}
    return Requantized(
        source=" and ".join(sorted(kinds)),
        tensors=len(losses),
        relative_rms=whole.relative_rms,
        worst_relative_rms=losses[worst].relative_rms,
        worst_tensor=worst,
    )


def _tell(done: int, total: int) -> None:
    sys.stdout.write(f"Progress {done} of {total}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    source, target = map(Path, arguments)
    try:
        made = rewrite(source, target)
    except (ModelFileError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(msgspec.json.encode(made).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
