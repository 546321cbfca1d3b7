"""What was passed through to a wire of another shape than OpenAI's."""

from interlingua.types.chat import ChatRequest
from interlingua.types.lift import check_lifted, lift


def lifted(request: ChatRequest, honoured: frozenset[str]) -> ChatRequest:
    """The request with the parameters that the wire has under other names taken out of
    ``extra``, where the Azure routes leave what they don't know.

    Raises:
        InvalidValue: a value is wrong, or given twice.
    """
    for name, value in request.extra.items():
        if name in honoured or name == "max_completion_tokens":
            request = lift(request, name, value)
    check_lifted(request)
    return request
