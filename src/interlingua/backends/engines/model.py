"""What an engine is asked to run."""

import msgspec

from interlingua.catalog.card import StoredModel
from interlingua.types.models import Capabilities

from .process import EngineProcess, Launch


class EngineModel(msgspec.Struct, frozen=True, kw_only=True):
    """A stored model under a deployment's name and limits. ``None``: the engine decides."""

    #: The deployment's name: what replies call the model.
    name: str
    stored: StoredModel
    context_length: int | None = None
    slots: int | None = None
    threads: int | None = None
    #: What the engine's process finds in its environment besides a fixed PATH and LANG.
    environment: dict[str, str] = {}
    #: Starts its process.
    launch: Launch = EngineProcess
    #: The config's statements, merged over the card's.
    capabilities: Capabilities = Capabilities()
