"""``interlingua chat``: one question, or a conversation."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from interlingua.errors import ApiError, ContextLengthExceeded
from interlingua.models import JsonSchemaFormat

from .connection import Connection, connects
from .conversation import Answer, Conversation
from .screen import Screen, note

if TYPE_CHECKING:
    from interlingua.sdk.arguments import ChatCall
    from interlingua.sdk.one_client import Client

COMMANDS = """/system TEXT  set the system message (alone: show it)
/reset        forget the conversation
/exit         leave, as Ctrl-D does
Ctrl-C stops an answer."""


@click.command(
    epilog="\b\nExamples:\n"
    '  interlingua chat "Name three rivers."\n'
    "  cat letter.txt | interlingua chat --system 'Answer in one sentence.'\n"
    "  interlingua chat --local ./model.gguf\n"
    '  interlingua chat --json-schema person.json --json "Invent a person."'
)
@click.argument("prompt", required=False)
@connects
@click.option("--local", metavar="MODEL", help="Run this model here: a catalog name or a path.")
@click.option("--system", "-s", metavar="TEXT", help="What the model is told before all else.")
@click.option(
    "--temperature",
    "-t",
    type=click.FloatRange(0, 2),
    metavar="NUMBER",
    help="0: the likeliest words; up to 2: bolder ones.",
)
@click.option("--max-tokens", type=click.IntRange(min=0), help="Most tokens of an answer.")
@click.option(
    "--seed",
    type=click.IntRange(-(2**63), 2**63 - 1),
    metavar="INTEGER",
    help="Same seed, same answer.",
)
@click.option("--stop", multiple=True, metavar="TEXT", help="Stop before this; repeatable.")
@click.option(
    "--json-schema",
    "schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Answer with JSON that follows the schema in this file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line per answer.")
def chat(
    connection: Connection,
    prompt: str | None,
    *,
    local: str | None,
    system: str | None,
    temperature: float | None,
    max_tokens: int | None,
    seed: int | None,
    stop: tuple[str, ...],
    schema: Path | None,
    as_json: bool,
) -> None:
    """Talk to a model, or ask it one question.

    With PROMPT, or a text piped in, one answer is printed; without, a conversation begins.
    """
    parameters: ChatCall = {
        "temperature": temperature,
        "max_tokens": max_tokens,
        "seed": seed,
        "stop": list(stop) or None,
        "response_format": _format(schema) if schema else None,
    }
    if prompt is None and not sys.stdin.isatty():
        prompt = _piped()
    with _place(connection, local) as place, place.open() as client:
        parameters["model"] = place.model
        talk = Talk(place, client, Conversation(system), parameters, as_json=as_json)
        if prompt is None:
            _converse(talk)
        else:
            talk.say(_utf8(prompt), Answer())


def _place(connection: Connection, local: str | None) -> AbstractContextManager[Connection]:
    if local is None:
        return nullcontext(connection)
    if connection.endpoint or connection.key:
        raise click.UsageError("--local runs a model here: it takes no --endpoint and no --key")
    from .local import local_server

    return local_server(local, connection)


class Talk:
    """A conversation with an endpoint, shown as it goes."""

    def __init__(
        self,
        place: Connection,
        client: "Client",
        conversation: Conversation,
        parameters: "ChatCall",
        *,
        as_json: bool,
    ) -> None:
        self.conversation = conversation
        self._place = place
        self._client = client
        self._parameters = parameters
        self._as_json = as_json

    def say(self, prompt: str, answer: Answer) -> None:
        """Ask, and show what is answered.

        Raises:
            ApiError: the call failed.
        """
        with self._place.told():
            messages = self.conversation.messages(prompt)
            updates = self._client.stream_chat(messages, **self._parameters)
            if self._as_json:
                answer.hear(updates)
                click.echo(answer.json())
                return
            screen = Screen()
            answer.hear(updates, screen.show)
            screen.end(answer)


def _converse(talk: Talk) -> None:
    _edit_lines()
    note("/help lists the commands; Ctrl-D leaves")
    while True:
        try:
            line = input("> ").strip()
        except KeyboardInterrupt:
            click.echo(err=True)
            continue
        except EOFError:
            click.echo(err=True)
            return
        if _is_command(line):
            if not _obey(line, talk.conversation):
                return
        elif line:
            _turn(talk, line)


def _turn(talk: Talk, prompt: str) -> None:
    """One question of a conversation: its failure is told and the conversation goes on."""
    answer = Answer()
    try:
        talk.say(_utf8(prompt), answer)
    except KeyboardInterrupt:
        click.echo()
        note("stopped")
    except (ApiError, click.UsageError) as error:
        click.echo(f"Error: {error}", err=True)
        if isinstance(error, ContextLengthExceeded):
            note("/reset begins a new conversation")
        return
    if answer.text:
        talk.conversation.heard(prompt, answer.text)


def _is_command(line: str) -> bool:
    return line.startswith("/") and line.partition(" ")[0][1:].isalpha()


def _obey(line: str, conversation: Conversation) -> bool:
    """Do what a line with a slash says; False: leave."""
    name, _, rest = line.partition(" ")
    commands: dict[str, Callable[[], None]] = {
        "/help": lambda: click.echo(COMMANDS, err=True),
        "/reset": conversation.reset,
        "/system": lambda: _system(conversation, rest.strip()),
    }
    if name in {"/exit", "/quit"}:
        return False
    if name in commands:
        commands[name]()
    else:
        note(f"there is no {name}; /help lists the commands")
    return True


def _system(conversation: Conversation, text: str) -> None:
    if text:
        conversation.system = text
    else:
        note(conversation.system or "no system message is set")


def _edit_lines() -> None:
    """Let the arrow keys edit and recall lines, where Python was built with that."""
    try:
        import readline  # noqa: F401  importing it is what changes input()
    except ImportError:
        return


def _piped() -> str:
    try:
        text = sys.stdin.buffer.read().decode().strip()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"what is piped in is not UTF-8: {error}") from error
    if not text:
        raise click.UsageError("no PROMPT is given, and nothing is piped in")
    return text


def _utf8(prompt: str) -> str:
    """The prompt, which a terminal or a shell may have given as bytes of another encoding."""
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise click.UsageError("the prompt is not UTF-8") from error
    return prompt


def _format(path: Path) -> JsonSchemaFormat:
    try:
        schema = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"{path} is not a JSON object: {error}") from error
    return JsonSchemaFormat(name="answer", schema=schema, strict=True)
