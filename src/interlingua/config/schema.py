"""The schema of ``interlingua.toml``. Every setting exists once: here.

The reference page and ``--help`` are generated from these structs; a field's docstring is
the comment before it, so each says its unit and what leaving it out means.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from interlingua.types.models import Capabilities, ExtraParameters, ModelType


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[server]``"""

    host: Annotated[
        str, Meta(description="Address to listen on. Beyond loopback, keys must be set.")
    ] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    ] = 8080
    keys: Annotated[
        tuple[str, ...],
        Meta(description='Keys that callers may use, each as "${NAME}". Empty: one is generated.'),
    ] = ()
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="Processes that answer. Beyond one, another one owns the engines.",
        ),
    ] = 1
    tls_cert: Annotated[
        str | None,
        Meta(description="File of the certificate and its chain (PEM): the server speaks TLS."),
    ] = None
    tls_key: Annotated[
        str | None, Meta(description="File of the certificate's private key (PEM).")
    ] = None
    tls: Annotated[
        Literal["dev"] | None,
        Meta(description="dev: TLS with a certificate that is made and kept on this machine."),
    ] = None
    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            description="Connections that each process holds at a time; one more is answered "
            "with 503 and closed.",
        ),
    ] = 16384
    max_connections_by_address: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="The same for those from one address (IPv6: one /64). Unset: no limit "
            "of their own, since all that come through a proxy have one address.",
        ),
    ] = None
    max_body_bytes: Annotated[
        int, Meta(ge=1024, description="Longest request body; a longer one is 413.")
    ] = 32 * 1024 * 1024
    call_timeout_s: Annotated[
        float, Meta(gt=0, description="Longest time for one call, waiting included; then 504.")
    ] = 600.0
    load_timeout_s: Annotated[
        float, Meta(gt=0, description="Longest time to load a model; then 503.")
    ] = 300.0
    drain_timeout_s: Annotated[
        float, Meta(ge=0, description="How long calls under way may go on after SIGTERM.")
    ] = 30.0
    extra_parameters: Annotated[
        ExtraParameters,
        Meta(description="What happens to unknown parameters on the AI-inference routes."),
    ] = "error"
    model_type: Annotated[
        Literal["service", "documentation", "enum"],
        Meta(
            description="Spelling of model_type in /info: chat-completion (service), "
            "chat-completions (documentation, LlamaIndex needs it), chat_completion (enum)."
        ),
    ] = "service"
    remote_images: Annotated[
        tuple[str, ...],
        Meta(
            description='Hosts that image URLs may name, such as "images.example.com" or '
            '"10.0.0.5:9000"; the server fetches from them. Empty: only data URLs.'
        ),
    ] = ()
    docs: Annotated[
        bool | None,
        Meta(
            description="Whether /docs and /openapi.json are there, without a key. Unset: only "
            "where no other machine can reach the server."
        ),
    ] = None
    usage: Annotated[
        bool,
        Meta(
            description="Whether what each call used is kept, without its content, in data_dir "
            "for `interlingua usage`."
        ),
    ] = True
    usage_required: Annotated[
        bool,
        Meta(
            description="Whether calls are refused with 503 while usage can't be put down, as on "
            "a full disk. Else they are answered, and it is kept in memory until then."
        ),
    ] = False
    data_dir: Annotated[
        str | None,
        Meta(
            description="Where models and what the server generates are kept. Unset: the user's "
            "own."
        ),
    ] = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")


class AwsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[deployment.aws]``: a provider on AWS, and the credentials that calls are signed with."""

    region: Annotated[
        str,
        Meta(
            pattern="^[a-z0-9-]{1,32}$", description="The region that serves it, as in us-east-1."
        ),
    ]
    access_key_id: Annotated[
        str | None,
        Meta(description='As "${NAME}". Unset: calls aren\'t signed, and key is sent.'),
    ] = None
    secret_access_key: Annotated[str | None, Meta(description='As "${NAME}".')] = None
    session_token: Annotated[
        str | None, Meta(description='As "${NAME}"; it comes with temporary credentials.')
    ] = None


class EntraConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[deployment.entra]``: tokens of Microsoft Entra ID instead of a provider's key."""

    managed_identity: Annotated[
        bool,
        Meta(description="The managed identity of this machine, container or App Service asks."),
    ] = False
    tenant: Annotated[
        str | None, Meta(description="An application asks: the directory that it is in.")
    ] = None
    client_id: Annotated[
        str | None,
        Meta(description="The application; or a managed identity that a user assigned."),
    ] = None
    client_secret: Annotated[
        str | None, Meta(description='The application\'s secret, as "${NAME}".')
    ] = None
    client_certificate: Annotated[
        str | None,
        Meta(description="Instead: the file of its certificate and RSA private key (PEM)."),
    ] = None
    authority: Annotated[
        str, Meta(description="Where the tokens come from; national clouds differ.")
    ] = "https://login.microsoftonline.com"
    scope: Annotated[
        str,
        Meta(
            description="What the tokens are for: Azure OpenAI; Foundry's is "
            "https://ai.azure.com/.default, a managed endpoint's https://ml.azure.com/.default."
        ),
    ] = "https://cognitiveservices.azure.com/.default"


class DeploymentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[deployment]]``: a named model ready to answer."""

    name: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
            description="The name that callers use.",
        ),
    ]
    model: Annotated[
        str | None,
        Meta(
            description="A card of the catalog, or the path of a file or directory. With a "
            "provider: its name for the model; unset: the name that the caller gave goes on."
        ),
    ] = None
    provider: Annotated[
        str | None,
        Meta(description="Who serves the model elsewhere: a row of the providers. Unset: here."),
    ] = None
    base_url: Annotated[
        str | None, Meta(description="The provider's address. Unset: the row's.")
    ] = None
    key: Annotated[
        str | None, Meta(description='The provider\'s key, as "${NAME}". Unset: none is sent.')
    ] = None
    aws: Annotated[
        AwsConfig | None,
        Meta(description="Region and credentials of a provider on AWS: [deployment.aws]."),
    ] = None
    entra: Annotated[
        EntraConfig | None,
        Meta(description="Tokens of Microsoft Entra ID instead of a key. Unset: none is sent."),
    ] = None
    api_version: Annotated[
        str | None, Meta(description="The api-version that the provider is told. Unset: the row's.")
    ] = None
    family: Annotated[
        str | None,
        Meta(
            description="The usual name of a provider's model, such as gpt-4o, where the "
            "provider's own name doesn't say what it is. Unset: model."
        ),
    ] = None
    type: Annotated[
        ModelType | None,
        Meta(
            description="What a provider's model is, as /info says it. Unset: its family's, else "
            "chat-completion."
        ),
    ] = None
    publisher: Annotated[
        str | None,
        Meta(
            description="Who made a provider's model, as /info says it. Unset: its family's, else "
            "the provider."
        ),
    ] = None
    timeout_s: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="A provider's longest silence; then 504. Unset: 120, and for a whole "
            "answer, which is silent until it is made, call_timeout_s."
        ),
    ] = None
    connect_timeout_s: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Longest time to connect to a provider; then 503. Unset: 10."),
    ] = None
    first_byte_timeout_s: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="How long a provider's reply may take to begin; then 504. Unset: timeout_s."
        ),
    ] = None
    fallback: Annotated[
        tuple[str, ...],
        Meta(description="Deployments that answer, in this order, where this one can't."),
    ] = ()
    compute: Annotated[
        Literal["serverless", "managed"],
        Meta(description="serverless: loaded on the first call until idle. managed: always on."),
    ] = "serverless"
    aliases: Annotated[
        tuple[str, ...],
        Meta(description='Other names that callers use for it; "*" catches every name.'),
    ] = ()
    idle_s: Annotated[
        float,
        Meta(gt=0, description="A serverless model is unloaded after this long without a call."),
    ] = 900.0
    context_length: Annotated[
        Annotated[int, Meta(ge=64)] | None,
        Meta(description="Tokens that one call gets. Unset: the card's."),
    ] = None
    slots: Annotated[
        Annotated[int, Meta(ge=1, le=1024)] | None,
        Meta(description="Calls worked on at once. Unset: follows from memory; 256 at a provider."),
    ] = None
    threads: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Threads of the engine. Unset: one a core."),
    ] = None
    max_waiting: Annotated[
        int, Meta(ge=0, description="Calls that may wait for a slot; one more is 429.")
    ] = 256
    requests_per_minute: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Calls that it takes, of all callers; see `[[key]]`. Unset: any."),
    ] = None
    tokens_per_minute: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Tokens that it takes, of all callers; see `[[key]]`. Unset: any."),
    ] = None
    capabilities: Annotated[
        Capabilities,
        Meta(description="What the deployment can honour, where card or row are wrong."),
    ] = Capabilities()


class KeyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[key]]``: a key with a name and limits, beside those in ``server.keys``."""

    name: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
            description="What `interlingua usage` calls it.",
        ),
    ]
    key: Annotated[str, Meta(description='The key itself, as "${NAME}".')]
    requests_per_minute: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Calls, as many at once, then evenly; one more is 429. Unset: any."),
    ] = None
    tokens_per_minute: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Tokens likewise, of prompts and answers: what a call may take is "
            "reserved, and what it didn't take comes back at its end. Unset: any."
        ),
    ] = None
    tokens_per_day: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Tokens from midnight to midnight, UTC. Unset: any."),
    ] = None


class EndpointConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[endpoint]]``: one address, several deployments."""

    name: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
            description="The address is /endpoints/NAME.",
        ),
    ]
    traffic: Annotated[
        dict[str, Annotated[float, Meta(ge=0)]],
        Meta(description="Weights by deployment; they need not add up to 100."),
    ]
    choose: Annotated[
        Literal["weighted", "least-busy", "ordered"],
        Meta(
            description="Who is asked first: by weight, by calls under way per weight, or as "
            "traffic lists them. If it fails, the next."
        ),
    ] = "weighted"


class IssuerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[issuer]]``: who issues the bearer tokens that callers may use beside keys."""

    tenant: Annotated[
        str | None,
        Meta(description="Microsoft Entra ID: the id of the directory whose tokens are accepted."),
    ] = None
    authority: Annotated[
        str,
        Meta(description="Microsoft Entra ID: where its tokens come from; national clouds differ."),
    ] = "https://login.microsoftonline.com"
    issuer: Annotated[
        str | None, Meta(description="Any other OpenID Connect issuer: its `iss`, a URL.")
    ] = None
    jwks_url: Annotated[
        str | None,
        Meta(description="Where its keys are. Unset: as its openid-configuration says."),
    ] = None
    audiences: Annotated[
        tuple[str, ...],
        Meta(min_length=1, description="Accepted `aud`, each with and without a slash at its end."),
    ] = (
        "https://ml.azure.com",
        "https://cognitiveservices.azure.com",
        "https://ai.azure.com",
    )
    roles_claim: Annotated[
        str | None,
        Meta(
            description="The claim that holds a caller's roles, such as groups, oid or "
            "realm_access.roles. Unset: roles, else scp."
        ),
    ] = None
    roles: Annotated[
        dict[str, tuple[str, ...]],
        Meta(
            description='What a role may call: an operation, "operation@deployment", or * for '
            "either. A token without such a role may call nothing."
        ),
    ] = {}
    allow_all: Annotated[
        bool,
        Meta(description="Every valid token of this issuer may call everything. Instead of roles."),
    ] = False


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    server: ServerConfig = ServerConfig()
    deployment: tuple[DeploymentConfig, ...] = ()
    endpoint: tuple[EndpointConfig, ...] = ()
    issuer: tuple[IssuerConfig, ...] = ()
    key: tuple[KeyConfig, ...] = ()
