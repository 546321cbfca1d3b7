"""Whether a GGUF file answers faster here as Q8_0, and making it so.

llama.cpp works on several tokens at once, as it does for prompts and for calls side by
side, with kernels that its types Q4_1 and Q5_1 don't have: there each token unpacks every
weight again. Q8_0 has such kernels, and holds the same weights with a loss below a hundredth.
"""

import importlib.util
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from interlingua.errors import ModelFileError

from .gguf import read_layout
from .gguf_layout import BLOCKS
from .programs import Progress, follow, running
from .sources import require_space

Q8_0 = 8
#: The types that are made Q8_0, by ggml's number.
KINDS: Mapping[int, str] = {3: "Q4_1", 7: "Q5_1"}
#: A larger file costs a single stream, which waits for memory, more than it is worth.
MOST_BYTES = 1 << 30
#: The largest change of the weights, as a share of them, that counts as near-lossless.
MOST_LOSS = 0.01

_CPUINFO = Path("/proc/cpuinfo")


class Requantized(msgspec.Struct, frozen=True, kw_only=True):
    """What was made Q8_0, and how far its weights are from what was downloaded."""

    #: The types there were, as in ``"Q4_1"``.
    source: str
    tensors: int
    #: The root mean square of the changes, as a share of that of the weights.
    relative_rms: float
    #: The same of the tensor that changed most.
    worst_relative_rms: float
    worst_tensor: str


class NotRequantizedError(Exception):
    """Why a file that could be made faster stays as it was downloaded."""


def worth_it(path: Path) -> bool:
    """Whether most weights of the file are of a type that has no such kernel here.

    Only where it was measured: on x86-64 with AVX2.

    Raises:
        ModelFileError: the file isn't a whole GGUF.
    """
    if path.suffix.lower() != ".gguf" or not _has_avx2():
        return False
    tensors = read_layout(path).tensors
    known = all(tensor.kind in BLOCKS for tensor in tensors)
    slow = sum(tensor.size_bytes for tensor in tensors if tensor.kind in KINDS)
    whole = sum(tensor.size_bytes for tensor in tensors)
    return known and whole // 2 < slow and whole <= MOST_BYTES


def requantize(path: Path, progress: Progress) -> tuple[Path, Requantized]:
    """The file's Q8_0 twin beside it, whole and on its own: the file is gone then.

    Raises:
        NotRequantizedError: it can't be had; the file is as it was.
    """
    target = path.with_name(name_of(path))
    if importlib.util.find_spec("numpy") is None:
        raise NotRequantizedError("numpy isn't installed: pip install 'interlingua[llamacpp]'")
    try:
        require_space(path.parent, 2 * path.stat().st_size, target.name)
    except ModelFileError as error:
        raise NotRequantizedError(str(error)) from error
    made = _run(path, target, progress)
    if not made.relative_rms <= MOST_LOSS:
        target.unlink()
        raise NotRequantizedError(f"its weights would change by {made.relative_rms:.2%}")
    path.unlink()
    return target, made


def name_of(path: Path) -> str:
    """The twin's name: another type where the file's names one."""
    for kind in KINDS.values():
        if kind.lower() in path.name.lower():
            at = path.name.lower().index(kind.lower())
            return f"{path.name[:at]}Q8_0{path.name[at + len(kind) :]}"
    return f"{path.stem}.Q8_0{path.suffix}"


def _run(path: Path, target: Path, progress: Progress) -> Requantized:
    what = f"making {path.name} Q8_0 for this CPU"
    progress(0, None, what)
    command = [sys.executable, "-m", "interlingua.catalog.q8_0", str(path), str(target)]
    with running(command) as process:
        tail = follow(process, what, progress)
        status = process.wait()
    said = (tail or [f"exit code {status}"])[-1]
    try:
        return msgspec.json.decode(said, type=Requantized)
    except msgspec.MsgspecError as error:
        target.unlink(missing_ok=True)
        raise NotRequantizedError(f"{path.name} can't be made Q8_0 ({said[:300]})") from error


def _has_avx2() -> bool:
    """Whether Linux tells of it, on x86-64."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    try:
        flags = _CPUINFO.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return " avx2 " in flags
