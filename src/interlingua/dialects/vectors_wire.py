"""What the wires of embeddings providers share beside OpenAI's shape."""

from interlingua.errors import ParameterNotSupported
from interlingua.types.embeddings import EmbeddingsRequest


def texts_of(request: EmbeddingsRequest) -> list[str]:
    """The inputs of a provider that takes no token ids.

    Raises:
        ParameterNotSupported: they are token ids.
    """
    texts = [text for text in request.inputs if isinstance(text, str)]
    if len(texts) != len(request.inputs):
        raise ParameterNotSupported(
            "This provider takes texts, not lists of token ids.", location=("body", "input")
        )
    return texts
