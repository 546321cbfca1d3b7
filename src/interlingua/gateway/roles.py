"""Instructions to a model that has no role for them.

Source: Azure, "How to use chat completions": for a model without system messages the service
turns them into user messages.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from interlingua.types.chat import (
    Content,
    DeveloperMessage,
    Message,
    Part,
    SystemMessage,
    TextPart,
    UserMessage,
)

#: The roles of instructions: no model refuses them, since they can go on in another.
FOLDED = frozenset({"system", "developer"})


def fold_roles(
    messages: Iterable[Message], roles: frozenset[str]
) -> tuple[tuple[Message, ...], tuple[tuple[str, str], ...]]:
    """The messages in these roles alone, and each role that became another."""
    folded: dict[str, str] = {}
    told: list[Message] = []
    waiting: Content | None = None
    for message in messages:
        if isinstance(message, SystemMessage | DeveloperMessage):
            role = "system" if isinstance(message, SystemMessage) else "developer"
            target = _target(role, roles)
            if target != role:
                folded[role] = target
            if target == "user":
                waiting = _joined(waiting, message.content)
            else:
                kind = SystemMessage if target == "system" else DeveloperMessage
                told.append(kind(message.content))
            continue
        if waiting is not None:
            # A user message goes on where one follows: some models want turns to alternate.
            if isinstance(message, UserMessage):
                told.append(replace(message, content=_joined(waiting, message.content)))
                waiting = None
                continue
            told.append(UserMessage(waiting))
            waiting = None
        told.append(message)
    if waiting is not None:
        told.append(UserMessage(waiting))
    return tuple(told), tuple(folded.items())


def _target(role: str, roles: frozenset[str]) -> str:
    if role in roles:
        return role
    (other,) = FOLDED - {role}
    return other if other in roles else "user"


def _joined(first: Content | None, second: Content) -> Content:
    if first is None:
        return second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return (*_parts(first), *_parts(second))


def _parts(content: Content) -> tuple[Part, ...]:
    return (TextPart(content),) if isinstance(content, str) else content
