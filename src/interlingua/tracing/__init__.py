"""Spans of OpenTelemetry for every call, with its conventions for generative AI.

The names are those of ``azure.ai.inference.tracing``. Importing this needs no OpenTelemetry;
making an instrumentor does.
"""

from interlingua.sdk.environment import records_content
from interlingua.sdk.observe import Observing

__all__ = ["AIInferenceInstrumentor"]


class AIInferenceInstrumentor:
    """Turns tracing on and off, for all clients of this process."""

    def __init__(self) -> None:
        """Change nothing yet.

        Raises:
            ModuleNotFoundError: opentelemetry-api isn't installed.
        """
        try:
            from . import spans  # noqa: PLC0415 - an extra, needed from here on
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "tracing needs OpenTelemetry: install it with `pip install 'interlingua[otel]'`",
                name=error.name,
            ) from error
        self._kind = spans.Tracing

    def instrument(
        self,
        enable_content_recording: bool | None = None,  # noqa: FBT001 - Azure: instrument
    ) -> None:
        """Trace from now on, instead of any other observer.

        ``enable_content_recording`` is whether events hold what was said, and the names and
        arguments of tools; without a word on it the variable
        ``AZURE_TRACING_GEN_AI_CONTENT_RECORDING_ENABLED`` decides, and without that: no. The
        last call counts.
        """
        records = enable_content_recording
        Observing.observer = self._kind(records_content() if records is None else records)

    def uninstrument(self) -> None:
        """Trace no more; calls that run are still traced to their end."""
        if self.is_instrumented():
            Observing.observer = None

    def is_instrumented(self) -> bool:
        return isinstance(Observing.observer, self._kind)

    def is_content_recording_enabled(self) -> bool:
        observer = Observing.observer
        return isinstance(observer, self._kind) and observer.records_content
