"""Which deployment answers: the names that calls use, and what they mean.

Rules of this file:
- The path decides; else the header ``azureml-model-deployment`` or, without it,
  ``x-ms-model-mesh-model-name``; else the body's ``model``;
  else the first deployment that has the operation.
- A name that is given and unknown is an error, never the default.
- Where nobody is named, those that the caller may ask are preferred; who is named and isn't
  one of them is refused.
- Names are compared without regard to case; ``publisher/name`` means ``name``.
"""

from collections.abc import Mapping, Sequence

import msgspec

from interlingua.errors import DeploymentNotFound, NotFound, UnknownModel
from interlingua.types.models import Operation

from .choice import Choose
from .deployments import Deployment


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """What a call's address says of who shall answer."""

    operation: Operation
    #: ``/endpoints/{endpoint}``
    endpoint: str | None = None
    #: ``/deployments/{deployment}``
    deployment: str | None = None
    #: The header ``azureml-model-deployment``, or ``x-ms-model-mesh-model-name``.
    header_deployment: str | None = None
    #: A path under ``/openai``: unknown names are 404 there, 400 elsewhere.
    openai: bool = False
    #: The deployments that the caller may ask for this, in lower case; ``None``: any.
    permitted: frozenset[str] | None = None

    def permits(self, deployment: Deployment) -> bool:
        return self.permitted is None or deployment.name.lower() in self.permitted


class Directory:
    """The deployments and endpoints of a server, by name."""

    def __init__(
        self,
        deployments: Sequence[Deployment],
        endpoints: Mapping[str, Mapping[str, float]] = {},
        choose: Mapping[str, Choose] = {},
    ) -> None:
        """``endpoints`` maps an endpoint's name to traffic weights by deployment, and
        ``choose`` to how it chooses, unless by weight.
        """
        self.deployments = tuple(deployments)
        self._by_name: dict[str, Deployment] = {}
        self._catch_all: Deployment | None = None
        for names in (
            lambda deployment: (deployment.name,),
            lambda deployment: deployment.aliases,
            lambda deployment: deployment.also_known_as,
        ):
            for deployment in self.deployments:
                for name in names(deployment):
                    self._by_name.setdefault(name.lower(), deployment)
        for deployment in self.deployments:
            if "*" in deployment.aliases and self._catch_all is None:
                self._catch_all = deployment
        self._endpoints = {
            name.lower(): {
                self._by_name[target.lower()]: weight for target, weight in traffic.items()
            }
            for name, traffic in endpoints.items()
        }
        for deployment in self.deployments:
            self._endpoints.setdefault(deployment.name.lower(), {deployment: 1.0})
        self._choose = {name.lower(): how for name, how in choose.items()}
        self._stand_ins = {
            deployment: tuple(self._by_name[name.lower()] for name in deployment.fallback)
            for deployment in self.deployments
            if deployment.fallback
        }

    @property
    def has_stand_ins(self) -> bool:
        """Whether any deployment has."""
        return bool(self._stand_ins)

    def has_endpoint(self, name: str) -> bool:
        return name.lower() in self._endpoints

    def candidates(self, route: Route, model: str | None) -> Mapping[Deployment, float]:
        """Those that may answer first, with their weights; permitted ones, if there are any.

        Raises:
            DeploymentNotFound: a deployment or endpoint of the address doesn't exist.
            UnknownModel: nor does the body's model.
            NotFound: it exists, and doesn't have the operation.
        """
        if route.endpoint is not None:
            return self._in_endpoint(route, route.endpoint)
        return {self._outside(route, model): 1.0}

    def choose(self, route: Route) -> Choose:
        """How one of several candidates is chosen."""
        return self._choose.get((route.endpoint or "").lower(), "weighted")

    def stand_ins(self, deployment: Deployment, route: Route) -> tuple[Deployment, ...]:
        """Those that answer in its place, as far as they can and the caller may ask them."""
        named = self._stand_ins.get(deployment)
        if named is None:
            return ()
        return tuple(each for each in named if _has(each, route.operation) and route.permits(each))

    def _outside(self, route: Route, model: str | None) -> Deployment:
        name = route.deployment or route.header_deployment
        if name is not None:
            return self._with_operation(self._named(name, route), route)
        if model:
            return self._with_operation(self._named(model, route), route)
        able = [each for each in self.deployments if _has(each, route.operation)]
        for deployment in (*filter(route.permits, able), *able):
            return deployment
        raise NotFound(f"No deployment here has the operation {route.operation!r}.")

    def _in_endpoint(self, route: Route, name: str) -> Mapping[Deployment, float]:
        traffic = self._endpoints.get(name.lower())
        if traffic is None:
            raise DeploymentNotFound(
                f"The endpoint {name!r} doesn't exist. This server has: "
                f"{', '.join(self._endpoints)}."
            )
        wanted = route.deployment or route.header_deployment
        if wanted is not None:
            deployment = self._lookup(wanted)
            if deployment not in traffic:
                raise DeploymentNotFound(
                    f"The endpoint {name!r} has no deployment {wanted!r}. It has: "
                    f"{', '.join(deployment.name for deployment in traffic)}."
                )
            return {self._with_operation(deployment, route): 1.0}
        fit = {
            target: weight for target, weight in traffic.items() if _has(target, route.operation)
        }
        if not fit:
            raise NotFound(
                f"No deployment of the endpoint {name!r} has the operation {route.operation!r}."
            )
        return {target: weight for target, weight in fit.items() if route.permits(target)} or fit

    def _lookup(self, name: str) -> Deployment | None:
        key = name.lower()
        found = self._by_name.get(key)
        if found is None:
            found = self._by_name.get(key.rpartition("/")[2])
        return self._catch_all if found is None else found

    def _named(self, name: str, route: Route) -> Deployment:
        deployment = self._lookup(name)
        if deployment is not None:
            return deployment
        shown = name if len(name) <= 100 else name[:100] + "…"
        known = ", ".join(each.name for each in self.deployments if route.permits(each))
        remedy = (
            f"This server has: {known}. To accept the name, add it to the aliases of a "
            f'[[deployment]]: aliases = ["{shown}"].'
        )
        if route.openai:
            raise DeploymentNotFound(f"The deployment {shown!r} doesn't exist. {remedy}")
        raise UnknownModel(f"Unknown model: {shown}. {remedy}", location=("body", "model"))

    def _with_operation(self, deployment: Deployment, route: Route) -> Deployment:
        if route.operation == "info" or _has(deployment, route.operation):
            return deployment
        able = ", ".join(
            sorted(other.name for other in self.deployments if _has(other, route.operation))
        )
        raise NotFound(
            f"The deployment {deployment.name!r} doesn't have the operation "
            f"{route.operation!r}. Those that have it: {able or 'none'}."
        )


def _has(deployment: Deployment, operation: Operation) -> bool:
    return operation == "info" or operation in (deployment.capabilities.operations or ())
