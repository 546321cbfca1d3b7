"""Whose tokens a config accepts, and how its mistakes are told."""

import pytest

from interlingua.config.issuers import Grant, check_issuers, read_grant, read_issuer
from interlingua.config.schema import Config, DeploymentConfig, IssuerConfig
from interlingua.errors import ConfigError

TENANT = "0f0e0d0c-1111-2222-3333-444455556666"
ROLES = {"Chat.User": ("chat_completions", "info@phi"), "Admin": ("*",)}


def config_of(*entries: dict[str, object]) -> Config:
    issuers = tuple(IssuerConfig(**entry) for entry in entries)  # type: ignore[arg-type]  # tables
    return Config(deployment=(DeploymentConfig(name="Phi", model="echo"),), issuer=issuers)


def refusal(*entries: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        check_issuers(config_of(*entries))
    return str(caught.value)


@pytest.mark.parametrize(
    ("authority", "older"),
    [
        ("https://login.microsoftonline.com", "https://sts.windows.net"),
        ("https://login.microsoftonline.us/", "https://sts.windows.net"),
        ("https://login.partner.microsoftonline.cn", "https://sts.chinacloudapi.cn"),
    ],
)
def test_a_tenant_issues_tokens_of_two_versions_in_every_cloud(authority: str, older: str) -> None:
    issuer = read_issuer(IssuerConfig(tenant=TENANT.upper(), authority=authority))
    base = f"{authority.rstrip('/')}/{TENANT}/v2.0"
    assert issuer.names == (base, f"{older}/{TENANT}/")
    assert issuer.configuration_url == f"{base}/.well-known/openid-configuration"


def test_another_issuer_is_named_as_its_tokens_do() -> None:
    issuer = read_issuer(IssuerConfig(issuer="https://login.example/realms/main/"))
    assert issuer.names == ("https://login.example/realms/main/",)
    assert issuer.configuration_url == (
        "https://login.example/realms/main/.well-known/openid-configuration"
    )


@pytest.mark.parametrize(
    ("text", "grant"),
    [
        ("*", Grant()),
        ("*@*", Grant()),
        ("embeddings", Grant("embeddings")),
        ("embeddings@*", Grant("embeddings")),
        ("info@Phi", Grant("info", "phi")),
        ("*@Phi", Grant(None, "phi")),
    ],
)
def test_a_role_permits_operations_deployments_or_both(text: str, grant: Grant) -> None:
    assert read_grant(text) == grant


def test_what_is_right_is_accepted() -> None:
    check_issuers(
        config_of(
            {"tenant": TENANT, "roles": ROLES},
            {"issuer": "https://login.example", "allow_all": True},
            {"issuer": "http://localhost:9/x", "allow_all": True, "jwks_url": "http://[::1]/k"},
        )
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"allow_all": True}, "give either tenant"),
        (
            {"tenant": TENANT, "issuer": "https://a.example", "allow_all": True},
            "give either tenant",
        ),
        ({"tenant": TENANT}, "allow_all = true, by which every valid token"),
        ({"tenant": TENANT, "roles": ROLES, "allow_all": True}, "give either roles"),
        ({"tenant": "common", "allow_all": True}, "'common' is not the id of a directory"),
        ({"tenant": "contoso.onmicrosoft.com", "allow_all": True}, "is not the id of a directory"),
        ({"tenant": f"{TENANT}/x", "allow_all": True}, "is not the id of a directory"),
        ({"tenant": TENANT, "authority": "http://login.example", "allow_all": True}, "authority:"),
        ({"issuer": "http://login.example", "allow_all": True}, "is not an https URL"),
        ({"issuer": "login.example", "allow_all": True}, "is not an https URL"),
        ({"issuer": "https://", "allow_all": True}, "is not an https URL"),
        ({"issuer": "https://[", "allow_all": True}, "is not an https URL"),
        ({"issuer": "https://u:p@a.example", "allow_all": True}, "is not an https URL"),
        ({"issuer": "https://a.example?x=1", "allow_all": True}, "is not an https URL"),
        (
            {"issuer": "https://a.example", "jwks_url": "file:///etc/passwd", "allow_all": True},
            "jwks_url: 'file:///etc/passwd' is not an https URL",
        ),
        ({"tenant": TENANT, "audiences": ("",), "allow_all": True}, "audiences: one is empty"),
        ({"tenant": TENANT, "roles": {"A": ()}}, "'A' permits nothing"),
        ({"tenant": TENANT, "roles": {"A": ("embedings",)}}, "did you mean 'embeddings'?"),
        ({"tenant": TENANT, "roles": {"A": ("phi",)}}, "begins with no operation"),
        ({"tenant": TENANT, "roles": {"A": ("info@",)}}, "names no deployment after the @"),
        ({"tenant": TENANT, "roles": {"A": ("info@phy",)}}, "There are: phi"),
    ],
)
def test_mistakes_are_told_with_their_remedy(entry: dict[str, object], said: str) -> None:
    message = refusal(entry)
    assert message.startswith("issuer number 1: ")
    assert said in message


def test_two_entries_for_the_same_tokens_are_refused() -> None:
    one = {"tenant": TENANT, "allow_all": True}
    same = {"tenant": TENANT.upper(), "roles": ROLES}
    assert "issuer number 2: its tokens are another entry's" in refusal(one, same)
