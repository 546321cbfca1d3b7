"""Whose tokens a provider is shown, as the config says it."""

from pathlib import Path

import pytest

from interlingua.config.load import load
from interlingua.errors import ConfigError
from interlingua.server.build import plan

CONFIG = """
[[deployment]]
name = "gpt"
provider = "foundry"
base_url = "https://res.openai.azure.com"
model = "gpt-4o"
[deployment.entra]
"""
APPLICATION = 'tenant = "contoso.onmicrosoft.com"\nclient_id = "app"\n'


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLIENT_SECRET", "the-secret")

    def plan_with(text: str, before: str = ""):
        file = tmp_path / "x.toml"
        file.write_text(CONFIG.replace("[deployment.entra]", before + "[deployment.entra]") + text)
        (found,) = plan(load(str(file)), tmp_path)
        assert found.provider is not None
        assert found.provider.entra is not None
        return found.provider.entra

    return plan_with


def test_an_application_has_a_secret_from_the_environment(planned) -> None:
    entra = planned(APPLICATION + 'client_secret = "${CLIENT_SECRET}"')
    assert (entra.client_secret, entra.endpoint) == ("the-secret", None)
    assert entra.scope == "https://cognitiveservices.azure.com/.default"
    assert entra.authority == "https://login.microsoftonline.com"


def test_a_managed_identity_asks_where_the_platform_says(
    planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IDENTITY_ENDPOINT", raising=False)
    entra = planned("managed_identity = true")
    assert (entra.endpoint.url.startswith("http://169.254.169.254/"), entra.endpoint.header) == (
        True,
        None,
    )
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:8081/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "h")
    endpoint = planned("managed_identity = true").endpoint
    assert (endpoint.url, endpoint.header) == ("http://127.0.0.1:8081/msi/token", "h")


@pytest.mark.parametrize(
    ("text", "before", "says"),
    [
        ("", "", "tenant: it is missing"),
        (APPLICATION, "", "either client_secret or client_certificate"),
        (APPLICATION + 'client_secret = "plain"', "", "may not stand in the file"),
        ("managed_identity = true\n" + APPLICATION, "", "tenant: a managed identity has none"),
        ("managed_identity = true", 'key = "${CLIENT_SECRET}"\n', "leave one of them out"),
        ('managed_identity = true\nscope = "x"', "", "doesn't end with /.default"),
        ('managed_identity = true\nauthority = "http://elsewhere"', "", "authority"),
        ("managed_identity = true\nclient = 1", "", "did you mean 'client_id'"),
    ],
)
def test_what_leaves_open_who_asks_is_refused(planned, text: str, before: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        planned(text, before)
    assert "the-secret" not in str(caught.value)
