"""The four states for every kind of deployment that this package can make, as it makes them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlingua.backends import echo
from interlingua.backends.engines import llamacpp, onnx
from interlingua.backends.engines.model import EngineModel
from interlingua.catalog.card import StoredModel
from interlingua.catalog.catalog import find
from interlingua.catalog.local import card_for_path
from interlingua.errors import CallerError, ParameterNotSupported
from interlingua.gateway.negotiate import negotiate
from interlingua.types.chat import ChatRequest
from interlingua.types.models import Capabilities, Operation

from ..support.engines import packaged
from ..support.tiny_clip import build_tiny_clip
from ..support.tiny_phi3 import build_tiny_phi3
from .test_negotiate import REQUESTS

OPERATIONS: dict[str, Operation] = {
    "chat": "chat_completions",
    "completion": "completions",
    "embeddings": "embeddings",
    "image embeddings": "image_embeddings",
}


def _model(stored: StoredModel) -> EngineModel:
    return EngineModel(name="d", stored=stored, slots=1)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Capabilities]:
    """What each kind of deployment says that it can do."""
    folder = tmp_path_factory.mktemp("kinds")
    build_tiny_phi3(folder / "phi3.gguf")
    build_tiny_clip(folder / "clip")
    made = {
        "phi-3": llamacpp.create(_model(card_for_path(folder / "phi3.gguf"))),
        "smollm2": llamacpp.create(_model(packaged("smollm2-135m-instruct"))),
        "minilm": onnx.create(_model(packaged("all-minilm-l6-v2"))),
        "efficientnet": onnx.create(_model(packaged("efficientnet-lite0"))),
        "clip": onnx.create(_model(card_for_path(folder / "clip"))),
    }
    card = find("echo") or echo.CARD
    made["echo"] = echo.create(_model(StoredModel(card=card, files={})))
    return {name: backend.capabilities for name, backend in made.items()}


def _cases(kinds: dict[str, Capabilities]) -> Iterator[tuple[str, Capabilities, Any, str, Any]]:
    for kind, can in kinds.items():
        for operation, (empty, values) in REQUESTS.items():
            if OPERATIONS[operation] in (can.operations or ()):
                for name, value in values.items():
                    yield f"{kind} {operation} {name}", can, empty, name, value


def test_every_parameter_is_listed_and_kept_or_refused_by_name(
    kinds: dict[str, Capabilities], tmp_path: Path
) -> None:
    seen = 0
    for case, can, empty, name, value in _cases(kinds):
        request = msgspec.structs.replace(empty, **{name: value})
        listed = name in (can.parameters or ()) or name in (can.extensions or ())
        try:
            settled, changes = negotiate(request, can, None)
        except ParameterNotSupported as refusal:
            assert refusal.location[:2] == ("body", name), case
        else:
            assert listed, f"{case}: kept, though nobody says that it is honoured"
            assert getattr(settled, name) == value, case
            assert changes.header() is None, case
        seen += 1
    assert seen > 60


def test_what_no_engine_here_can_do_is_refused_by_all(kinds: dict[str, Capabilities]) -> None:
    chat = REQUESTS["chat"][0]
    for name, value in {
        "audio": {"voice": "x"},
        "modalities": ("text", "audio"),
        "reasoning_effort": "low",
        "user_security_context": {"a": 1},
    }.items():
        request = msgspec.structs.replace(chat, **{name: value})
        for kind in ("phi-3", "smollm2"):
            with pytest.raises(ParameterNotSupported):
                negotiate(request, kinds[kind], None)


@settings(max_examples=200)
@given(st.text(), st.sampled_from(["drop", "pass-through", None]))
def test_no_name_that_a_caller_invents_reaches_an_engine(name: str, policy: Any) -> None:
    request = msgspec.structs.replace(REQUESTS["chat"][0], extra={name: 1})
    for can in _ENGINES:
        try:
            settled, _ = negotiate(request, can, policy)
        except CallerError as refusal:
            assert refusal.status in {400, 422}
        else:
            assert settled.extra == {}
            assert isinstance(settled, ChatRequest)


_ENGINES = (
    Capabilities(
        parameters=llamacpp._TEXT | llamacpp._CHAT,
        extensions=llamacpp._EXTENSIONS,
        passes_through=False,
    ),
)
