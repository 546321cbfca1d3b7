"""Prompts kept apart from code: templates in mustache, in strings or in ``.prompty`` files.

The names, the arguments and the messages are those of ``azure.ai.inference.prompts``.
"""

from .mustache import TemplateError
from .prompty import Prompty
from .template import PromptTemplate

__all__ = ["PromptTemplate", "Prompty", "TemplateError"]
