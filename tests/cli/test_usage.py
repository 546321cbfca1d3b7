"""``interlingua usage``: the table, the lines of JSON, and what it says of nothing."""

import json
from pathlib import Path

import pytest

from interlingua.cli.main import run
from interlingua.storage.records import UsageRecord
from interlingua.storage.spool import Spool


@pytest.fixture
def used(data_dir: Path) -> None:
    spool = Spool(data_dir / "usage")
    for number, key in enumerate(("key-a", "key-a", "key-b")):
        spool.append(
            UsageRecord(
                id=f"{number:032x}",
                at=1_790_000_000 + number * 86400,
                key=key,
                operation="chat_completions",
                deployment="phi",
                status=200 if number else 429,
                prompt_tokens=1000 * number,
                completion_tokens=number,
            )
        )
    spool.close()


def test_it_adds_up_by_day_key_and_deployment(
    used: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["usage"]) == 0
    shown = capsys.readouterr().out
    assert "2026-09-21" in shown
    assert "key-b" in shown
    assert "3,000" in shown


def test_one_json_object_a_line(used: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["usage", "--by", "key", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        {"key": "key-a", "calls": 2, "completed": 1, "errors": 1, "cancelled": 0}
        | {"prompt_tokens": 1000, "completion_tokens": 1},
        {"key": "key-b", "calls": 1, "completed": 1, "errors": 0, "cancelled": 0}
        | {"prompt_tokens": 2000, "completion_tokens": 2},
    ]


def test_a_span_of_days(used: None, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["usage", "--by", "", "--since", "2026-09-22", "--until", "2026-09-23", "--json"]
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["calls"] == 1


def test_a_group_that_there_is_not_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["usage", "--by", "month"]) == 2
    assert "'month' is none of day, key, deployment, operation" in capsys.readouterr().err


def test_no_usage_yet(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["usage"]) == 0
    assert "No calls are on record" in capsys.readouterr().err
    assert not data_dir.exists()
