"""A prompt's template: made from a string or a ``.prompty`` file, filled with values."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from . import mustache
from .mustache import TemplateError
from .prompty import Prompty, Settings, load
from .roles import read_messages, sealed


class PromptTemplate:
    """Messages for a chat from values (Azure: azure.ai.inference.prompts.PromptTemplate).

    Immutable; safe to share.
    """

    def __init__(
        self,
        *,
        api: str = "chat",
        prompty: Prompty | None = None,
        prompt_template: str | None = None,
        model_name: str | None = None,
        seal_values: bool = False,
    ) -> None:
        """Prefer :meth:`from_string` and :meth:`from_prompty`.

        Raises:
            TemplateError: the template can't be read, or there is none.
        """
        if prompty is None and prompt_template is None:
            raise TemplateError("give a prompt_template or a prompty")
        self.prompty = prompty
        self.api = api
        self.model_name = model_name
        self.seals_values = seal_values
        #: For ``complete(**template.parameters)``.
        self.parameters: Settings = {}
        self._text = _dedented(prompt_template or "")
        self._folder: Path | None = None
        if prompty is not None:
            _check(prompty)
            deployment = prompty.model.configuration.get("azure_deployment")
            self.api = prompty.model.api
            self.model_name = None if deployment is None else str(deployment)
            self.parameters = dict(prompty.model.parameters)
            self._text = prompty.content
            self._folder = Path(prompty.file).parent
        self._nodes = mustache.parse(self._text)

    @classmethod
    def from_string(
        cls,
        prompt_template: str,
        api: str = "chat",
        model_name: str | None = None,
        *,
        seal_values: bool = False,
    ) -> Self:
        """A template in mustache; lines such as ``user:`` begin messages.

        Under ``seal_values`` only the template makes messages and images, whatever the
        values hold: for values that come from strangers.

        Raises:
            TemplateError: it can't be read.
        """
        return cls(
            api=api,
            prompt_template=prompt_template,
            model_name=model_name,
            seal_values=seal_values,
        )

    @classmethod
    def from_prompty(cls, file_path: str | Path, *, seal_values: bool = False) -> Self:
        """The template in a file, whose relative path begins at the caller's own file.

        ``seal_values`` is as for :meth:`from_string`.

        Raises:
            TemplateError: it can't be read.
            ModuleNotFoundError: it has settings, and PyYAML isn't installed.
            OSError: it, or a file that it names, can't be read.
        """
        if not str(file_path):
            raise TemplateError("give the path of a .prompty file")
        # Azure: from_prompty resolves against the file of the code that calls it.
        caller = Path(sys._getframe(1).f_code.co_filename)  # noqa: SLF001 - the documented way
        file = (caller.parent / file_path).resolve()
        return cls(prompty=load(file), seal_values=seal_values)

    @property
    def config(self) -> Settings:
        """What the template was made of, secrets masked."""
        if self.prompty is not None:
            return self.prompty.to_safe_dict()
        return {"api": self.api, "prompt_template": self._text}

    def create_messages(
        self, data: Mapping[str, object] | None = None, **kwargs: object
    ) -> list[dict[str, object]]:
        """The messages, filled with ``data`` or else with the keyword arguments.

        Raises:
            TemplateError: the template is for another API, a message is empty, or an image
                can't be taken.
            OSError: an image's file can't be read.
        """
        if self.prompty is not None and self.api != "chat":
            raise TemplateError(f"a template for {self.api!r} has no messages: use render()")
        text = self._render(data, kwargs, sealed if self.seals_values else str)
        return read_messages(text, self._folder)

    def render(self, data: Mapping[str, object] | None = None, **kwargs: object) -> str:
        """The text, filled with ``data`` or else with the keyword arguments.

        Raises:
            TemplateError: a section is about a function.
        """
        return self._render(data, kwargs, str)

    def _render(
        self,
        data: Mapping[str, object] | None,
        kwargs: Mapping[str, object],
        marked: Callable[[str], str],
    ) -> str:
        values = kwargs if data is None else data
        sample = {} if self.prompty is None else self.prompty.sample
        return mustache.render(self._nodes, {**sample, **values}, marked=marked)


def _check(prompty: Prompty) -> None:
    template = prompty.template
    if template.type != "mustache" or template.parser not in {"", "prompty"}:
        raise TemplateError(
            f"{prompty.file}: the template is in {template.type!r} for {template.parser!r}: "
            "only mustache for prompty is read"
        )


def _dedented(text: str) -> str:
    """Without the empty lines at its start, and the spaces that all lines begin with."""
    lines = text.splitlines()
    while lines and not lines[0].strip():
        del lines[0]
    indents = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    return "\n".join(line[min(indents, default=0) :] for line in lines)
