"""Run a client's programs and samples, each in the environment of its client."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from tests.support.issuer import IDENTITY_HEADER

from . import data_files, environments
from .ingestion import ingestion
from .outcomes import Outcome
from .samples import SAMPLES, Sample
from .serving import Server

#: Long, for a machine that has other things to do.
_TIMEOUT_S = 600
#: What is given to a client's process of our own environment.
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")


class Said(msgspec.Struct, frozen=True):
    """One line of a program: a case that it ran."""

    operation: str
    case: str
    ok: bool
    why: str = ""
    seconds: float = 0.0


def bare_environment(**more: str) -> dict[str, str]:
    """An environment without what is set here by chance."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONWARNINGS": "ignore", "NO_PROXY": "127.0.0.1", **more}


def run_program(
    client: str, version: str, command: list[str], given: Mapping[str, str], cwd: Path
) -> Iterator[Outcome]:
    """The cases of a program that prints one line of JSON for each."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=bare_environment(**given),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield _broken(client, version, "", f"no end within {_TIMEOUT_S} s", began)
        return
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"operation"')]
    for line in lines:
        said = msgspec.json.decode(line, type=Said)
        yield Outcome(
            client=client,
            version=version,
            operation=said.operation,
            case=said.case,
            state="ok" if said.ok else "failed",
            why=said.why,
            seconds=said.seconds,
        )
    if done.returncode or not (lines or given["ONLY"]):
        why = f"exit {done.returncode}: {(done.stderr or done.stdout)[-1500:]}"
        yield _broken(client, version, "", why, began)


def run_samples(
    interpreter: Path, server: Server, folder: Path, *, wanted: str
) -> Iterator[Outcome]:
    """Every sample of the official package whose name has ``wanted`` in it."""
    version = environments.version(interpreter, "azure-ai-inference")
    data_files.write(folder)
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("sample_*.py")}
    for name in sorted(there - {sample.file for sample in SAMPLES}):
        yield _outcome(name, version, Sample(name, "chat", lambda _: None), why="no check for it")
    for sample in SAMPLES:
        if wanted in sample.name and sample.needs != "entra":
            given = _where(sample, server)
            yield _run_sample(interpreter, version, sample, given, folder)


def run_entra_samples(
    interpreter: Path, server: Server, issuer: str, folder: Path, *, wanted: str
) -> Iterator[Outcome]:
    """The samples with tokens, which azure-identity gets from a managed-identity endpoint."""
    version = environments.version(interpreter, "azure-ai-inference")
    given = {
        "IDENTITY_ENDPOINT": f"{issuer}/msi/token",
        "IDENTITY_HEADER": IDENTITY_HEADER,
        "REQUESTS_CA_BUNDLE": str(server.ca),
        "AZURE_AI_CHAT_ENDPOINT": f"{server.url}/models",
        "AZURE_AI_CHAT_DEPLOYMENT_NAME": "smollm2",
        "AZURE_AI_CHAT_MODEL_DEPLOYMENT_NAME": "smollm2",
    }
    for sample in SAMPLES:
        if wanted in sample.name and sample.needs == "entra":
            yield _run_sample(interpreter, version, sample, given, folder)


def _run_sample(
    interpreter: Path, version: str, sample: Sample, given: Mapping[str, str], folder: Path
) -> Outcome:
    began = time.monotonic()
    with ingestion() as monitor:
        try:
            done = subprocess.run(
                [str(interpreter), str(folder / sample.file)],
                cwd=folder,
                env=bare_environment(**monitor.environment, **given),
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
            assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-1500:]}"
            sample.check(done.stdout)
            if "azure_monitor" in sample.name:
                named = {span["name"]: span for span in monitor.spans()}
                assert "get_temperature" in named, f"these spans arrived: {sorted(named)}"
                assert named["get_temperature"]["properties"]["requested_city"] == "Seattle"
        except subprocess.TimeoutExpired:
            why = f"no end within {_TIMEOUT_S} s"
        except (AssertionError, ValueError, KeyError, TypeError) as error:
            why = f"{type(error).__name__}: {error}"
        else:
            why = ""
    return _outcome(sample.file, version, sample, why=why, seconds=time.monotonic() - began)


def _where(sample: Sample, server: Server) -> dict[str, str]:
    """The variables that the samples read. An endpoint's deployment answers by its path."""
    chat, texts, images = "scripted", "scripted-texts", "scripted-images"
    if sample.needs == "packaged":
        chat, texts, images = "smollm2", "minilm", "efficientnet"
    return {
        "AZURE_AI_CHAT_ENDPOINT": f"{server.url}/endpoints/{chat}",
        "AZURE_AI_CHAT_KEY": server.key,
        "AZURE_AI_EMBEDDINGS_ENDPOINT": f"{server.url}/endpoints/{texts}",
        "AZURE_AI_EMBEDDINGS_KEY": server.key,
        "AZURE_AI_IMAGE_EMBEDDINGS_ENDPOINT": f"{server.url}/endpoints/{images}",
        "AZURE_AI_IMAGE_EMBEDDINGS_KEY": server.key,
        "AZURE_OPENAI_CHAT_ENDPOINT": f"{server.url}/openai/deployments/{chat}",
        "AZURE_OPENAI_CHAT_KEY": server.key,
        "AZURE_OPENAI_EMBEDDINGS_ENDPOINT": f"{server.url}/openai/deployments/{texts}",
        "AZURE_OPENAI_EMBEDDINGS_KEY": server.key,
    }


def _outcome(case: str, version: str, sample: Sample, *, why: str, seconds: float = 0.0) -> Outcome:
    return Outcome(
        client="azure-ai-inference (samples)",
        version=version,
        operation=sample.operation,
        case=case,
        state="failed" if why else "ok",
        why=why,
        answered_by="scripted upstream" if sample.needs == "scripted" else "packaged models",
        seconds=seconds,
    )


def _broken(client: str, version: str, case: str, why: str, began: float) -> Outcome:
    return Outcome(
        client=client,
        version=version,
        operation="chat",
        case=case or "the program",
        state="failed",
        why=why,
        seconds=time.monotonic() - began,
    )
