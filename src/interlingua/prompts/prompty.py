"""``.prompty`` files: YAML between two lines of ``---``, then a template.

A ``prompty.json`` beside the file gives the model's configuration where the file is silent.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from interlingua.sdk.environment import variable

from .mustache import TemplateError

_FRONT = re.compile(
    r"\s*^(?:---|\+\+\+)[^\S\n]*\n(.*?)^(?:---|\+\+\+)[^\S\n]*$", re.DOTALL | re.MULTILINE
)
#: Parts of names whose values are masked wherever the whole is shown.
_SECRET = ("key", "secret", "token", "password", "credential")
_MOST_BASES = 16

Settings = dict[str, object]


class ModelSettings(msgspec.Struct, frozen=True):
    """``configuration`` may hold keys; what is shown of it is masked."""

    api: str = "chat"
    configuration: Settings = {}
    parameters: Settings = {}
    response: Settings = {}

    def masked(self) -> Settings:
        return {
            "api": self.api,
            "configuration": _masked(self.configuration),
            "parameters": self.parameters,
            "response": self.response,
        }

    # ``typing.override`` comes with Python 3.12.
    def __repr__(self) -> str:  # type: ignore[explicit-override]  # see above
        return f"ModelSettings({self.masked()!r})"

    def __rich_repr__(  # type: ignore[explicit-override]  # see above
        self,
    ) -> list[tuple[str, object]]:
        return list(self.masked().items())


class TemplateSettings(msgspec.Struct, frozen=True):
    type: str = "mustache"
    parser: str = "prompty"


class Prompty(msgspec.Struct, frozen=True, kw_only=True):
    """A ``.prompty`` file, its variables and its base resolved."""

    name: str = ""
    description: str = ""
    authors: list[str] = []
    tags: list[str] = []
    version: str | int | float = ""
    base: str = ""
    model: ModelSettings = ModelSettings()
    template: TemplateSettings = TemplateSettings()
    sample: Settings = {}
    inputs: Settings = {}
    outputs: Settings = {}
    file: str = ""
    content: str = ""

    def to_safe_dict(self) -> Settings:
        """What may be logged: no secrets, no sample, no text."""
        shown: Settings = {
            "model": self.model.masked(),
            "template": msgspec.to_builtins(self.template),
            "inputs": self.inputs,
            "outputs": self.outputs,
            "file": self.file,
        }
        return {name: value for name, value in shown.items() if value}


def load(file: Path) -> Prompty:
    """A ``.prompty`` file, with what its bases and ``prompty.json`` add.

    Raises:
        TemplateError: it makes no sense, or names a variable that isn't set.
        ModuleNotFoundError: PyYAML isn't installed.
        OSError: it, or a file that it names, can't be read.
    """
    prompty = whole = _load_one(file)
    for _ in range(_MOST_BASES):
        if not prompty.base:
            return whole
        prompty = _load_one(Path(prompty.file).parent / prompty.base)
        whole = _over(whole, prompty)
    raise TemplateError(f"{file} has more than {_MOST_BASES} bases, or is its own")


def _load_one(file: Path) -> Prompty:
    text = file.read_text("utf-8")
    front = _FRONT.match(text)
    try:
        attributes = _read_yaml(front[1] if front else "", file)
        resolved = _resolve(attributes, file.parent)
        if isinstance(resolved.get("template"), str):
            resolved["template"] = {"type": resolved["template"]}
        given = {name: value for name, value in resolved.items() if value is not None}
        said = msgspec.convert({**given, "file": file.as_posix()}, Prompty)
    except msgspec.ValidationError as error:
        raise TemplateError(f"{file}: {error}") from error
    configuration = {**_shared_configuration(file.parent), **said.model.configuration}
    return msgspec.structs.replace(
        said,
        model=msgspec.structs.replace(said.model, configuration=configuration),
        content=(text[front.end() :] if front else text).lstrip(),
    )


def _over(top: Prompty, base: Prompty) -> Prompty:
    """The settings of ``top``, and of its base where it is silent. The text is its own."""
    return msgspec.structs.replace(
        top,
        name=top.name or base.name,
        description=top.description or base.description,
        version=top.version or base.version,
        authors=list(dict.fromkeys([*base.authors, *top.authors])),
        tags=list(dict.fromkeys([*base.tags, *top.tags])),
        sample={**base.sample, **top.sample},
        model=ModelSettings(
            top.model.api,
            {**base.model.configuration, **top.model.configuration},
            {**base.model.parameters, **top.model.parameters},
            {**base.model.response, **top.model.response},
        ),
    )


def _read_yaml(text: str, file: Path) -> Settings:
    if not text.strip():
        return {}
    try:
        import yaml  # noqa: PLC0415 - an extra: only files with settings need it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the settings of {file.name} are in YAML: "
            "install what reads it with `pip install 'interlingua[prompts]'`",
            name="yaml",
        ) from error
    try:
        return msgspec.convert(yaml.safe_load(text) or {}, Settings)
    except yaml.YAMLError as error:
        raise TemplateError(f"{file}: its settings are not YAML: {error}") from error


def _shared_configuration(folder: Path) -> Settings:
    file = folder / "prompty.json"
    if not file.exists():
        return {}
    try:
        shared = msgspec.json.decode(file.read_bytes(), type=dict[str, Settings])
    except msgspec.DecodeError as error:
        raise TemplateError(f"{file}: {error}") from error
    if "default" not in shared:
        raise TemplateError(f"{file} has no configuration named 'default'")
    return _resolve(shared["default"], folder)


def _resolve(settings: Settings, folder: Path) -> Settings:
    return {name: _resolved(value, folder) for name, value in settings.items()}


def _resolved(value: object, folder: Path) -> object:
    """``${env:NAME}``, ``${env:NAME:default}`` and ``${file:name.json}``, wherever they stand."""
    if isinstance(value, dict):
        return _resolve(value, folder)
    if isinstance(value, list):
        return [_resolved(item, folder) for item in value]
    return _resolved_text(value.strip(), folder) if isinstance(value, str) else value


def _resolved_text(text: str, folder: Path) -> object:
    if not (text.startswith("${") and text.endswith("}")):
        return text
    match text[2:-1].split(":", 2):
        case ["env", name]:
            return _variable(name, None)
        case ["env", name, default]:
            return _variable(name, default)
        case ["file", name]:
            return _resolved(_read_json(folder / name), folder)
        case _:
            raise TemplateError(f"{text} is neither ${{env:NAME}} nor ${{file:name.json}}")


def _variable(name: str, default: str | None) -> str:
    found = variable(name)
    if found is not None:
        return found
    if default is None:
        raise TemplateError(
            f"the variable {name} is not set: set it, or give a default as in ${{env:{name}:…}}"
        )
    return default


def _read_json(file: Path) -> object:
    try:
        return msgspec.json.decode(file.read_bytes())
    except msgspec.DecodeError as error:
        raise TemplateError(f"{file}: {error}") from error


def _masked(settings: Mapping[str, object]) -> Settings:
    return {
        name: "*" * len(str(value)) if any(s in name.lower() for s in _SECRET) else value
        for name, value in settings.items()
    }
