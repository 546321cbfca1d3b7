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
from .outcomes import Answerer, Outcome
from .samples import SAMPLES, Sample
from .serving import Server

#: Of one sample, and of a program with all its cases: long, for a machine that has other
#: things to do.
_SAMPLE_S = 600
_PROGRAM_S = 1800
#: What is given to a client's process of our own environment.
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")


class Samples(msgspec.Struct, frozen=True):
    """The samples of the official package, and the package that they are run with."""

    package: str
    interpreter: Path
    folder: Path

    @property
    def client(self) -> str:
        return f"{self.package} (samples)"

    @property
    def version(self) -> str:
        return environments.version(self.interpreter, self.package)


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
    client: str,
    version: str,
    command: list[str],
    given: Mapping[str, str],
    cwd: Path,
    *,
    answered_by: Answerer = "packaged models",
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
            timeout=_PROGRAM_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield _broken(client, version, "", f"no end within {_PROGRAM_S} s", began)
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
            answered_by=answered_by,
            seconds=said.seconds,
        )
    if done.returncode or not (lines or given["ONLY"]):
        why = f"exit {done.returncode}: {(done.stderr or done.stdout)[-1500:]}"
        yield _broken(client, version, "", why, began)


def run_samples(samples: Samples, server: Server, *, wanted: str) -> Iterator[Outcome]:
    """Every sample of the official package whose name has ``wanted`` in it."""
    version, folder = samples.version, samples.folder
    data_files.write(folder)
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("sample_*.py")}
    for name in sorted(there - {sample.file for sample in SAMPLES}):
        unchecked = Sample(name, "chat", lambda _: None)
        ran = _Ran("no check for it", 0.0)
        yield _outcome(samples.client, version, name, unchecked, ran)
    for sample in SAMPLES:
        if wanted in sample.name and sample.needs != "entra":
            ran = _run_sample(samples, sample, _where(sample, server))
            yield _outcome(samples.client, version, sample.file, sample, ran)


def run_entra_samples(
    samples: Samples, server: Server, issuer: str, *, wanted: str
) -> Iterator[Outcome]:
    """The samples with tokens, which azure-identity gets from a managed-identity endpoint."""
    authority = str(server.ca)
    given = {
        "IDENTITY_ENDPOINT": f"{issuer}/msi/token",
        "IDENTITY_HEADER": IDENTITY_HEADER,
        # The first is what azure-core reads, the second what OpenSSL does.
        "REQUESTS_CA_BUNDLE": authority,
        "SSL_CERT_FILE": authority,
        "AZURE_AI_CHAT_ENDPOINT": f"{server.url}/models",
        "AZURE_AI_CHAT_DEPLOYMENT_NAME": "smollm2",
        "AZURE_AI_CHAT_MODEL_DEPLOYMENT_NAME": "smollm2",
    }
    for sample in SAMPLES:
        if wanted in sample.name and sample.needs == "entra":
            ran = _run_sample(samples, sample, given)
            yield _outcome(samples.client, samples.version, sample.file, sample, ran)


class _Ran(msgspec.Struct, frozen=True):
    """How one sample ended: ``why`` it failed, or nothing."""

    why: str
    seconds: float


def _run_sample(samples: Samples, sample: Sample, given: Mapping[str, str]) -> _Ran:
    began = time.monotonic()
    with ingestion() as monitor:
        try:
            done = subprocess.run(
                [str(samples.interpreter), str(samples.folder / sample.file)],
                cwd=samples.folder,
                env=bare_environment(**monitor.environment, **given),
                capture_output=True,
                text=True,
                timeout=_SAMPLE_S,
                check=False,
            )
            assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-1500:]}"
            sample.check(done.stdout)
            if "azure_monitor" in sample.name:
                named = {span["name"]: span for span in monitor.spans()}
                assert "get_temperature" in named, f"these spans arrived: {sorted(named)}"
                assert named["get_temperature"]["properties"]["requested_city"] == "Seattle"
        except subprocess.TimeoutExpired:
            why = f"no end within {_SAMPLE_S} s"
        except (AssertionError, ValueError, KeyError, TypeError) as error:
            why = f"{type(error).__name__}: {error}"
        else:
            why = ""
    return _Ran(why, time.monotonic() - began)


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


def _outcome(client: str, version: str, case: str, sample: Sample, ran: _Ran) -> Outcome:
    return Outcome(
        client=client,
        version=version,
        operation=sample.operation,
        case=case,
        state="failed" if ran.why else "ok",
        why=ran.why,
        answered_by="scripted upstream" if sample.needs == "scripted" else "packaged models",
        seconds=ran.seconds,
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
