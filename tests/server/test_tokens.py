"""Bearer tokens against a real issuer on this machine: what is valid, and every forgery."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from interlingua.config.schema import IssuerConfig
from interlingua.errors import Forbidden, Unauthorized, Unavailable
from interlingua.server.auth import Authenticator, Caller, Keys
from interlingua.server.tokens import IssuedTokens

from ..support.issuer import AUDIENCE, TENANT, Issuer, ec_key, forged, jwk, rsa_key

KEY = rsa_key()
OTHER = rsa_key()
ROLES = {"Chat.User": ("chat_completions", "info"), "Phi": ("*@Phi",), "Admin": ("*",)}

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer(KEY) as running:
        yield running


def tokens_of(here: Issuer, clock: Clock | None = None, **settings: object) -> IssuedTokens:
    stated = {"roles": ROLES} if "allow_all" not in settings else {}
    config = IssuerConfig(**{"issuer": here.url, **stated, **settings})  # type: ignore[arg-type]  # a table
    return IssuedTokens([config], clock or Clock())


async def caller_of(tokens: IssuedTokens, token: str) -> Caller:
    return await tokens.check(token.encode())


async def refusal(tokens: IssuedTokens, token: str) -> str:
    with pytest.raises(Unauthorized) as caught:
        await tokens.check(token.encode())
    said = str(caught.value)
    assert said.startswith("Auth token validation failed: ")
    # Nothing of the token, nothing of the config.
    assert not any(word in said for word in ("127.0.0.1", AUDIENCE, "k1", "someone", "Admin"))
    return said.removeprefix("Auth token validation failed: ").rstrip(".")


def allowed(caller: Caller) -> set[str]:
    found = set()
    for operation in ("info", "chat_completions", "completions", "embeddings", "image_embeddings"):
        try:
            names = caller.deployments_for(operation)  # type: ignore[arg-type]  # one of them
        except Forbidden:
            continue
        found |= {operation} if names is None else {f"{operation}@{name}" for name in names}
    return found


async def test_roles_permit_what_they_are_mapped_to(issuer: Issuer) -> None:
    tokens = tokens_of(issuer)
    user = await caller_of(tokens, issuer.token(roles=["Chat.User", "Unheard.Of"]))
    assert allowed(user) == {"chat_completions", "info"}
    phi = await caller_of(tokens, issuer.token(roles=["Phi"]))
    assert "embeddings@phi" in allowed(phi)
    assert phi.sees("PHI")
    assert not phi.sees("other")
    admin = await caller_of(tokens, issuer.token(roles=["Admin", "Phi"]))
    assert len(allowed(admin)) == 5
    assert not any("@" in each for each in allowed(admin))


@pytest.mark.parametrize(
    "claims", [{}, {"roles": []}, {"roles": ["admin"]}, {"roles": {"Admin": 1}}]
)
async def test_a_token_without_a_known_role_may_call_nothing(
    issuer: Issuer, claims: dict[str, object]
) -> None:
    assert allowed(await caller_of(tokens_of(issuer), issuer.token(**claims))) == set()


async def test_the_scopes_of_a_delegated_token_count_where_it_has_no_roles(issuer: Issuer) -> None:
    tokens = tokens_of(issuer)
    delegated = await caller_of(tokens, issuer.token(scp="openid Chat.User"))
    assert allowed(delegated) == {"chat_completions", "info"}
    assert (
        allowed(await caller_of(tokens, issuer.token(scp="Admin", roles=["Unheard.Of"]))) == set()
    )


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        ("scope", {"scope": "openid Chat.User"}),
        ("realm_access.roles", {"realm_access": {"roles": ["Chat.User"]}}),
        ("https://example.com/roles", {"https://example.com/roles": ["Chat.User"]}),
        ("groups", {"groups": ["Chat.User"], "roles": ["Admin"]}),
    ],
)
async def test_another_issuers_roles_stand_in_another_claim(
    issuer: Issuer, name: str, claims: dict[str, object]
) -> None:
    caller = await caller_of(tokens_of(issuer, roles_claim=name), issuer.token(**claims))
    assert allowed(caller) == {"chat_completions", "info"}


async def test_every_valid_token_may_do_everything_only_where_it_is_said(issuer: Issuer) -> None:
    assert len(allowed(await caller_of(tokens_of(issuer, allow_all=True), issuer.token()))) == 5


@pytest.mark.parametrize(
    "audience",
    [
        "https://ml.azure.com",
        "https://ml.azure.com/",
        "https://cognitiveservices.azure.com",
        "https://ai.azure.com/",
        ["https://graph.example", "https://ai.azure.com"],
    ],
)
@pytest.mark.parametrize("v1", [True, False])
async def test_entra_tokens_of_both_versions_and_every_audience_are_valid(
    issuer: Issuer, audience: object, v1: bool
) -> None:
    tokens = tokens_of(issuer, issuer=None, tenant=TENANT.upper(), authority=issuer.url)
    name = f"https://sts.windows.net/{TENANT}/" if v1 else f"{issuer.url}/{TENANT}/v2.0"
    caller = await caller_of(tokens, issuer.token(iss=name, aud=audience, roles=["Chat.User"]))
    assert allowed(caller) == {"chat_completions", "info"}
    assert issuer.asked == [f"/{TENANT}/v2.0/.well-known/openid-configuration", "/keys"]


async def test_another_tenants_token_is_refused_although_the_authority_signed_it(
    issuer: Issuer,
) -> None:
    tokens = tokens_of(issuer, issuer=None, tenant=TENANT, authority=issuer.url)
    for tenant in ("0f0e0d0c-1111-2222-3333-444455556667", "common", ""):
        for name in (f"{issuer.url}/{tenant}/v2.0", f"https://sts.windows.net/{tenant}/"):
            reason = await refusal(tokens, issuer.token(iss=name, roles=["Admin"]))
            assert reason == "the token's issuer is not accepted"


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
async def test_rsa_algorithms_are_accepted(issuer: Issuer, alg: str) -> None:
    assert await caller_of(tokens_of(issuer), issuer.token(alg=alg))


async def test_es256_is_accepted_with_its_own_curve_only(issuer: Issuer) -> None:
    right, wrong = ec_key(), ec_key(ec.SECP384R1())
    issuer.keys = [jwk(right, "p256"), jwk(wrong, "p384"), jwk(KEY, "k1")]
    tokens = tokens_of(issuer)
    good = issuer.token(key=right, alg="ES256", header={"kid": "p256"})
    assert await caller_of(tokens, good)
    unlisted = issuer.token(key=wrong, alg="ES384", header={"kid": "p384"})
    assert await refusal(tokens, unlisted) == "the token's algorithm is not accepted"
    # The header can't make one kind of key be used as another.
    crossed = issuer.token(key=right, alg="ES256", header={"kid": "k1"})
    assert await refusal(tokens, crossed) == "the token is not signed by a key of its issuer"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://evil.example"}, "the token's issuer is not accepted"),
        ({"iss": None}, "it is not a token"),
        ({"aud": "https://management.azure.com"}, "the token is for another audience"),
        ({"aud": "https://ml.azure.com.evil.example"}, "the token is for another audience"),
        ({"aud": "https://ml.azure.com//"}, "the token is for another audience"),
        ({"aud": []}, "the token lacks a claim that it must have"),
        ({"aud": None}, "the token lacks a claim that it must have"),
        ({"exp": None}, "the token lacks a claim that it must have"),
        ({"exp": 1}, "the token has expired"),
        ({"exp": 1_000_000_000}, "the token has expired"),
        ({"exp": "soon"}, "it is not a token"),
        ({"exp": [1]}, "it is not a token"),
        ({"exp": float("inf")}, "it is not a token"),
        ({"nbf": 4_000_000_000}, "the token is not valid yet"),
    ],
)
async def test_claims_that_do_not_hold_are_refused(
    issuer: Issuer, claims: dict[str, object], reason: str
) -> None:
    assert await refusal(tokens_of(issuer), issuer.token(roles=["Admin"], **claims)) == reason


async def test_clocks_may_be_a_minute_apart(issuer: Issuer) -> None:
    tokens = tokens_of(issuer)
    now = time.time()
    assert await caller_of(tokens, issuer.token(exp=now - 30))
    assert await caller_of(tokens, issuer.token(nbf=now + 30, iat=now + 30))


def hs256(issuer: Issuer, secret: bytes) -> str:
    """Signed with what everybody knows, as a careless verifier would accept."""
    head, body, _ = forged(
        {"alg": "HS256", "typ": "JWT", "kid": "k1"},
        {"iss": issuer.url, "aud": AUDIENCE, "exp": time.time() + 60, "roles": ["Admin"]},
    ).split(".")
    mac = hmac.digest(secret, f"{head}.{body}".encode(), hashlib.sha256)
    return f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


async def test_the_public_key_is_no_shared_secret(issuer: Issuer) -> None:
    public = KEY.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), json.dumps(jwk(KEY, "k1")).encode(), b""):
        reason = await refusal(tokens_of(issuer), hs256(issuer, secret))
        assert reason == "the token's algorithm is not accepted"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", "HS512", "EdDSA", "ES256K", "rs256"])
async def test_no_other_algorithm_is_accepted(issuer: Issuer, alg: str) -> None:
    claims = {"iss": issuer.url, "aud": AUDIENCE, "exp": time.time() + 60, "roles": ["Admin"]}
    token = forged({"alg": alg, "kid": "k1"}, claims)
    assert await refusal(tokens_of(issuer), token) == "the token's algorithm is not accepted"
    assert await refusal(tokens_of(issuer), token.rpartition(".")[0] + ".") == "it is not a token"
    assert issuer.asked == []


async def test_a_changed_token_is_refused(issuer: Issuer) -> None:
    tokens = tokens_of(issuer)
    head, _, signature = issuer.token(roles=["Chat.User"]).split(".")
    _, claims, _ = issuer.token(roles=["Admin"]).split(".")
    assert await refusal(tokens, f"{head}.{claims}.{signature}") == (
        "the token's signature is not valid"
    )
    stranger = issuer.token(key=OTHER, roles=["Admin"])
    assert await refusal(tokens, stranger) == "the token's signature is not valid"


async def test_a_token_can_not_bring_its_own_key(issuer: Issuer) -> None:
    with Issuer(OTHER) as evil:
        header: dict[str, object] = {
            "jwk": jwk(OTHER, "k1"),
            "jku": f"{evil.url}/keys",
            "x5u": f"{evil.url}/keys",
        }
        token = issuer.token(key=OTHER, header=header, roles=["Admin"])
        assert await refusal(tokens_of(issuer), token) == "the token's signature is not valid"
        assert evil.asked == []


async def test_critical_extensions_are_refused(issuer: Issuer) -> None:
    token = issuer.token(header={"crit": ["exp"], "exp": 1})
    assert await refusal(tokens_of(issuer), token) == "the token's algorithm is not accepted"


@pytest.mark.parametrize(
    "kid",
    [
        "k2",
        "K1",
        "../../../../dev/null",
        "/dev/null",
        "k1' OR '1'='1",
        "k1\x00",
        "http://127.0.0.1/keys",
        "{}",
        "",
    ],
)
async def test_a_name_of_a_key_is_a_name_and_nothing_else(issuer: Issuer, kid: str) -> None:
    reason = await refusal(tokens_of(issuer), issuer.token(header={"kid": kid}))
    assert reason == "the token is not signed by a key of its issuer"
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    "token",
    [
        "a.b.c",
        "..",
        "e30.e30.e30",
        "e30.e30",
        "e30.e30.e30.e30.e30",
        "Zm9v.Zm9v.Zm9v",
        "\u00e9.\u00e9.\u00e9",
        "=.=.=",
        forged({"alg": "RS256"}, {"iss": "x"}),
        forged({"alg": "RS256", "kid": 1}, {"iss": "x"}),
        forged({"alg": "RS256", "kid": ["k1"]}, {"iss": "x"}),
        forged({"alg": "RS256", "kid": None}, {"iss": "x"}),
        forged({"alg": "RS256", "kid": "k" * 300}, {"iss": "x"}),
        forged({"alg": ["RS256"], "kid": "k1"}, {"iss": "x"}),
        forged({"alg": "RS256", "kid": "k1"}, {"iss": ["x"]}),
        forged([], {}),
        forged({"alg": "RS256", "kid": "k1"}, None),
    ],
)
async def test_garbage_costs_no_fetch(issuer: Issuer, token: str) -> None:
    assert await refusal(tokens_of(issuer), token) == "it is not a token"
    assert issuer.asked == []


async def test_deep_and_long_tokens_are_refused_before_anything_is_done(issuer: Issuer) -> None:
    tokens = tokens_of(issuer)
    deep = base64.urlsafe_b64encode(b"[" * 8000).rstrip(b"=").decode()
    assert await refusal(tokens, f"{deep}.e30.e30") == "it is not a token"
    long = issuer.token(roles=["Admin"], padding="x" * 16_000)
    assert await refusal(tokens, long) == "the token is longer than 16384 bytes"
    assert issuer.asked == []


async def test_a_new_key_is_found_and_an_unknown_one_asked_for_once_a_minute(
    issuer: Issuer,
) -> None:
    clock = Clock()
    tokens = tokens_of(issuer, clock)
    await caller_of(tokens, issuer.token())
    assert issuer.asked.count("/keys") == 1
    new = issuer.token(key=OTHER, header={"kid": "k2"})
    issuer.keys.append(jwk(OTHER, "k2"))
    for _ in range(3):  # within the first minute
        await refusal(tokens, new)
    assert issuer.asked.count("/keys") == 1
    clock.now += 61
    assert await caller_of(tokens, new)
    assert issuer.asked.count("/keys") == 2
    for number in range(5):
        await refusal(tokens, issuer.token(header={"kid": f"unheard-of-{number}"}))
    assert issuer.asked.count("/keys") == 2
    clock.now += 61
    for number in range(5):
        await refusal(tokens, issuer.token(header={"kid": f"unheard-of-{number}"}))
    assert issuer.asked.count("/keys") == 3


async def test_a_withdrawn_key_is_forgotten_within_the_hour(issuer: Issuer) -> None:
    clock = Clock()
    tokens = tokens_of(issuer, clock)
    assert await caller_of(tokens, issuer.token())
    issuer.keys = [jwk(OTHER, "k2")]
    clock.now += 3601
    assert await refusal(tokens, issuer.token()) == "the token is not signed by a key of its issuer"


@pytest.mark.parametrize(
    "reply",
    [
        (500, {}, b""),
        (302, {"location": "/elsewhere"}, b""),
        (200, {}, b"not JSON"),
        (200, {}, b'{"keys": []}'),
        (200, {}, b'{"keys": [' + b" " * 600_000 + b"]}"),
        (200, {}, b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1", "alg": "HS256"}]}'),
    ],
)
async def test_what_is_known_is_kept_while_fetching_fails(
    issuer: Issuer, reply: tuple[int, dict[str, str], bytes]
) -> None:
    clock = Clock()
    tokens = tokens_of(issuer, clock)
    await caller_of(tokens, issuer.token())
    issuer.replies["/keys"] = reply
    clock.now += 100_000
    assert await caller_of(tokens, issuer.token())
    assert issuer.asked.count("/keys") == 2
    assert "/elsewhere" not in issuer.asked


async def test_before_the_first_keys_nobody_can_say(issuer: Issuer) -> None:
    clock = Clock()
    tokens = tokens_of(issuer, clock)
    issuer.replies["/keys"] = (503, {}, b"")
    for _ in range(3):
        with pytest.raises(Unavailable) as caught:
            await caller_of(tokens, issuer.token())
        assert "127.0.0.1" not in str(caught.value)
    assert issuer.asked.count("/keys") == 1
    del issuer.replies["/keys"]
    clock.now += 6
    assert await caller_of(tokens, issuer.token())


@pytest.mark.parametrize(
    "configuration",
    [
        {"issuer": "https://evil.example", "jwks_uri": "{url}/keys"},
        {"issuer": "{url}", "jwks_uri": "http://192.0.2.1/keys"},
        {"issuer": "{url}", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "{url}"},
    ],
)
async def test_a_configuration_that_is_not_the_issuers_own_is_not_followed(
    issuer: Issuer, configuration: dict[str, str]
) -> None:
    body = json.dumps(configuration).replace("{url}", issuer.url).encode()
    issuer.replies["/.well-known/openid-configuration"] = (200, {}, body)
    with pytest.raises(Unavailable):
        await caller_of(tokens_of(issuer), issuer.token())
    assert issuer.asked == ["/.well-known/openid-configuration"]


async def test_the_keys_address_can_be_given(issuer: Issuer) -> None:
    tokens = tokens_of(issuer, issuer="https://login.example", jwks_url=f"{issuer.url}/keys")
    assert await caller_of(tokens, issuer.token(iss="https://login.example"))
    assert issuer.asked == ["/keys"]


@pytest.mark.parametrize("path", ["/keys/", "/keys?p=b2c_1_sign_in", "/a%2Fb"])
async def test_the_keys_address_is_asked_for_as_it_is_written(issuer: Issuer, path: str) -> None:
    body = json.dumps({"keys": issuer.keys}).encode()
    issuer.replies |= {"/keys/": (200, {}, body), "/a%2Fb": (200, {}, body)}
    tokens = tokens_of(issuer, jwks_url=f"{issuer.url}{path}")
    assert await caller_of(tokens, issuer.token())
    assert issuer.asked == [path]


async def test_many_that_come_at_once_cause_one_fetch(issuer: Issuer) -> None:
    tokens = tokens_of(issuer)
    good, bad = issuer.token().encode(), issuer.token(header={"kid": "unheard-of"}).encode()
    calls = [tokens.check(each) for each in (good, bad) * 10]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(result, Caller) for result in results] == [True, False] * 10
    assert issuer.asked.count("/keys") == 1


async def test_only_keys_that_are_safe_to_use_are_used(issuer: Issuer) -> None:
    short = rsa_key(1024)
    private = {**json.loads(jwt_private(KEY)), "kid": "private", "use": "sig"}
    issuer.keys = [
        jwk(short, "short"),
        jwk(KEY, "encrypts", use="enc"),
        jwk(KEY, "pinned", alg="RS512"),
        private,
        {"kty": "RSA", "kid": "empty"},
        {"kty": "RSA", "kid": "odd", "n": 1, "e": []},
        {"kid": "no-kind"},
        jwk(KEY, "k1"),
    ]
    tokens = tokens_of(issuer)
    assert await caller_of(tokens, issuer.token())
    assert await caller_of(tokens, issuer.token(alg="RS512", header={"kid": "pinned"}))
    for kid in ("encrypts", "pinned", "private", "empty", "odd", "no-kind"):
        reason = await refusal(tokens, issuer.token(header={"kid": kid}))
        assert reason == "the token is not signed by a key of its issuer"


def jwt_private(key: object) -> str:
    from jwt.algorithms import RSAAlgorithm

    return RSAAlgorithm.to_jwk(key)  # type: ignore[arg-type]  # an RSA key


async def test_keys_go_on_working_beside_tokens(issuer: Issuer) -> None:
    both = Authenticator(Keys(["correct-key", "a.b.c"]), tokens_of(issuer))
    token = issuer.token(roles=["Chat.User"]).encode()
    for value in (b"Bearer correct-key", b"correct-key", b"Bearer a.b.c"):
        assert len(allowed(await both.check(((b"authorization", value),)))) == 5
    caller = await both.check(((b"api-key", b"wrong"), (b"authorization", b"Bearer " + token)))
    assert allowed(caller) == {"chat_completions", "info"}
    for header in ((b"api-key", token), (b"authorization", token), (b"authorization", b"Bearer x")):
        with pytest.raises(Unauthorized):
            await both.check((header,))


async def test_without_issuers_no_token_will_do(issuer: Issuer) -> None:
    header = (b"authorization", b"Bearer " + issuer.token(roles=["Admin"]).encode())
    with pytest.raises(Unauthorized, match="Auth token validation failed"):
        await Authenticator(Keys(["correct-key"])).check((header,))
