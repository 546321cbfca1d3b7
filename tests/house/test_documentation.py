"""The documentation agrees with the code, and what it shows can be typed."""

import json
import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
import pytest
from click.testing import CliRunner

from interlingua.cli.main import cli
from interlingua.config.schema import Config

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


class Snippet(NamedTuple):
    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _snippets(*languages: str) -> list[Snippet]:
    return [snippet for page in PAGES for snippet in _fenced(page) if snippet.language in languages]


def _fenced(page: Path) -> Iterator[Snippet]:
    text = page.read_text("utf-8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 2
        inside = "\n".join(x.removeprefix(found[1]) for x in found[3].splitlines())
        yield Snippet(page, line, found[2], inside)


@pytest.mark.parametrize("snippet", _snippets("python"), ids=str)
def test_python_snippets_compile(snippet: Snippet) -> None:
    compile(snippet.text, str(snippet), "exec", dont_inherit=True)


@pytest.mark.parametrize("snippet", _snippets("json"), ids=str)
def test_json_snippets_parse(snippet: Snippet) -> None:
    json.loads(snippet.text)


@pytest.mark.parametrize("snippet", _snippets("toml"), ids=str)
def test_toml_snippets_are_configurations(snippet: Snippet) -> None:
    msgspec.convert(tomllib.loads(snippet.text), Config)


@pytest.mark.parametrize("snippet", _snippets("console"), ids=str)
def test_console_snippets_name_commands_and_options_that_exist(snippet: Snippet) -> None:
    for line in re.sub(r"\\\n\s*", "", snippet.text).splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words[:1] == ["interlingua"]:
            _typed(words[1:])
        elif words[:1] == ["make"]:
            assert f"\n{words[1]}: " in (ROOT / "Makefile").read_text("utf-8"), line


def _typed(words: list[str]) -> None:
    """Follow the groups, then ask the command to parse what is left."""
    command: click.Command = cli
    context = click.Context(cli, info_name="interlingua")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"interlingua has no command {words[0]}"
        command, context = found, click.Context(found, info_name=words[0], parent=context)
        words = words[1:]
    options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    named = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert named <= options | {"--help", "-h"}, f"{command.name} has no {named - options}"


def test_links_lead_to_files_and_headings() -> None:
    dead = []
    for page in PAGES:
        for target, anchor in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
            if re.match(r"[a-z]+:", target):
                continue
            file = (page.parent / target).resolve()
            if not file.exists() or (anchor and anchor[1:] not in _anchors(file)):
                dead.append(f"{page.relative_to(ROOT)}: {target}{anchor}")
    assert dead == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        targets = LINK.findall(page.read_text("utf-8"))
        found = [(page.parent / t).resolve() for t, _ in targets if not re.match(r"[a-z]+:", t)]
        waiting += [p for p in found if p.is_file()]
        waiting += [q for p in found if p.is_dir() for q in p.glob("*.md")]
    assert [str(p.relative_to(ROOT)) for p in PAGES if p not in seen] == []


def test_what_comes_from_the_code_is_as_the_code_says() -> None:
    pages = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
    stale = [str(p.relative_to(ROOT)) for p, text in pages.items() if p.read_text() != text]
    assert stale == [], "run `make docs`"


def test_every_part_that_comes_from_the_code_is_on_a_page() -> None:
    blocks = runpy.run_path(str(ROOT / "docs" / "generate.py"))["BLOCKS"]
    shown = {name for p in PAGES for name in re.findall(r"from the code: (\w+)", p.read_text())}
    assert shown == set(blocks)


def test_help_of_every_command_is_shown() -> None:
    for name in cli.list_commands(click.Context(cli)):
        result = CliRunner().invoke(cli, [name, "--help"])
        assert result.exit_code == 0
        assert f"interlingua {name}" in (ROOT / "docs/reference/cli.md").read_text("utf-8")
