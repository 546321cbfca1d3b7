"""Keys with names and limits: what may stand there."""

from pathlib import Path

import pytest

from interlingua.config.load import load, secrets_of, server_keys
from interlingua.errors import ConfigError
from interlingua.server.limiting import limits_of

DEPLOYMENT = '[[deployment]]\nname = "echo"\nmodel = "echo"\n'
TEAM = '[[key]]\nname = "team"\nkey = "${TEAM_KEY}"\n'


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEAM_KEY", "of-the-team")
    monkeypatch.setenv("OTHER_KEY", "of-others")


def write(text: str) -> None:
    Path("interlingua.toml").write_text(text + DEPLOYMENT, "utf-8")


def test_a_key_with_a_name_is_one_of_the_servers_and_a_secret(tmp_path: Path) -> None:
    write('[server]\nhost = "0.0.0.0"\n' + TEAM + "tokens_per_day = 5\n")
    config = load(None)
    assert server_keys(config, tmp_path) == (("of-the-team",), None)
    assert secrets_of(config, ()) == {"of-the-team"}
    assert [*map(str, limits_of(config).values())] == ["5 tokens a day"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TEAM.replace("${TEAM_KEY}", "plain"), 'key = "${TEAM_KEY}"'),
        (TEAM.replace("TEAM_KEY", "GONE"), 'key "team": key: the environment variable GONE'),
        (TEAM + TEAM.replace("TEAM_KEY", "OTHER_KEY"), 'key "team": the name is given twice'),
        (TEAM + TEAM.replace('"team"', '"b"'), 'key "b": its value is that of key "team" as well'),
        ('[server]\nkeys = ["${TEAM_KEY}"]\n' + TEAM, "that of server.keys as well"),
        (TEAM.replace("team", "key-0123abcd"), "choose another"),
        (TEAM.replace("team", "token-me"), "choose another"),
        (TEAM + "request_per_minute = 1\n", "did you mean 'requests_per_minute'?"),
        (TEAM + "requests_per_minute = 0\n", "requests_per_minute"),
    ],
)
def test_keys_that_could_not_be_told_apart_or_make_no_sense_are_refused(
    text: str, says: str
) -> None:
    write(text)
    with pytest.raises(ConfigError) as refused:
        load(None)
    assert says in str(refused.value)
    assert "of-the-team" not in str(refused.value)


def test_names_that_only_look_like_derived_ones_are_fine() -> None:
    write(
        TEAM.replace('"team"', '"tokenizer"')
        + TEAM.replace("team", "key-a").replace("TEAM", "OTHER")
    )
    assert [key.name for key in load(None).key] == ["tokenizer", "key-a"]
