"""From what was fetched to what an engine opens: a move, or a conversion in a process of
its own, so that whoever pulls never imports what converts.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

from interlingua.errors import ModelFileError

from .card import Card, FileRole
from .programs import Progress

#: Counted up when a conversion makes another graph, so that stored ones are made again.
_REVISIONS = {"efficientnet-lite0": 1, "minilm": 1}
#: The programs that convert.
_PROGRAMS = {
    "efficientnet-lite0": "interlingua.catalog.efficientnet",
    "minilm": "interlingua.catalog.minilm",
}


def preparation_of(card: Card) -> str | None:
    """The conversion and its revision, as the store records it."""
    return f"{card.prepare}/{_REVISIONS[card.prepare]}" if card.prepare else None


def prepare(card: Card, source: Path, target: Path, progress: Progress) -> dict[FileRole, Path]:
    """Move the card's files from ``source`` to ``target``, converted where the card says so.

    Raises:
        ModelFileError: the conversion failed, or what it needs isn't installed.
    """
    files: dict[FileRole, Path] = {}
    for file in card.files:
        if file.role == "weights" and card.prepare:
            files["model"] = _convert(card, source / file.name, target / "model.onnx", progress)
        else:
            files[file.role] = (source / file.name).replace(target / file.name)
    return files


def _convert(card: Card, weights: Path, model: Path, progress: Progress) -> Path:
    missing = [name for name in ("numpy", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelFileError(
            f"{card.name} is converted with {' and '.join(missing)}, which isn't installed: "
            "pip install 'interlingua[onnx]'"
        )
    assert card.prepare
    progress(0, None, f"converting {weights.name}")
    done = subprocess.run(
        [sys.executable, "-m", _PROGRAMS[card.prepare], str(weights), str(model)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 or not model.is_file():
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelFileError(
            f"{weights.name} of {card.name} can't be converted to ONNX ({said[:300]}): "
            "pull it again; if it stays so, update the `onnx` and `numpy` packages"
        )
    return model
