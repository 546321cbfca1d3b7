"""The Azure AI Model Inference API.

Source: the TypeSpec of Azure's Model Inference data plane and its reference pages.
"""

from typing import ClassVar

from interlingua.types.models import Capabilities, ExtraParameters, merge

from .chat_wire import ChatBody
from .completions_wire import CompletionBody
from .error_wire import write_azure_error, write_azure_event
from .json_wire import JsonWire, Style
from .request_body import BodyReader

#: The first api-version whose replies have ``reasoning_content``.
REASONING_SINCE = "2025-04-01"

_CHAT: BodyReader[ChatBody] = BodyReader(ChatBody)
_COMPLETION: BodyReader[CompletionBody] = BodyReader(CompletionBody)


class AzureDialect(JsonWire):
    """Both sides of the wire. ``default_policy`` holds where a call doesn't say
    ``extra-parameters`` (documented default: ``error``).
    """

    CAPABILITIES: ClassVar[Capabilities] = merge(
        JsonWire.CAPABILITIES,
        # Azure: ChatCompletionsOptions knows max_tokens alone.
        Capabilities(renames={"max_completion_tokens": "max_tokens"}),
    )

    def __init__(self, default_policy: ExtraParameters = "error") -> None:
        super().__init__(
            Style(
                chat=_CHAT,
                completion=_COMPLETION,
                policy=default_policy,
                asks_for_extra=True,
                chat_prefix="",
                completion_prefix="",
                usage_rides=True,
                thinks_inline=_thinks_inline,
                embeddings_have_id=True,
                write_error=write_azure_error,
                write_event=write_azure_event,
            )
        )


def _thinks_inline(api_version: str | None) -> bool:
    return api_version is None or api_version < REASONING_SINCE
