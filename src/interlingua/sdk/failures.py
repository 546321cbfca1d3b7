# mypy: disable-error-code="explicit-override"
# (typing has `override` from Python 3.12)
"""What a call can fail with, under the names of azure.core.exceptions.

Rules of this file:
- The classes are this project's own, and azure-core is never imported.
- Where the caller's program has imported azure-core, what is raised is of azure-core's class
  of the same name too, so that ``except azure.core.exceptions.HttpResponseError`` catches it.
- ``message`` is the server's text, as Microsoft's client composes it; a key is never in one.
"""

import json
import sys
from collections.abc import Mapping
from functools import cache
from types import TracebackType
from typing import Any, Protocol


class Answered(Protocol):
    """The reply that a failure comes from."""

    @property
    def status_code(self) -> int: ...
    @property
    def reason(self) -> str: ...
    def text(self) -> str: ...


class ODataV4Format:
    """The error that a body states: a code, a message, and details of the same kind."""

    def __init__(self, json_object: Mapping[str, Any]) -> None:
        """Read ``{"error": {…}}``, or the error itself.

        Raises:
            ValueError: it states neither a code nor a message.
        """
        stated = json_object.get("error", json_object)
        if not isinstance(stated, Mapping) or not (stated.get("code") or stated.get("message")):
            raise ValueError("neither a code nor a message")
        self.code: str | None = stated.get("code")
        self.message: str | None = stated.get("message")
        self.target: str | None = stated.get("target")
        self.details: list[ODataV4Format] = []
        for each in stated.get("details") or []:
            if isinstance(each, Mapping) and (each.get("code") or each.get("message")):
                self.details.append(ODataV4Format(each))
        self.innererror: Mapping[str, Any] = stated.get("innererror", {})

    def __str__(self) -> str:
        return f"({self.code}) {self.message}\n{self.message_details()}"

    def message_details(self) -> str:
        text = f"Code: {self.code}\nMessage: {self.message}"
        if self.target:
            text += f"\nTarget: {self.target}"
        if self.details:
            text += "\nException Details:"
            for each in self.details:
                text += "\n".join("\t" + line for line in str(each).splitlines())
        if self.innererror:
            text += f"\nInner error: {json.dumps(self.innererror, indent=4)}"
        return text


class AzureError(Exception):
    """Any failure of a call."""

    def __init__(
        self, message: object = "", *args: Any, error: BaseException | None = None
    ) -> None:
        self.inner_exception = error
        kind, value, trace = sys.exc_info()
        self.exc_type: type[Any] = kind or type(error)
        self.exc_value: BaseException | None = value
        self.exc_traceback: TracebackType | None = trace
        self.message = str(message)
        self.exc_msg = f"{message}, {self.exc_type.__name__}: {value}"
        self.continuation_token: str | None = None
        # Not super(): azure-core's class may be next, and everything it would set is set here.
        Exception.__init__(self, self.message, *args)


class ServiceRequestError(AzureError):
    """The request could not be sent."""


class ServiceResponseError(AzureError):
    """The request was sent, and no reply came that makes sense."""


class ServiceRequestTimeoutError(ServiceRequestError):
    """No connection in time."""


class ServiceResponseTimeoutError(ServiceResponseError):
    """No reply in time."""


class HttpResponseError(AzureError):
    """The server answered with a failure. ``error`` is what its body states, if it does."""

    def __init__(
        self,
        message: object = None,
        response: Answered | None = None,
        *,
        error: BaseException | None = None,
    ) -> None:
        self.response = response
        self.status_code = None if response is None else response.status_code
        self.reason = None if response is None else response.reason
        self.model: object = None
        stated = None if response is None else read_error(response)
        message = str(stated) if stated else message
        message = message or f"Operation returned an invalid status '{self.reason}'"
        super().__init__(message, error=error)
        self.error = stated

    def __str__(self) -> str:
        text = Exception.__str__(self)  # not super(): azure-core's class may be next
        if self.response is None or self.error:
            return text
        body = self.response.text()
        return f"{text}\nContent: {body}"[:2048] if body else text


class DecodeError(HttpResponseError):
    """A reply that makes no sense."""


class IncompleteReadError(DecodeError):
    """The connection ended before the reply did."""


class ResourceExistsError(HttpResponseError):
    """409."""


class ResourceNotFoundError(HttpResponseError):
    """404."""


class ClientAuthenticationError(HttpResponseError):
    """401."""


class ResourceModifiedError(HttpResponseError):
    """412."""


class ResourceNotModifiedError(HttpResponseError):
    """304."""


class StreamConsumedError(AzureError):
    """A body was read twice."""


class ResponseNotReadError(AzureError):
    """A body was asked for before it was read."""


BY_STATUS: Mapping[int, type[HttpResponseError]] = {
    304: ResourceNotModifiedError,
    401: ClientAuthenticationError,
    404: ResourceNotFoundError,
    409: ResourceExistsError,
}


def failure(kind: type[AzureError], *args: Any, **given: Any) -> AzureError:
    """A failure to raise: of azure-core's class too, if the program knows that."""
    return caught_as(kind)(*args, **given)


def caught_as(kind: type[AzureError]) -> type[AzureError]:
    azure = sys.modules.get("azure.core.exceptions")
    theirs = getattr(azure, kind.__name__, None)
    ours: Any = kind
    both: type[AzureError] = _both(ours, theirs) if isinstance(theirs, type) else ours
    return both


@cache
def _both(kind: Any, theirs: Any) -> Any:
    return type(kind.__name__, (kind, theirs), {"__module__": kind.__module__})


def read_error(response: Answered) -> ODataV4Format | None:
    """What the body states; ``None`` when it states nothing in the API's form."""
    try:
        return ODataV4Format(json.loads(response.text()))
    except (ValueError, AttributeError):
        return None
