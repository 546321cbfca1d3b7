"""What comes with the package, and what it does by being imported: nothing."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_WATCHED = """
import sys

def watch(event, arguments):
    if event.startswith(("socket.connect", "socket.bind", "subprocess", "os.exec", "os.fork",
                         "os.system", "os.posix_spawn", "os.remove", "os.rename", "os.mkdir")):
        raise RuntimeError(f"{event}: {arguments!r}")
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        raise RuntimeError(f"{event}: {arguments!r}")

sys.dont_write_bytecode = True
sys.addaudithook(watch)
import importlib
importlib.import_module(sys.argv[1])
"""


@pytest.mark.parametrize(
    "module",
    [
        "interlingua",
        "interlingua.aio",
        "interlingua.cli.main",
        "interlingua.server.app",
        "interlingua.server.worker",
    ],
)
def test_an_import_connects_runs_and_writes_nothing(module: str) -> None:
    subprocess.run([sys.executable, "-c", _WATCHED, module], check=True, timeout=60)


def test_no_file_of_the_repository_runs_by_being_installed() -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not [name for name in files if name.endswith((".pth", "setup.py", "sitecustomize.py"))]


def test_litellm_is_no_dependency_of_anything_but_its_own_comparison() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    needed = [*project["dependencies"], *(name for extra in extras for name in extra)]
    assert not [name for name in needed if name.startswith(("litellm", "ray"))]


def test_ci_installs_exact_versions() -> None:
    pins = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    lines = [line for line in pins if line and not line.startswith("#")]
    assert len(lines) > 50
    assert not [line for line in lines if "==" not in line]
    assert "PIP_CONSTRAINT" in (ROOT / ".ci" / "run").read_text()
