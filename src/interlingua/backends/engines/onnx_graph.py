"""ONNX graphs in an engine's process: opened with care, run from several threads."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import onnxruntime

from interlingua.catalog.onnx_files import check_onnx
from interlingua.errors import ModelFileError

Floats = npt.NDArray[np.float32]

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: The element types that the engines can feed.
_TYPES: Mapping[str, type[np.generic]] = {
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}


class Graph:
    """One graph and its session. ``run`` may be called from any thread."""

    def __init__(self, path: Path, *, threads: int, vectors: Sequence[str]) -> None:
        """``vectors`` are names of outputs, the one to be read first.

        Raises:
            ModelFileError: the file isn't a graph that runs here, or gives none of them.
        """
        check_onnx(path)
        self.path = path
        self._session = attempt(path, _open, path, threads)
        self._rare = onnxruntime.RunOptions()
        self._rare.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.inputs = {value.name: value for value in self._session.get_inputs()}
        outputs = {value.name: value for value in self._session.get_outputs()}
        self.output = next((name for name in vectors if name in outputs), "")
        if not self.output and len(outputs) == 1:
            (self.output,) = outputs
        if not self.output:
            raise ModelFileError(
                f"{path} gives {', '.join(outputs)}: name the one with the vectors in the card's "
                "`output`"
            )

    def require(self, known: frozenset[str]) -> None:
        """Refuse a graph with an input that nothing here can feed.

        Raises:
            ModelFileError: names the input.
        """
        for value in self.inputs.values():
            if value.name not in known or value.type not in _TYPES:
                raise ModelFileError(
                    f"{self.path} asks for {value.name} as {value.type}, which this engine can't "
                    f"feed: export the model with {', '.join(sorted(known))}"
                )

    def length(self, name: str, axis: int) -> int | None:
        """A length that the graph fixes for an input; ``None`` where it is open."""
        shape = self.inputs[name].shape
        length = shape[axis] if len(shape) > axis else None
        return length if isinstance(length, int) and length > 0 else None

    def run(self, feed: Mapping[str, npt.NDArray[np.generic]], *, rare: bool = False) -> Floats:
        """The vectors' output as float32; what the graph doesn't ask for isn't fed.

        The memory that a run takes is kept for the next ones, unless it is a ``rare`` one.
        """
        typed = {
            name: feed[name].astype(_TYPES[value.type], copy=False)
            for name, value in self.inputs.items()
        }
        (found,) = self._session.run([self.output], typed, self._rare if rare else None)
        return np.asarray(found, dtype=np.float32)


def attempt(path: Path, load: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What a native loader makes of a file.

    onnxruntime and tokenizers raise bare ``Exception``; a future carries it, so that nothing
    here has to catch everything.

    Raises:
        ModelFileError: it refused the file; the message holds its reason.
    """
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(load, *args, **kwargs)
        error = future.exception()
    if error is not None:
        reason = " ".join(str(error).split())[:300]
        raise ModelFileError(
            f"{path} can't be loaded: {reason}. Download it again, or name another file"
        ) from error
    return future.result()


def unit(vectors: Floats) -> Floats:
    """The vectors at length 1; a vector of zeros stays one."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def _open(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
