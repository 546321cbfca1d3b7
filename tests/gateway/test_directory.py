"""Which deployment answers."""

import msgspec
import pytest

from interlingua.errors import DeploymentNotFound, NotFound, UnknownModel
from interlingua.gateway.deployments import Deployment
from interlingua.gateway.directory import Directory, Route
from interlingua.gateway.routing import Router
from interlingua.types.models import Capabilities, Operation

from .backend import Script


def deployment(name: str, operation: Operation, **names: tuple[str, ...]) -> Deployment:
    can = Capabilities(operations=frozenset({operation}))
    return Deployment(name=name, backend=Script(capabilities=can), **names)


CHAT = deployment(
    "phi", "chat_completions", aliases=("gpt-4o-mini",), also_known_as=("Phi-3-mini", "vec")
)
OTHER = deployment("smol", "chat_completions")
VECTORS = deployment("vec", "embeddings")
DIRECTORY = Directory([CHAT, OTHER, VECTORS], {"support": {"phi": 1, "smol": 0, "vec": 1}})
ASK = Route(operation="chat_completions")


def find(route: Route, model: str | None, directory: Directory = DIRECTORY) -> Deployment:
    return Router(directory).chain(route, model)[0]


def test_without_a_name_the_first_that_can_answers() -> None:
    assert find(ASK, None) is CHAT
    assert find(Route(operation="embeddings"), None) is VECTORS


@pytest.mark.parametrize("name", ["phi", "PHI", "microsoft/phi", "GPT-4o-mini", "phi-3-mini"])
def test_names_aliases_and_card_names_route_without_regard_to_case(name: str) -> None:
    assert find(ASK, name) is CHAT


def test_candidates_are_all_of_which_one_is_picked() -> None:
    assert DIRECTORY.candidates(ASK, None) == {CHAT: 1.0}
    everywhere = msgspec.structs.replace(ASK, endpoint="support")
    assert DIRECTORY.candidates(everywhere, None) == {CHAT: 1, OTHER: 0}


def test_a_deployments_own_name_beats_another_cards() -> None:
    assert find(Route(operation="embeddings"), "vec") is VECTORS


def test_the_path_beats_the_header_and_the_header_beats_the_body() -> None:
    route = Route(operation="chat_completions", deployment="smol", header_deployment="phi")
    assert find(route, "phi") is OTHER
    route = Route(operation="chat_completions", header_deployment="smol")
    assert find(route, "phi") is OTHER


def test_an_unknown_model_is_400_and_says_what_there_is_and_the_remedy() -> None:
    with pytest.raises(UnknownModel) as caught:
        find(ASK, "gpt-5")
    assert "phi, smol, vec" in caught.value.message
    assert 'aliases = ["gpt-5"]' in caught.value.message


def test_an_unknown_deployment_under_openai_is_404() -> None:
    route = Route(operation="chat_completions", deployment="gpt-5", openai=True)
    with pytest.raises(DeploymentNotFound) as caught:
        find(route, None)
    assert caught.value.status == 404


def test_a_star_catches_every_name() -> None:
    star = deployment("any", "chat_completions", aliases=("*",))
    directory = Directory([CHAT, star])
    assert find(ASK, "gpt-5", directory) is star
    assert find(ASK, "phi", directory) is CHAT


def test_a_known_name_without_the_operation_is_404_and_names_those_that_have_it() -> None:
    with pytest.raises(NotFound, match="phi, smol"):
        find(ASK, "vec")
    with pytest.raises(NotFound):
        find(Route(operation="image_embeddings"), None)


def test_info_is_answered_by_any_deployment() -> None:
    assert find(Route(operation="info"), "vec") is VECTORS
    assert find(Route(operation="info"), None) is CHAT


def test_an_endpoint_routes_by_traffic_among_those_that_can() -> None:
    route = Route(operation="chat_completions", endpoint="SUPPORT")
    assert {find(route, "smol") for _ in range(50)} == {CHAT}
    route = Route(operation="embeddings", endpoint="support")
    assert find(route, None) is VECTORS
    with pytest.raises(NotFound):
        find(Route(operation="completions", endpoint="support"), None)


def test_both_sides_of_a_split_answer() -> None:
    directory = Directory([CHAT, OTHER], {"half": {"phi": 1, "smol": 1}})
    route = Route(operation="chat_completions", endpoint="half")
    assert {find(route, None, directory) for _ in range(200)} == {CHAT, OTHER}


def test_the_header_picks_within_the_endpoint_only() -> None:
    route = Route(operation="chat_completions", endpoint="support", header_deployment="smol")
    assert find(route, None) is OTHER
    route = Route(operation="chat_completions", endpoint="phi", header_deployment="smol")
    with pytest.raises(DeploymentNotFound, match="It has: phi"):
        find(route, None)


def test_every_deployment_has_an_endpoint_of_its_own_name() -> None:
    assert find(Route(operation="chat_completions", endpoint="smol"), None) is OTHER
    assert DIRECTORY.has_endpoint("Smol")
    with pytest.raises(DeploymentNotFound):
        find(Route(operation="chat_completions", endpoint="none"), None)
