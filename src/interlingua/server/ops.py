"""What the server says about itself: its health, and what it serves."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal, Protocol, get_args, runtime_checkable

import msgspec
from msgspec import Meta

from interlingua.errors import NotFound
from interlingua.gateway.circuit import CircuitState
from interlingua.gateway.deployments import Deployment, State
from interlingua.gateway.fates import PARAMETERS, Fate, fates
from interlingua.telemetry import Observed
from interlingua.types.models import Capabilities, Operation, stated

#: Azure: a managed endpoint's scoring container answers this at ``GET /``.
HEALTHY = b'"healthy"'


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether the process lives, and whether it takes calls."""

    status: Literal["live", "ready", "waiting", "draining"]
    waiting_for: Annotated[
        dict[str, str],
        Meta(description="Managed deployments that can't answer yet, with their states."),
    ] = {}
    resting: Annotated[
        dict[str, str],
        Meta(description="Deployments that aren't asked for a while, and why; others go on."),
    ] = {}


class Model(msgspec.Struct, frozen=True):
    """OpenAI: the model object."""

    id: str
    created: int
    owned_by: str
    object: Literal["model"] = "model"


class ModelList(msgspec.Struct, frozen=True):
    data: list[Model]
    object: Literal["list"] = "list"


class _Ability(msgspec.Struct, frozen=True):
    """What a deployment can honour, and what becomes of each parameter, by operation."""

    capabilities: dict[str, object]
    parameters: dict[Operation, dict[str, Fate]]


class CatalogModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """GitHub Models: an entry of ``GET /catalog/models``, as far as it is known here."""

    id: str
    name: str
    publisher: str
    supported_input_modalities: list[str]
    supported_output_modalities: list[str]
    capabilities: list[str] = msgspec.field(default_factory=list)
    limits: dict[str, int] = {}
    interlingua: Annotated[
        _Ability,
        Meta(
            description="Beyond GitHub's shape: what the deployment can honour, and what becomes "
            "of each parameter, by operation."
        ),
    ]


class _Process(Protocol):
    def rss_bytes(self) -> int | None: ...


@runtime_checkable
class _OwnProcess(Protocol):
    """A backend with a process of its own."""

    @property
    def process(self) -> _Process: ...


def observe(deployments: Iterable[Deployment]) -> Iterator[Observed]:
    """What ``GET /metrics`` says of each deployment besides its calls that ended."""
    for deployment in deployments:
        backend = deployment.backend
        yield Observed(
            deployment=deployment.name,
            state=deployment.state,
            states=get_args(State),
            calls=deployment.calls_under_way,
            circuit=deployment.circuit.state,
            circuits=get_args(CircuitState),
            retries=deployment.budget.spent,
            fallbacks=deployment.fallbacks,
            limited=deployment.limited,
            memory_bytes=backend.process.rss_bytes() if isinstance(backend, _OwnProcess) else None,
        )


LIVE = msgspec.json.encode(Health("live"))


def readiness(deployments: Sequence[Deployment], *, draining: bool) -> tuple[int, bytes]:
    """Status and body of ``GET /health/ready``: 200 once every managed deployment is loaded."""
    if draining:
        return 503, msgspec.json.encode(Health("draining"))
    waiting: dict[str, str] = {
        deployment.name: deployment.state
        for deployment in deployments
        if deployment.limits.compute == "managed" and deployment.state != "ready"
    }
    resting: dict[str, str] = {
        deployment.name: state
        for deployment in deployments
        if (state := deployment.circuit.state) != "closed"
    }
    if waiting:
        return 503, msgspec.json.encode(Health("waiting", waiting, resting))
    return 200, msgspec.json.encode(Health("ready", resting=resting))


def list_models(deployments: Iterable[Deployment], created: int) -> bytes:
    """The body of ``GET /v1/models``."""
    return msgspec.json.encode(ModelList([_model(d, created) for d in deployments]))


def show_model(deployments: Sequence[Deployment], name: str, created: int) -> bytes:
    """The body of ``GET /v1/models/{model}``.

    Raises:
        NotFound: no deployment has that name.
    """
    wanted = name.lower()
    for deployment in deployments:
        names = (deployment.name, *deployment.aliases, *deployment.also_known_as)
        if {wanted, wanted.rpartition("/")[2]} & {known.lower() for known in names}:
            return msgspec.json.encode(_model(deployment, created))
    known_names = ", ".join(deployment.name for deployment in deployments)
    raise NotFound(f"The model {name[:100]!r} was not found. This server has: {known_names}.")


def list_catalog(deployments: Iterable[Deployment]) -> bytes:
    """The body of ``GET /catalog/models``."""
    return msgspec.json.encode([_catalog_model(deployment) for deployment in deployments])


def _model(deployment: Deployment, created: int) -> Model:
    return Model(deployment.name, created, deployment.info.model_provider_name)


def _catalog_model(deployment: Deployment) -> CatalogModel:
    can = deployment.capabilities
    operations = can.operations or frozenset()
    publisher = deployment.info.model_provider_name
    slug = re.sub(r"[^a-z0-9]+", "-", publisher.lower()).strip("-")
    inputs = set(can.modalities or {"text"})
    if operations == {"image_embeddings"}:
        inputs = {"image", "text"} if can.image_text else {"image"}
    texts = bool({"chat_completions", "completions"} & operations)
    vectors = bool({"embeddings", "image_embeddings"} & operations)
    return CatalogModel(
        id=f"{slug}/{deployment.name}",
        name=deployment.name,
        publisher=publisher,
        supported_input_modalities=sorted(inputs),
        supported_output_modalities=["text"] * texts + ["embeddings"] * vectors,
        capabilities=["streaming"] * texts + ["tool-calling"] * _calls_tools(can),
        limits={"max_input_tokens": can.context_length} if can.context_length else {},
        interlingua=_Ability(
            stated(can), {each: fates(can, each) for each in PARAMETERS if each in operations}
        ),
    )


def _calls_tools(can: Capabilities) -> bool:
    """Whether it says that it does; a provider judges for itself."""
    return "tools" in (can.parameters or ()) and "tools" not in (can.refuses or ())
