"""The OpenAI API, as Azure OpenAI and every compatible provider speak it.

Source: OpenAI's API reference for chat completions, completions and embeddings.
"""

from .chat_wire import ChatBody, OpenAIChatBody
from .completions_wire import CompletionBody, OpenAICompletionBody
from .error_wire import write_openai_error, write_openai_event
from .json_wire import JsonWire, Style
from .request_body import BodyReader

_CHAT: BodyReader[ChatBody] = BodyReader(OpenAIChatBody)
_COMPLETION: BodyReader[CompletionBody] = BodyReader(OpenAICompletionBody)


class OpenAIDialect(JsonWire):
    """Both sides of the wire. Without the header ``extra-parameters``, unknown names wait for
    the target's own default.
    """

    def __init__(self) -> None:
        super().__init__(
            Style(
                chat=_CHAT,
                completion=_COMPLETION,
                policy=None,
                asks_for_extra=False,
                chat_prefix="chatcmpl-",
                completion_prefix="cmpl-",
                usage_rides=False,
                thinks_inline=_never,
                embeddings_have_id=False,
                write_error=write_openai_error,
                write_event=write_openai_event,
            )
        )


def _never(_api_version: str | None) -> bool:
    return False
