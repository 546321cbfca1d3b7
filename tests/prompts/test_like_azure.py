"""Beside azure-ai-inference's own: the same template and values, the same messages."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure.ai.inference.prompts import PromptTemplate as AzureTemplate

from interlingua.prompts import PromptTemplate, TemplateError

HOTEL = """
    system:
    You are an AI assistant in a hotel.

    # context
    {{#rules}}
    {{rule}}
    {{/rules}}

    {{#chat_history}}
    {{role}}:
    {{content}}
    {{/chat_history}}

    user:
    {{input}}
"""
RULES = [{"rule": "The check-in time is 3pm"}, {"rule": 'see https://h.com?a=1&b="2"&c=<3>'}]
HISTORY = [
    {"role": "user", "content": "I'll arrive at 2pm."},
    {"role": "assistant", "content": "OK"},
]


@dataclass
class Guest:
    name: str
    room: int = 0


CASES: dict[str, tuple[str, Mapping[str, object]]] = {
    "the sample": (HOTEL, {"rules": RULES, "chat_history": HISTORY, "input": "Breakfast?"}),
    "no history": (HOTEL, {"rules": RULES, "input": "Breakfast?"}),
    "nothing given": ("Hello {{name}}!", {}),
    "text before the first role": ("be kind\nuser:\n{{x}}", {"x": "hi"}),
    "no role at all": ("just text", {}),
    "a role in capitals with a hash": ("# System:\nbe kind\n  USER :\nhi", {}),
    "assistant and function": ("user:\na\nassistant:\nb\nfunction:\nc", {}),
    "a role in a sentence": ("the user: hi\nuser: hi\nuser:\nhi", {}),
    "a role whose text is missing at the end": ("system:\nbe kind\nuser:\n{{x}}", {"x": ""}),
    "blank lines around": ("\n\n   \nsystem:\n\n\nbe kind\n\n\nuser:\n\nhi\n\n", {}),
    "windows line ends": ("system:\r\nbe kind\r\nuser:\r\nhi\r\n", {}),
    "indented": ("\n      system:\n        be kind\n      user:\n      hi\n", {}),
    "escaped": ("{{x}} {{{x}}} {{&x}} {{& x }}", {"x": "<a href=\"b\">'c' & d</a>"}),
    "values that are not strings": (
        "{{a}} {{b}} {{c}} {{d}} {{e}}",
        {"a": 1, "b": 2.5, "c": [1, "x"], "d": {"k": 1}, "e": None},
    ),
    "zero and false are shown": (
        "{{z}} {{f}} {{t}} [{{n}}] [{{e}}]",
        {"z": 0, "f": False, "t": True, "n": None, "e": []},
    ),
    "dotted": ("{{a.b.c}} {{a.x}} {{a.l.1}} {{a.l.7}}.", {"a": {"b": {"c": 1}, "l": ["p", "q"]}}),
    "dotted through an empty one": ("{{a.b}}|{{c.d}}", {"a": 0, "c": False}),
    "an object": ("{{g.name}} in {{g.room}}", {"g": Guest("Ada")}),
    "a section about a dictionary": (
        "{{#g}}{{name}} {{other}}{{/g}}",
        {"g": {"name": "Ada"}, "other": 1},
    ),
    "a section about a string": ("{{#s}}<{{.}}>{{/s}}", {"s": "yes"}),
    "a section about true": ("{{#s}}yes{{/s}}{{^s}}no{{/s}}", {"s": True}),
    "a section about nothing": ("a{{#s}}yes{{/s}}{{^s}}no{{/s}}", {"s": []}),
    "a list of strings": ("{{#l}}({{.}}){{/l}}", {"l": ["a", "<b>", ""]}),
    "a list of numbers with a zero": ("{{#l}}({{.}}){{/l}}", {"l": [1, 0, 2]}),
    "a tuple": ("{{#l}}({{.}}){{/l}}", {"l": (1, 2)}),
    "lists in lists": ("{{#l}}[{{#.}}{{.}},{{/.}}]{{/l}}", {"l": [[1, 2], [3]]}),
    "the same section in itself": ("{{#a}}<{{#a}}{{b}}{{/a}}>{{/a}}", {"a": {"b": 1}}),
    "inverted in a list": (
        "{{#l}}{{n}}{{^last}}, {{/last}}{{/l}}",
        {"l": [{"n": 1}, {"n": 2, "last": True}]},
    ),
    "outer names from inside": ("{{#l}}{{n}}{{s}}{{/l}}", {"l": [{"n": 1}, {"n": 2}], "s": ";"}),
    "comments": ("a{{! not this }}b\n{{! nor\n this }}\nc", {}),
    "lines with only a tag": ("a\n  {{#s}}\nb\n  {{/s}}\nc\n{{^s}}\nd\n{{/s}}\ne", {"s": True}),
    "a tag at the very end": ("a\n{{#s}}\nb\n{{/s}}", {"s": True}),
    "tags beside text stay in their line": (
        "a {{#s}} b {{/s}} c\n{{#s}}x{{/s}}\n{{#s}}\ny{{/s}}\nz",
        {"s": 1},
    ),
    "other delimiters": ("{{=<% %>=}}\n<%x%> {{x}} <%={{ }}=%>{{x}}", {"x": 1}),
    "braces of JSON": ('reply as {"a": {"b": "{{{x}}}"}}', {"x": '"'}),
    "an f-string's braces": ("a {{x }} {{ y}} {z} }}", {"x": 1, "y": 2}),
    "a value that looks like a tag": ("{{x}}", {"x": "{{y}}", "y": 1}),
    "a value that opens a message": ("user:\n{{x}}", {"x": "a\nsystem:\nb"}),
    "images by URL": (
        'user:\nlook: ![a cat](https://x.org/a.png) and ![](http://x.org/b.jpg "t") !',
        {},
    ),
    "an image of a value": ("user:\n![it]({{{u}}})", {"u": "data:image/png;base64,AAAA"}),
    "an image's file in a string": ("user:\n![it](a.png)", {}),
    "not an image": ("user:\n[link](a.png) ![open](b", {}),
    "letters of the world": ("user:\n{{x}} – äöü 漢字 🙂", {"x": "¿qué?"}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_string_gives_the_same_messages(case: tuple[str, Mapping[str, object]]) -> None:
    template, values = case
    theirs = AzureTemplate.from_string(template).create_messages(dict(values))
    ours = PromptTemplate.from_string(template)
    assert ours.create_messages(values) == theirs
    assert ours.create_messages(**values) == theirs


PROMPTY = """---
name: Hotel
description: A hotel's desk
authors: [ada, grace]
model:
  api: chat
  configuration:
    azure_deployment: gpt-4o-mini
    api_version: mock-api-version
    api_key: test_key
    api_secret: test_secret
  parameters:
    temperature: 1
    frequency_penalty: 0.5
    stop: ["END"]
inputs:
  input:
    type: string
sample:
  input: And breakfast?
  place: the desk
---
system:
You stand at {{place}}.
{{#rules}}
- {{rule}}
{{/rules}}

user:
{{input}}
"""
FILES: dict[str, tuple[dict[str, str], Mapping[str, object]]] = {
    "a whole one": ({"a.prompty": PROMPTY}, {"input": "Hi & bye", "rules": RULES}),
    "its sample": ({"a.prompty": PROMPTY}, {}),
    "the shared configuration": (
        {
            "a.prompty": PROMPTY.replace("    azure_deployment: gpt-4o-mini\n", ""),
            "prompty.json": '{"default": {"azure_deployment": "shared", "api_key": "theirs"}}',
        },
        {},
    ),
    "a base": (
        {
            "a.prompty": "---\nname: A\nbase: b.prompty\nmodel:\n  api: chat\n  parameters:\n"
            "    temperature: 0.1\nsample:\n  x: 1\n---\nuser:\n{{x}} {{input}}\n",
            "b.prompty": PROMPTY,
        },
        {},
    ),
    "variables and files": (
        {
            "a.prompty": "---\nmodel:\n  api: chat\n  configuration:\n"
            "    azure_deployment: ${env:TEMPLATE_MODEL}\n    region: ${env:NO_SUCH:north}\n"
            "  parameters: ${file:parameters.json}\nsample: ${file:sample.json}\n---\n"
            "user:\n{{x}}",
            "parameters.json": '{"temperature": 0.25}',
            "sample.json": '{"x": " padded "}',
        },
        {},
    ),
    "a template's name": (
        {"a.prompty": "---\nmodel:\n  api: chat\ntemplate: mustache\n---\n\n\nuser:\nhi"},
        {},
    ),
    "a file's image": (
        {
            "a.prompty": "---\nmodel:\n  api: chat\n---\nuser:\nsee ![it](pixel.png) there",
            "pixel.png": "not really",
        },
        {},
    ),
}


@pytest.mark.parametrize("case", FILES.values(), ids=FILES)
def test_a_file_gives_the_same_messages_and_settings(
    case: tuple[dict[str, str], Mapping[str, object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEMPLATE_MODEL", "gpt-from-env")
    files, values = case
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    theirs = AzureTemplate.from_prompty(str(tmp_path / "a.prompty"))
    ours = PromptTemplate.from_prompty(str(tmp_path / "a.prompty"))
    assert ours.create_messages(values) == theirs.create_messages(dict(values))
    assert ours.model_name == theirs.model_name
    assert ours.parameters == theirs.parameters
    assert ours.prompty is not None
    assert ours.prompty.model.configuration == theirs.prompty.model.configuration
    assert ours.prompty.sample == theirs.prompty.sample
    ours_shown, theirs_shown = ours.prompty.to_safe_dict(), theirs.prompty.to_safe_dict()
    assert ours_shown["model"] == theirs_shown["model"]
    assert ours_shown["file"] == theirs_shown["file"]


#: What that release gets wrong in silence, or fails at without a word of help.
DIFFERENT: dict[str, tuple[str, Mapping[str, object], object]] = {
    "a tab in a line": ("a\tb", {}, "a\tb"),
    "a name that is also a string's method": (
        "{{#s}}{{title}}{{/s}}",
        {"s": "x", "title": "T"},
        "T",
    ),
    "a message that is the name of a role": ("user:\n{{x}}", {"x": "system"}, "system"),
    "an inverted section in a list of its name": (
        "{{#l}}{{^l}}no{{/l}}{{n}}{{/l}}",
        {"l": [{"n": 1}]},
        "1",
    ),
}


@pytest.mark.parametrize("case", DIFFERENT.values(), ids=DIFFERENT)
def test_what_it_gets_wrong_is_right_here(case: tuple[str, Mapping[str, object], object]) -> None:
    template, values, expected = case
    assert PromptTemplate.from_string(template).create_messages(values)[0]["content"] == expected
    try:
        theirs = AzureTemplate.from_string(template).create_messages(dict(values))
    except (IndexError, TypeError, ValueError):
        return
    assert theirs[0]["content"] != expected, "not a difference any more"


@pytest.mark.parametrize(
    "template", ["{{#a}}b", "b{{/a}}", "{{#a}}{{#b}}{{/a}}{{/b}}", "{{a", "{{=<%}}"]
)
def test_both_refuse_what_is_broken(template: str) -> None:
    with pytest.raises(TemplateError, match="line 1: "):
        PromptTemplate.from_string(template)
    with pytest.raises(SyntaxError):
        AzureTemplate.from_string(template).create_messages({})


def test_both_refuse_an_empty_message_in_the_middle() -> None:
    template = "system:\n{{x}}\nuser:\nhi"
    with pytest.raises(TemplateError, match="a system message is empty"):
        PromptTemplate.from_string(template).create_messages()
    with pytest.raises(ValueError, match="Invalid prompt format"):
        AzureTemplate.from_string(template).create_messages()


def test_a_picture_beside_the_file_is_put_in(tmp_path: Path) -> None:
    (tmp_path / "pixel.JPG").write_bytes(b"\x01\x02")
    (tmp_path / "a.prompty").write_text("user:\n![it](pixel.JPG)")
    [message] = PromptTemplate.from_prompty(tmp_path / "a.prompty").create_messages()
    url = "data:image/jpeg;base64," + base64.b64encode(b"\x01\x02").decode()
    assert message["content"] == [{"type": "image_url", "image_url": {"url": url}}]
