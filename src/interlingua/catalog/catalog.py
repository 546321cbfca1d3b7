"""The cards that this package ships, found by name.

Rules of this file:
- Names are compared without regard to case: a card's own, its aliases, and each of them
  after ``publisher/``.
- No two cards share a name; a test holds that.
"""

import difflib
from functools import cache
from pathlib import Path

import msgspec

from interlingua.errors import ModelFileError

from .card import Card
from .local import card_for_path

__all__ = [
    "CATALOG_DIR",
    "DEFAULT_MODELS",
    "card_for_path",
    "find",
    "load_cards",
    "names_of",
    "require",
    "suggest",
]

#: What a server without a config answers with: chat and completions, texts, images.
DEFAULT_MODELS = ("smollm2-135m-instruct", "all-minilm-l6-v2", "efficientnet-lite0")

CATALOG_DIR = Path(__file__).parent


class _Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    card: tuple[Card, ...]


@cache
def load_cards() -> tuple[Card, ...]:
    """Every packaged card, by family and then in the order of its file."""
    cards: list[Card] = []
    for path in sorted((CATALOG_DIR / "cards").glob("*.toml")):
        cards += msgspec.toml.decode(path.read_bytes(), type=_Family).card
    return tuple(cards)


def names_of(card: Card) -> tuple[str, ...]:
    """Every name that finds the card, lower-case."""
    names = [card.name.lower(), *(alias.lower() for alias in card.aliases)]
    qualified = [f"{card.publisher.lower()}/{name}" for name in names]
    return tuple(dict.fromkeys(names + qualified))


def find(name: str) -> Card | None:
    """The card of that name or alias, ``publisher/name`` included; ``None``: there is none."""
    wanted = name.strip().lower()
    return next((card for card in load_cards() if wanted in names_of(card)), None)


def suggest(name: str) -> tuple[str, ...]:
    """At most three names of cards that a misspelt one may have meant, the nearest first."""
    by_name = {name: card.name for card in load_cards() for name in names_of(card)}
    wanted = name.strip().lower()
    near = difflib.get_close_matches(wanted, by_name, n=6, cutoff=0.6)
    near += [known for known in by_name if len(wanted) >= 3 and wanted in known]
    return tuple(dict.fromkeys(by_name[match] for match in near))[:3]


def require(name: str) -> Card:
    """The card of that name.

    Raises:
        ModelFileError: there is none; the message names what may have been meant.
    """
    card = find(name)
    if card is not None:
        return card
    near = suggest(name)
    meant = f"did you mean {' or '.join(near)}?" if near else "`interlingua models list` has all."
    raise ModelFileError(f"the catalog has no model {name!r}: {meant}")
