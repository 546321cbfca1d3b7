"""What is known of a provider's model by its name, as ``models show`` and ``check`` say it."""

from collections.abc import Sequence

import msgspec

from interlingua.backends.providers.families import Family, combined
from interlingua.gateway.fates import Fate, fates
from interlingua.types.models import Capabilities, Operation, stated


def as_json_object(name: str, families: Sequence[Family]) -> dict[str, object]:
    """The members of ``models show --json`` for a model at a provider."""
    can = _anywhere(families)
    return {
        "provider_model": {
            "name": name,
            "publisher": families[-1].publisher,
            "type": families[-1].type,
            "families": [
                msgspec.to_builtins(family) | {"capabilities": stated(family.capabilities)}
                for family in families
            ],
            "capabilities": stated(can),
            "parameters": {
                operation: msgspec.to_builtins(fates(can, operation))
                for operation in operations_of(families[-1])
            },
        }
    }


def as_facts(name: str, families: Sequence[Family]) -> list[tuple[str, str]]:
    """Label and text, line by line."""
    if not families:
        return []
    last, can = families[-1], _anywhere(families)
    facts = [
        ("at a provider", f"{name}, {last.type}, by {last.publisher}"),
        ("family", " > ".join(family.name for family in families if not family.rows)),
        *capability_facts(can),
    ]
    for operation in operations_of(last):
        facts += fate_facts(operation, fates(can, operation))
    for family in families:
        if family.rows:
            told = "; ".join(
                f"{label} {text}" for label, text in capability_facts(family.capabilities)
            )
            facts.append((f"at {', '.join(family.rows)}", told))
    sources = dict.fromkeys(family.source for family in families)
    facts += [("source", source) for source in sources]
    return [(label, text) for label, text in facts if text]


def capability_facts(can: Capabilities) -> list[tuple[str, str]]:
    """What is stated, in words."""
    facts = []
    for field, value in stated(can).items():
        match value:
            case list():
                text = ", ".join(map(str, value)) or "only its own"
            case dict():
                text = ", ".join(f"{old} as {new}" for old, new in value.items())
            case bool():
                text = "yes" if value else "no"
            case int():
                text = f"{value:,}"
            case _:
                text = str(value)
        facts.append((field.replace("_", " "), text))
    return facts


def fate_facts(operation: Operation, told: dict[str, Fate]) -> list[tuple[str, str]]:
    """What becomes of an operation's parameters, a line for each state."""
    facts = []
    for state in ("honoured", "renamed", "refused"):
        names = [_in_words(name, fate) for name, fate in told.items() if fate.state == state]
        if names:
            facts.append((f"{operation.replace('_', ' ')}: {state}", ", ".join(names)))
    return facts


def operations_of(family: Family) -> tuple[Operation, ...]:
    return ("embeddings",) if family.type == "embedding" else ("chat_completions",)


def _in_words(name: str, fate: Fate) -> str:
    if fate.to:
        return f"{name} as {fate.to}"
    return f"{name} ({', '.join(fate.values)})" if fate.values else name


def _anywhere(families: Sequence[Family]) -> Capabilities:
    """What holds whoever serves it."""
    return combined(family.capabilities for family in families if not family.rows)
