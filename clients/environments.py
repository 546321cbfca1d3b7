"""Where the clients are installed: an environment of its own for each, below ``.clients``.

An environment is made once and made anew when what it is made of changes.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
HOME = ROOT / ".clients"

#: The official package's source distribution, whose samples are run as they are.
SDIST = "azure_ai_inference-1.0.0b9"
SDIST_SHA256 = "1feb496bd84b01ee2691befc04358fa25d7c344d8288e99364438859ad7cd5a4"

#: To install one environment, on a machine that has other things to do.
_INSTALL_S = 3600
_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")


class SetupFailed(Exception):
    """An environment can't be made; the message says why."""


def python(name: str, of: Path = HERE) -> Path:
    """The interpreter of the environment with ``requirements/{name}.txt`` below ``of``, made if
    need be.
    """
    requirements = of / "requirements" / f"{name}.txt"
    made_of = requirements.read_bytes()
    if b"--editable" in made_of:
        made_of += (ROOT / "pyproject.toml").read_bytes()
    folder = HOME / name if of == HERE else HOME / of.name / name
    interpreter = folder / "bin" / "python"
    if _is_current(folder, made_of):
        return interpreter
    _tell(name)
    shutil.rmtree(folder, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(folder))
    install = (*_PIP, "install", "--quiet", "--requirement", str(requirements))
    _run(str(interpreter), *install, cwd=ROOT)
    _mark(folder, made_of)
    return interpreter


def node() -> Path:
    """The folder with the JavaScript clients and our programs, installed if need be."""
    if shutil.which("npm") is None:
        raise SetupFailed("Node isn't installed")
    folder = HOME / "node"
    lock = (HERE / "node" / "package-lock.json").read_bytes()
    if not _is_current(folder, lock):
        _tell("node")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / "node" / name, folder / name)
        _run("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", cwd=folder)
        _mark(folder, lock)
    for program in (HERE / "node").glob("*.mjs"):
        shutil.copy(program, folder / program.name)
    return folder


def typescript() -> Path:
    """A copy of the TypeScript client with what it is built by, installed if need be."""
    if shutil.which("npm") is None:
        raise SetupFailed("Node isn't installed")
    package, folder = HERE / "typescript", HOME / "typescript"
    made_of = (package / "package.json").read_bytes()
    if not _is_current(folder, made_of):
        _tell("typescript")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copy(package / "package.json", folder)
        options = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
        _run("npm", "install", *options, "--loglevel=error", cwd=folder)
        _mark(folder, made_of)
    for name in ("src", "test", "dist"):
        shutil.rmtree(folder / name, ignore_errors=True)
    kept = shutil.ignore_patterns("node_modules", "dist")
    shutil.copytree(package, folder, ignore=kept, dirs_exist_ok=True)
    for program in ("cases.mjs", "typescript.mjs"):
        shutil.copy(HERE / "node" / program, folder)
    return folder


def samples() -> Path:
    """The samples folder of the official package, as published."""
    archive = HOME / f"{SDIST}.tar.gz"
    if not archive.exists():
        _tell("the samples of azure-ai-inference")
        HOME.mkdir(exist_ok=True)
        requirement = SDIST.replace("_", "-").replace("-1", "==1")
        options = ("--quiet", "--no-binary=:all:", "--no-deps", "--dest", str(HOME))
        _run(sys.executable, *_PIP, "download", *options, requirement)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SDIST_SHA256:
        raise SetupFailed(f"{archive} isn't the published source distribution")
    folder = HOME / SDIST
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(archive) as packed:
        packed.extractall(HOME, filter="data")
    return folder / "samples"


def version(interpreter: Path, package: str) -> str:
    """The version of a package in a Python environment."""
    code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    return _run(str(interpreter), "-c", code, package).strip()


def node_version(folder: Path, package: str) -> str:
    found = json.loads((folder / "node_modules" / package / "package.json").read_text("utf-8"))
    return str(found["version"])


def _is_current(folder: Path, made_of: bytes) -> bool:
    mark = folder / ".made-of"
    return mark.exists() and mark.read_bytes() == made_of


def _mark(folder: Path, made_of: bytes) -> None:
    (folder / ".made-of").write_bytes(made_of)


def _tell(what: str) -> None:
    print(f"Installing {what} into {HOME.name} (once)", flush=True)


def _run(*command: str, cwd: Path | None = None) -> str:
    called = " ".join(command[:6])
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=_INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SetupFailed(f"{called} …: no end within {_INSTALL_S} s") from error
    if done.returncode:
        raise SetupFailed(f"{called} …: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout
