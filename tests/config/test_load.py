"""The config: where it comes from, what it may say, and how its mistakes are told."""

import re
import stat
from pathlib import Path

import pytest

from interlingua.config.load import child_environment, data_dir, load, server_keys
from interlingua.errors import ConfigError

PROVIDER = '[[deployment]]\nname = "gpt"\nprovider = "openai"\n'
AWS = '[deployment.aws]\nregion = "us-east-1"\n'
DEPLOYMENT = '[[deployment]]\nname = "phi"\nmodel = "echo"\n'


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the caller's own config, key or data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INTERLINGUA_API_KEY", raising=False)
    monkeypatch.delenv("INTERLINGUA_DATA_DIR", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)


def write(text: str, name: str = "interlingua.toml") -> str:
    Path(name).write_text(text, "utf-8")
    return name


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(text))
    return str(caught.value)


def test_without_a_file_the_embedded_default_serves_three_models_on_loopback() -> None:
    config = load(None)
    assert config.server.host == "127.0.0.1"
    assert config.server.port == 8080
    assert config.server.keys == ()
    assert [d.name for d in config.deployment] == [
        "smollm2-135m-instruct",
        "all-minilm-l6-v2",
        "efficientnet-lite0",
    ]
    assert {d.compute for d in config.deployment} == {"serverless"}


def test_the_variable_sets_the_key_of_the_embedded_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INTERLINGUA_API_KEY", "secret")
    assert load(None).server.keys == ("secret",)


def test_the_working_directorys_file_is_found() -> None:
    write(DEPLOYMENT)
    assert [d.name for d in load(None).deployment] == ["phi"]


def test_flags_replace_what_the_file_says() -> None:
    write('[server]\nhost = "0.0.0.0"\nport = 1\n' + DEPLOYMENT)
    config = load(None, host="127.0.0.1", port=0, data_dir="/data")
    assert (config.server.host, config.server.port) == ("127.0.0.1", 0)
    assert config.server.data_dir == "/data"


def test_a_key_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST", "one")
    monkeypatch.setenv("SECOND", "two")
    write('[server]\nkeys = ["${FIRST}", "${SECOND}"]\n' + DEPLOYMENT)
    assert load(None).server.keys == ("one", "two")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server", "it isn't TOML"),
        ("", "no deployment"),
        (
            "[server]\nprot = 1\n",
            "[server]: unknown setting 'prot'; did you mean 'port'?",
        ),
        (
            DEPLOYMENT + "thread = 4\n",
            "deployment \"phi\": unknown setting 'thread'; did you mean 'threads'?",
        ),
        ("[[deployment]]\nmodell = 'x'\n", "deployment number 1: unknown setting 'modell'"),
        (
            DEPLOYMENT + "[deployment.capabilities]\nparameter = []\n",
            "capabilities: unknown setting 'parameter'; did you mean 'parameters'?",
        ),
        ("[serve]\n", "unknown setting 'serve'; did you mean 'server'?"),
        ('[server]\nport = "80"\n' + DEPLOYMENT, "server.port: expected `int`, got `str`"),
        ("[server]\nport = 70000\n" + DEPLOYMENT, "server.port: expected `int` <= 65535"),
        ("server = 1\n", "server: expected `object`, got `int`"),
        ("[[deployment]]\nname = 'a b'\nmodel = 'x'\n", "deployment[0].name"),
        ("[[deployment]]\nname = 'a'\n", 'deployment "a": it has no model: name a card'),
        (
            '[server]\nkeys = ["plain-secret"]\n' + DEPLOYMENT,
            'Put it into an environment variable and name that: keys = ["${INTERLINGUA_API_KEY}"]',
        ),
        (
            '[server]\nkeys = ["${NOT_THERE}"]\n' + DEPLOYMENT,
            "server.keys[0]: the environment variable NOT_THERE isn't set",
        ),
        (
            '[[deployment]]\nname = "phi"\nmodel = "${HOME}/phi.gguf"\n',
            "deployment.model: '${HOME}/phi.gguf' is not replaced here",
        ),
        (DEPLOYMENT + DEPLOYMENT.replace("phi", "PHI"), "the name 'PHI' is already taken"),
        (
            DEPLOYMENT + '[[deployment]]\nname = "b"\nmodel = "echo"\naliases = ["Phi"]\n',
            'deployment "b": the name \'Phi\' is already taken by deployment "phi"',
        ),
        (DEPLOYMENT + 'aliases = [" "]\n', "an alias may not be empty"),
        (
            DEPLOYMENT + '[[endpoint]]\nname = "e"\ntraffic = { "phy" = 1 }\n',
            "traffic names the deployment 'phy', which isn't there; did you mean 'phi'?",
        ),
        (
            DEPLOYMENT + '[[endpoint]]\nname = "e"\ntraffic = { "phi" = 0 }\n',
            "sends nothing anywhere",
        ),
        (
            DEPLOYMENT + '[[endpoint]]\nname = "Phi"\ntraffic = { "phi" = 1 }\n',
            'endpoint "Phi": the name is taken',
        ),
        (
            PROVIDER + 'key = "sk-plain"\n',
            'Put it into an environment variable and name that: key = "${PROVIDER_KEY}"',
        ),
        (PROVIDER + 'key = "${NOT_THERE}"\n', "the environment variable NOT_THERE isn't set"),
        (PROVIDER + 'base_url = "${HOME}"\n', "deployment.base_url: '${HOME}' is not replaced"),
        (PROVIDER + 'base_url = "api.example.com/v1"\n', "base_url: 'api.example.com/v1' is no"),
        (PROVIDER + 'base_url = "http://[::1/v1"\n', "is no address"),
        (PROVIDER + 'base_url = "file:///etc/passwd"\n', "is no address"),
        (PROVIDER + 'base_url = "http://u:p@h/v1"\n', "base_url: it is a plain address"),
        (PROVIDER + 'base_url = "http://h/v1?key=1"\n', "base_url: it is a plain address"),
        (PROVIDER + "context_length = 4096\n", "context_length: it is for a model that runs here"),
        (DEPLOYMENT + "timeout_s = 5\n", "timeout_s: it is for a model elsewhere"),
        (DEPLOYMENT + "connect_timeout_s = 5\n", "connect_timeout_s: it is for a model elsewhere"),
        (DEPLOYMENT + 'fallback = ["none"]\n', "fallback names 'none', which isn't another"),
        (DEPLOYMENT + 'fallback = ["chat"]\n', "There are: none."),
        (DEPLOYMENT + 'key = "${HOME}"\n', "key: it is for a model elsewhere"),
        (PROVIDER + AWS + 'access_key_id = "AKIA"\n', "go together"),
        (PROVIDER + AWS + 'session_token = "${HOME}"\n', "session_token needs access_key_id"),
        (
            PROVIDER + AWS + 'access_key_id = "AKIA"\nsecret_access_key = "plain"\n',
            "aws: access_key_id: a secret may not stand in the file",
        ),
        (
            PROVIDER
            + 'key = "${HOME}"\n'
            + AWS
            + 'access_key_id = "${HOME}"\nsecret_access_key = "${HOME}"\n',
            "key: calls are signed with aws.access_key_id already",
        ),
        (PROVIDER + AWS + 'acces_key_id = "${HOME}"\n', "unknown setting 'acces_key_id'; did you"),
        (PROVIDER + '[deployment.aws]\nregion = "x y"\n', "deployment[0].aws.region"),
        (DEPLOYMENT + AWS, "aws: it is for a model elsewhere"),
        (PROVIDER + 'type = "chat"\n', "deployment[0].type: invalid enum value 'chat'"),
        (
            '[server]\nhost = "0.0.0.0"\n' + DEPLOYMENT,
            "server.host: '0.0.0.0' can be reached from other machines, so keys must be set",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_and_remedy(text: str, expected: str) -> None:
    message = refusal(text)
    assert message.startswith("interlingua.toml: ")
    assert expected in message


def test_a_providers_key_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    token = "t" * 2000
    monkeypatch.setenv("TOKEN", token)
    write(PROVIDER + 'key = "${TOKEN}"\nbase_url = "https://api.example.com/v1"\n')
    (deployment,) = load(None).deployment
    assert (deployment.key, deployment.model) == (token, None)
    monkeypatch.setenv("TOKEN", "two words")
    message = refusal(PROVIDER + 'key = "${TOKEN}"\n')
    assert "the value of ${TOKEN} can't be a key" in message
    assert "words" not in message


def test_aws_credentials_are_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ID", "AKIDEXAMPLE")
    monkeypatch.setenv("SECRET", "wJalr/UtnF+bPx")
    keys = 'access_key_id = "${ID}"\nsecret_access_key = "${SECRET}"\n'
    write(PROVIDER + AWS + keys)
    aws = load(None).deployment[0].aws
    assert aws is not None
    assert (aws.region, aws.access_key_id) == ("us-east-1", "AKIDEXAMPLE")
    assert (aws.secret_access_key, aws.session_token) == ("wJalr/UtnF+bPx", None)
    monkeypatch.setenv("SECRET", "two words")
    message = refusal(PROVIDER + AWS + keys)
    assert "the value of ${SECRET} can't be a key" in message
    assert "words" not in message
    monkeypatch.delenv("SECRET")
    assert "aws: secret_access_key: the environment variable SECRET" in refusal(
        PROVIDER + AWS + keys
    )


def test_a_duplicated_alias_of_the_same_deployment_is_harmless() -> None:
    write(DEPLOYMENT + 'aliases = ["phi", "Phi"]\n')
    assert load(None).deployment[0].aliases == ("phi", "Phi")


def test_a_secret_never_stands_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACED", "has space")
    for text in ('keys = ["hunter2-plain"]', 'keys = ["${SPACED}"]'):
        message = refusal(f"[server]\n{text}\n" + DEPLOYMENT)
        assert "hunter2" not in message
        assert "has space" not in message


def test_an_empty_variable_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", "")
    assert "EMPTY is empty" in refusal('[server]\nkeys = ["${EMPTY}"]\n' + DEPLOYMENT)
    monkeypatch.setenv("INTERLINGUA_API_KEY", "")
    Path("interlingua.toml").unlink()
    assert load(None).server.keys == ()


def test_a_missing_file_is_told_with_the_working_directory(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=re.escape(f"no such file (working directory: {tmp_path}")
    ):
        load("nowhere.toml")


def test_a_directory_and_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it can't be read"):
        load(str(tmp_path))
    Path("binary.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="it isn't UTF-8 text: byte 5"):
        load("binary.toml")


def test_beyond_loopback_with_a_key_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "k")
    write('[server]\nhost = "0.0.0.0"\nkeys = ["${KEY}"]\n' + DEPLOYMENT)
    assert load(None).server.host == "0.0.0.0"


def test_the_data_directory_is_the_flags_then_the_variables_then_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_dir(None) == tmp_path / ".local/share/interlingua"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert data_dir(None) == tmp_path / ".local/share/interlingua"
    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    assert data_dir(None) == Path("/xdg/interlingua")
    monkeypatch.setenv("INTERLINGUA_DATA_DIR", "~/mine")
    assert data_dir(None) == tmp_path / "mine"
    assert data_dir("here") == tmp_path / "here"
    monkeypatch.delenv("INTERLINGUA_DATA_DIR")
    monkeypatch.setattr("sys.platform", "darwin")
    assert data_dir(None) == tmp_path / "Library/Application Support/interlingua"


def test_a_generated_key_is_private_and_survives_a_restart(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "data"
    config = load(None)
    (key,), file = server_keys(config, directory)
    assert file == directory / "key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(key) >= 43
    assert server_keys(config, directory) == ((key,), file)
    assert [entry.name for entry in directory.iterdir()] == ["key"]


def test_no_key_is_generated_where_the_config_has_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLINGUA_API_KEY", "secret")
    assert server_keys(load(None), tmp_path) == (("secret",), None)
    assert list(tmp_path.iterdir()) == []


def test_a_spoilt_key_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("\n")
    with pytest.raises(ConfigError, match="holds no key"):
        server_keys(load(None), tmp_path)


def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be kept in"):
        server_keys(load(None), tmp_path / "file" / "below")


def test_engine_processes_get_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLINGUA_API_KEY", "secret")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    environment = child_environment()
    assert environment["LANG"] == "C.UTF-8"
    assert "PATH" in environment
    assert "secret" not in environment.values()


def test_the_certificate_of_the_flags_replaces_the_files() -> None:
    write('[server]\ntls_cert = "a.pem"\ntls_key = "b.pem"\n' + DEPLOYMENT)
    unset = {"tls_cert": None, "tls_key": None, "tls": None}
    server = load(None, tls=unset).server
    assert (server.tls_cert, server.tls_key, server.tls) == ("a.pem", "b.pem", None)
    server = load(None, tls={**unset, "tls": "dev"}).server
    assert (server.tls_cert, server.tls_key, server.tls) == (None, None, "dev")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('tls = "dev"\ntls_cert = "a.pem"\ntls_key = "b.pem"', "server.tls: tls_cert and tls_key"),
        ('tls_cert = "a.pem"', "server.tls_cert: it needs tls_key"),
        ('tls_key = "a.pem"', "server.tls_key: it needs tls_cert"),
        ('tls = "prod"', "server.tls"),
    ],
)
def test_half_a_certificate_or_two_are_refused(settings: str, said: str) -> None:
    assert said in refusal(f"[server]\n{settings}\n{DEPLOYMENT}")


def test_a_record_that_is_not_kept_cannot_be_required() -> None:
    settings = "usage = false\nusage_required = true"
    assert "server.usage_required: usage isn't" in refusal(f"[server]\n{settings}\n{DEPLOYMENT}")


ISSUER = '[[issuer]]\nissuer = "https://login.example"\nallow_all = true\n'


def test_where_tokens_are_accepted_other_machines_may_call_without_any_key(tmp_path: Path) -> None:
    write('[server]\nhost = "0.0.0.0"\n' + DEPLOYMENT + ISSUER)
    config = load(None)
    assert server_keys(config, tmp_path) == ((), None)
    assert list(tmp_path.glob("key")) == []


def test_an_issuers_mistake_names_the_file_and_the_entry() -> None:
    assert "interlingua.toml: issuer number 1: " in refusal(DEPLOYMENT + "[[issuer]]\n")
    wrong = refusal(DEPLOYMENT + ISSUER + "rolls = {}\n")
    assert "issuer number 1: unknown setting 'rolls'; did you mean 'roles'?" in wrong
