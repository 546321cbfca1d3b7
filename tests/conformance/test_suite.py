"""The suite itself: what it notices of a server that does otherwise, and how it is told."""

import json
from collections.abc import Callable, Iterator

import pytest

from interlingua.backends.echo import EchoBackend
from interlingua.cli.main import run
from interlingua.server.app import App
from interlingua.server.asgi import Message, Receive, Scope, Send
from interlingua.server.exchange import CONNECTION

from ..server.service import KEY, app_of, served
from ..support.conforming import declared_by, outcomes

Change = Callable[[Message, Scope], Message]


class Altered:
    """A server whose replies are changed on their way out."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.gateway = app.gateway
        self.change: Change = lambda message, scope: message
        #: Beginnings of paths that aren't there.
        self.hidden: tuple[str, ...] = ()

    def drain(self, *, refuse: bool = True) -> None:
        self._app.drain(refuse=refuse)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.hidden and scope["path"].startswith(self.hidden):
            await send({"type": "http.response.start", "status": 404, "headers": []})
            body = b'{"error":{"code":"404","message":"not found"}}'
            await send({"type": "http.response.body", "body": body})
            return

        async def changed(message: Message) -> None:
            await send(self.change(message, scope) if scope["type"] == "http" else message)

        # What lets the app cut a connection.
        changed.__self__ = getattr(send, "__self__", None)  # type: ignore[attr-defined]
        # Nor may it write to the connection itself.
        scope = {name: value for name, value in scope.items() if name != CONNECTION}
        await self._app(scope, receive, changed)


@pytest.fixture(scope="module")
def altered() -> Iterator[tuple[str, Altered]]:
    app = Altered(app_of(EchoBackend()))
    with served(app) as url:  # type: ignore[arg-type]  # an app around the app
        yield url, app


def _replaced(old: bytes, new: bytes) -> Change:
    def change(message: Message, scope: Scope) -> Message:
        if message["type"] == "http.response.body":
            return {**message, "body": message.get("body", b"").replace(old, new)}
        return {**message, "headers": [h for h in message["headers"] if h[0] != b"content-length"]}

    return change


def _status(old: int, new: int) -> Change:
    def change(message: Message, scope: Scope) -> Message:
        return {**message, "status": new} if message.get("status") == old else message

    return change


def _header(name: bytes, value: bytes | None) -> Change:
    def change(message: Message, scope: Scope) -> Message:
        if message["type"] != "http.response.start":
            return message
        kept = [header for header in message["headers"] if header[0] != name]
        return {**message, "headers": kept + ([] if value is None else [(name, value)])}

    return change


WRONG: dict[str, tuple[Change, str]] = {
    "carriage returns": (_replaced(b"\n\n", b"\r\n\r\n"), "a stream is data lines"),
    "a ping": (_replaced(b"data: [DONE]", b": ping\n\ndata: [DONE]"), "a stream is data lines"),
    "no [DONE]": (_replaced(b"data: [DONE]\n\n", b""), "a stream is data lines"),
    "milliseconds": (_replaced(b'"created":1', b'"created":1000'), "a whole answer has its exact"),
    "another object": (_replaced(b"chat.completion", b"chat"), "a whole answer has its exact"),
    "no usage": (_replaced(b'"usage"', b'"used"'), "the chunks of a stream"),
    "usage wrong": (_replaced(b'"total_tokens":', b'"total_tokens":1'), "a whole answer has its"),
    "the role again": (
        _replaced(b'"delta":{"content"', b'"delta":{"role":"assistant","content"'),
        "the chunks",
    ),
    "a finish reason unknown": (_replaced(b'"stop"', b'"done"'), "a whole answer has its exact"),
    "half a text": (_replaced(b'"content":" two"', b'"content":""'), "a whole answer is what"),
    "error as a text": (
        _replaced(b'"error":{', b'"error":"bad","was":{'),
        "JSON that isn't is 400",
    ),
    "Retry-After on 400": (_header(b"retry-after", b"1"), "an unknown path is 404"),
    "422 as 400": (_status(422, 400), "chat completions: a wrong temperature"),
    "404 as 500": (_status(404, 500), "an unknown path is 404"),
    "no changes": (_header(b"x-interlingua-changes", None), "chat completions: under drop"),
    "no id of the client": (
        _header(b"x-ms-client-request-id", None),
        "x-ms-client-request-id comes",
    ),
    "401 without its words": (_replaced(b"Auth token", b"Your key"), "no key or a wrong one"),
    "big-endian numbers": (
        _replaced(b'"embedding":"', b'"embedding":"AAAA'),
        "encoding_format base64",
    ),
    "indexes from 1": (_replaced(b'"index":', b'"index":1'), "vectors stand in the order"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_suite_notices(altered: tuple[str, Altered], name: str) -> None:
    url, app = altered
    app.change, case = WRONG[name]
    (deployment,) = app.gateway.deployments
    declared = declared_by(deployment, exact=True)
    found = outcomes(url, declared, only=lambda each: each.name.startswith(case))
    assert "fail" in {each.state for each in found}


def test_what_a_server_without_a_catalogue_can_do_is_found_by_asking(
    altered: tuple[str, Altered], capsys: pytest.CaptureFixture[str]
) -> None:
    url, app = altered

    # A server of the API, and nothing more.
    app.change = _header(b"x-interlingua-changes", None)
    app.hidden = ("/health", "/catalog", "/v1")
    assert run(["check", "--conformance", url, "--key", KEY, "--json"]) == 0
    app.hidden = ()
    report = json.loads(capsys.readouterr().out)
    assert report["conforms"]
    assert report["passed"] > 100
    assert {each["deployment"] for each in report["cases"]} == {"-"}
    assert report["skipped"] > 5


def test_the_command_tells_each_case_and_fails_where_one_does(
    altered: tuple[str, Altered], capsys: pytest.CaptureFixture[str]
) -> None:
    url, app = altered
    app.change = _status(404, 500)
    assert run(["check", "--conformance", url, "--key", KEY, "--deployment", "echo"]) == 1
    shown = capsys.readouterr().out
    assert "deployment echo" in shown
    assert "an unknown path is 404" in shown
    assert "fail     404 was due and came 500" in shown
    assert "failed" in shown.splitlines()[-1]


def test_an_address_without_this_api_is_told(
    altered: tuple[str, Altered], capsys: pytest.CaptureFixture[str]
) -> None:
    url, app = altered
    app.change = lambda message, scope: message
    assert run(["check", "--conformance", f"{url}/nowhere", "--key", KEY]) == 1
    assert "is the path right?" in capsys.readouterr().err
    assert run(["check", "--deployment", "x"]) == 2
    assert run(["check", "--conformance", url, "--config", "x.toml"]) == 2
