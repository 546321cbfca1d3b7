"""Chat: one question, and a conversation in a terminal."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_wire import WAIT_S, Reply, Wire, chunk, events, stream

from interlingua.cli.main import run

CHAT = "/chat/completions"
Piped = Callable[..., subprocess.CompletedProcess[str]]


def test_one_question_prints_the_answer(wire: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    wire.answer(CHAT, events(chunk("", role="assistant"), chunk("Hi"), chunk(" you", "stop")))
    assert run(["chat", "hello"]) == 0
    assert capsys.readouterr() == ("Hi you\n", "")
    assert wire.heard[0].json()["messages"] == [{"role": "user", "content": "hello"}]


def test_every_option_reaches_the_wire(wire: Wire, tmp_path: Path) -> None:
    wire.answer(CHAT, events(chunk("{}", "stop")))
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    (tmp_path / "s.json").write_text(json.dumps(schema))
    options = "--model phi --system Short. --temperature 0.5 --max-tokens 9 --seed -3 --stop A"
    more = ["--stop", "B C", "--json-schema", "s.json", "--api-version", "2025-05-01"]
    assert run(["chat", *options.split(), *more, "hello"]) == 0
    body = wire.heard[0].json()
    assert body["model"] == "phi"
    assert body["messages"][0] == {"role": "system", "content": "Short."}
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.5, 9, -3)
    assert body["stop"] == ["A", "B C"]
    asked = body["response_format"]["json_schema"]
    assert (body["response_format"]["type"], asked["schema"]) == ("json_schema", schema)
    assert wire.heard[0].path.endswith("api-version=2025-05-01")


def test_what_is_not_said_is_not_sent(wire: Wire) -> None:
    wire.answer(CHAT, events(chunk("x", "stop")))
    assert run(["chat", "hello"]) == 0
    assert set(wire.heard[0].json()) == {"messages", "stream"}


def test_json_is_one_line_with_text_reason_and_usage(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    thought = chunk("", reasoning_content="hm")
    wire.answer(CHAT, events(thought, chunk("Hi\n"), chunk("you", "length")))
    assert run(["chat", "hello", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {
        "text": "Hi\nyou",
        "finish_reason": "length",
        "usage": {"prompt_tokens": 18, "completion_tokens": 2, "total_tokens": 20},
        "reasoning": "hm",
    }


def test_usage_that_is_not_told_is_null(wire: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    last = json.loads(chunk("x", "stop"))
    del last["usage"]
    wire.answer(CHAT, events(json.dumps(last)))
    assert run(["chat", "hello", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["usage"] is None


def test_a_pipe_gets_the_text_alone(wire: Wire, piped: Piped) -> None:
    thought = chunk("", reasoning_content="hm")
    wire.answer(CHAT, events(thought, chunk("\x1b[1mA", "length")))
    done = piped(b"  ask me \n", "chat")
    assert (done.returncode, done.stdout, done.stderr) == (0, "\x1b[1mA\n", "")
    assert wire.heard[0].json()["messages"][0]["content"] == "ask me"


@pytest.mark.parametrize(("stdin", "says"), [(b"", "nothing is piped in"), (b"\xff", "UTF-8")])
def test_nothing_to_ask_is_a_usage_error(piped: Piped, stdin: bytes, says: str) -> None:
    done = piped(stdin, "chat")
    assert done.returncode == 2
    assert says in done.stderr


def test_an_argument_that_is_not_utf8_is_a_usage_error(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["chat", "M\udcfcller"]) == 2
    assert "not UTF-8" in capsys.readouterr().err


def test_a_schema_that_is_no_json_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.json").write_text("[1,")
    assert run(["chat", "x", "--json-schema", "s.json"]) == 2
    assert "not a JSON object" in capsys.readouterr().err


def test_a_stream_that_is_cut_ends_with_code_1(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    wire.answer(CHAT, stream(chunk("half"), end="cut"))
    assert run(["chat", "hello"]) == 1
    out, err = capsys.readouterr()
    assert out == "half"
    assert err.startswith("Error: ")
    assert "broke" in err


def test_a_wrong_key_names_the_remedy(wire: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    error = {"code": "unauthorized", "message": "Auth token validation failed", "status": 401}
    wire.answer(CHAT, Reply((json.dumps({"error": error}).encode(),), status=401))
    assert run(["chat", "hello", "--key", "wrong-one"]) == 1
    err = capsys.readouterr().err
    assert "Auth token validation failed" in err
    assert "INTERLINGUA_API_KEY" in err
    assert "wrong-one" not in err
    assert wire.heard[0].headers["api-key"] == "wrong-one"


def test_local_and_endpoint_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["chat", "x", "--local", "m", "--endpoint", "http://127.0.0.1:1"]) == 2
    assert "--local" in capsys.readouterr().err


def test_a_conversation_keeps_its_turns(wire: Wire, terminal: Callable) -> None:
    wire.answer(CHAT, events(chunk("one", "stop")), events(chunk("two", "stop")))
    chat = terminal("chat", "--system", "Be kind.")
    chat.expect("> ")
    chat.type("first")
    chat.expect("one")
    chat.expect("> ")
    chat.type("second")
    chat.expect("two")
    chat.expect("> ")
    chat.press(b"\x04")
    assert chat.end() == 0
    assert wire.heard[1].json()["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "second"},
    ]


def test_ctrl_c_stops_the_answer_and_not_the_program(wire: Wire, terminal: Callable) -> None:
    wire.answer(CHAT, stream(chunk("begun"), end="hold"), events(chunk("again", "stop")))
    chat = terminal("chat")
    chat.expect("> ")
    chat.type("long story")
    chat.expect("begun")
    chat.interrupt("stopped")
    assert wire.left.wait(WAIT_S)
    chat.expect("> ")
    chat.interrupt("> ")
    chat.type("and now")
    chat.expect("again")
    chat.expect("> ")
    chat.type("/exit")
    assert chat.end() == 0
    contents = [message["content"] for message in wire.heard[1].json()["messages"]]
    assert contents == ["long story", "begun", "and now"]


def test_ctrl_c_ends_a_single_question_with_130(wire: Wire, terminal: Callable) -> None:
    wire.answer(CHAT, stream(chunk("begun"), end="hold"))
    chat = terminal("chat", "story")
    chat.expect("begun")
    chat.press(b"\x03")
    assert chat.end() == 130
    assert "Traceback" not in chat.shown


def test_commands_of_the_conversation(wire: Wire, terminal: Callable) -> None:
    wire.answer(CHAT, events(chunk("fine", "stop")))
    chat = terminal("chat")
    chat.expect("> ")
    for typed, shown in [
        ("/help", "/reset"),
        ("/system", "no system message"),
        ("/system Be brief.", "> "),
        ("/system", "Be brief."),
        ("/nonsense", "there is no /nonsense"),
        ("", "> "),
        ("one", "fine"),
        ("/reset", "> "),
        ("/etc/passwd is what?", "fine"),
    ]:
        chat.type(typed)
        chat.expect(shown)
        if shown != "> ":
            chat.expect("> ")
    chat.type("/quit")
    assert chat.end() == 0
    assert wire.heard[1].json()["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "/etc/passwd is what?"},
    ]


def test_a_failed_turn_is_told_and_forgotten(wire: Wire, terminal: Callable) -> None:
    error = {"code": "context_length_exceeded", "message": "9 tokens are too many", "status": 400}
    too_long = Reply((json.dumps({"error": error}).encode(),), status=400)
    wire.answer(CHAT, too_long, events(chunk("fine", "stop")))
    chat = terminal("chat")
    chat.expect("> ")
    chat.type("much")
    chat.expect("9 tokens are too many")
    chat.expect("/reset")
    chat.expect("> ")
    chat.type("little")
    chat.expect("fine")
    chat.expect("> ")
    chat.press(b"\x04")
    assert chat.end() == 0
    assert len(wire.heard[1].json()["messages"]) == 1


def test_reasoning_is_dim_and_control_characters_are_harmless(
    wire: Wire, terminal: Callable
) -> None:
    thought = chunk("", reasoning_content="hm")
    wire.answer(CHAT, events(thought, chunk("a\x1b]0;title\x07b"), chunk("", "length")))
    chat = terminal("chat", "x")
    assert chat.end() == 0
    assert "\x1b[2mhm\x1b[0m" in chat.shown
    assert "a\ufffd]0;title\ufffdb" in chat.shown
    assert "the tokens that the answer may take are used up" in chat.shown


def test_json_lines_in_a_conversation(wire: Wire, terminal: Callable) -> None:
    wire.answer(CHAT, events(chunk("one", "stop")))
    chat = terminal("chat", "--json")
    chat.expect("> ")
    chat.type("first")
    chat.expect('{"text":"one","finish_reason":"stop"')
    chat.expect("> ")
    chat.press(b"\x04")
    assert chat.end() == 0
