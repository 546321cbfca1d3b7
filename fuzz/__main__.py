"""Ask what nobody would: ``make fuzz``, or ``python -m fuzz description --examples 20``.

``description``: schemathesis asks a running server what its OpenAPI document allows, and what
it doesn't, in every phase that it has. ``parsers``: atheris, guided by coverage, feeds each
parser of foreign bytes. What crashes one is kept below ``.clients/fuzz`` and becomes a test.
What a run of full length found is put down in ``docs/dev/steadiness.md``.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clients.environments import HOME, SetupFailed, python

from .report import Fuzzed, keep

HERE = Path(__file__).parent
TARGETS = (
    "sse", "amazon", "data_url", "image", "gguf", "onnx", "pth", "retry_after", "requests",
    "replies",
)  # fmt: skip
PHASES = "examples,coverage,fuzzing,stateful"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,response_headers_conformance,allow_header_conformance,"
    "unsupported_method,ignored_auth"
)
KEY = "a-key-for-fuzzing"
#: Of the length that is put down. Of more examples each one takes longer to make up.
EXAMPLES, SECONDS = 100, 60
_DESCRIPTION = "the API, by its description"
_CONFIG = """
[server]
keys = ["${INTERLINGUA_FUZZ_KEY}"]

[[deployment]]
name = "echo"
model = "echo"
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="description, parsers; else both")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="the most of an operation")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each parser")
    parser.add_argument("--only", choices=TARGETS, help="one parser")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="of schemathesis, a run each"
    )
    given = parser.parse_args()
    failed = False
    for part in given.parts or ("description", "parsers"):
        if part == "description":
            held = [description(given.examples, seed) for seed in given.seeds]
            failed |= not all(held)
        elif part == "parsers":
            failed |= not parsers((given.only,) if given.only else TARGETS, given.seconds)
        else:
            parser.error(f"no such part: {part}; there are: description, parsers")
    return failed


def description(examples: int, seed: int) -> bool:
    """Whether a real server holds what its document says, whatever it is asked."""
    with tempfile.TemporaryDirectory() as folder, _serving(Path(folder)) as (url, log):
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
            *("--header", f"api-key: {KEY}", "--checks", CHECKS, "--phases", PHASES),
            *("--max-examples", str(examples), "--workers", "1", "--seed", str(seed)),
            *("--no-color", "--continue-on-failure"),
        ]
        began = time.monotonic()
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                print(line, end="", flush=True)
                said.append(line)
        took = time.monotonic() - began
        defects = log.read_text().count("Traceback")
        failures = _counted(r"(\d+) unique failures?", said) + _counted(r"(\d+) errors?\b", said)
        name = f"{_DESCRIPTION}, seed {seed}"
        found = Fuzzed(name, _counted(r"(\d+) generated", said), took, failures + defects)
        print(
            f"description: {found.cases:,} cases in {took:.0f} s, {defects} tracebacks in the log"
        )
        if examples >= EXAMPLES:
            keep(found)
        return process.returncode == 0 and not defects


def _counted(pattern: str, lines: list[str]) -> int:
    """The last such number of what was said; 0: there is none."""
    return int((re.findall(pattern, "".join(lines)) or [0])[-1])


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[str, Path]]:
    """A server's address and its log."""
    (folder / "interlingua.toml").write_text(_CONFIG)
    log = folder / "server.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "interlingua", "serve", "--port", "0"],
            cwd=folder,
            env={**os.environ, "INTERLINGUA_FUZZ_KEY": KEY, "INTERLINGUA_DATA_DIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    yield found[0], log
                    return
            raise SetupFailed(log.read_text())
        finally:
            process.terminate()
            process.stdout.read()


def parsers(targets: tuple[str, ...], seconds: int) -> bool:
    """Whether no input broke a parser."""
    interpreter = python("fuzz", HERE)
    held = True
    for target in targets:
        kept = HOME / "fuzz" / "corpus" / target
        kept.mkdir(parents=True, exist_ok=True)
        crashes = HOME / "fuzz" / "crashes" / f"{target}-"
        crashes.parent.mkdir(exist_ok=True)
        done = subprocess.run(
            [
                *(interpreter, "-m", "fuzz.parsers", target, kept),
                *(f"-max_total_time={seconds}", f"-artifact_prefix={crashes}"),
                *("-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"),
            ],
            cwd=HERE.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        count = _counted(r"number_of_executed_units: (\d+)", [done.stderr])
        print(f"{target}: {count:,} inputs in {seconds} s, exit code {done.returncode}", flush=True)
        if seconds >= SECONDS:
            keep(Fuzzed(f"parser: {target}", count, seconds, int(done.returncode != 0)))
        if done.returncode != 0:
            held = False
            print(done.stderr[-3000:], file=sys.stderr)
    return held


if __name__ == "__main__":
    sys.exit(main())
