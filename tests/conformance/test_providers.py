"""Every provider of the registry, against a scripted server that speaks its published wire."""

from collections.abc import Iterator

import pytest

from interlingua.backends.providers.registry import rows

from ..support.conforming import assert_conforms, declared_by, outcomes
from ..support.scripted_providers import Stand, deployments, standing


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("providers")) as running:
        yield running


def test_every_row_of_the_registry_has_a_scripted_wire_and_is_run() -> None:
    assert {row.name for row, _ in deployments().values()} == {row.name for row in rows()}


@pytest.mark.parametrize("name", deployments())
def test_a_provider_conforms(stand: Stand, name: str) -> None:
    began = len(stand.providers.requests)
    found = outcomes(stand.url, declared_by(stand.deployments[name], exact=True))
    assert_conforms(found, at_least=30)
    sent = [set(request.json()) for request in stand.providers.requests[began:]]
    assert sent
    assert not [names for names in sent if {"conformance_dropped", "conformance_refused"} & names]
