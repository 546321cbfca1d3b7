"""A look into a model's file by its kind, so that a bad one is named where it arrives."""

from pathlib import Path

from .gguf import read_gguf
from .onnx_files import read_onnx


def inspect_file(path: Path) -> None:
    """Read the header of a GGUF file or an ONNX graph; other files are taken as they are.

    Raises:
        ModelFileError: the file isn't what its name says, or isn't whole.
    """
    if path.suffix == ".gguf":
        read_gguf(path)
    elif path.suffix == ".onnx":
        read_onnx(path)
