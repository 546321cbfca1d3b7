"""Mistral's own wire: OpenAI's, with names of its own, and whatever it doesn't know refused.

Source: Mistral API: chat completion, embeddings; the quirks are in ``openai.QUIRKS``.
"""

from .openai import answer, served

__all__ = ["answer", "served"]
