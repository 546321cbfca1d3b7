"""Code for the official Python package made code for ours: its import lines, nothing else."""

import re
import shutil
from pathlib import Path

_IMPORT = re.compile(r"^([ \t]*(?:from|import)[ \t]+)azure\.ai\.inference\b", re.MULTILINE)


def ported(source: str) -> str:
    """The same program with ``interlingua`` in the place of ``azure.ai.inference``."""
    return _IMPORT.sub(r"\1interlingua", source)


def port(folder: Path, to: Path) -> Path:
    """A copy of a folder whose programs are ported; what was in its place is gone."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to)
    for program in to.rglob("*.py"):
        program.write_text(ported(program.read_text("utf-8")), "utf-8")
    return to
