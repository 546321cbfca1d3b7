"""The tree of errors that a caller of the API can meet.

Rules of this file:
- A class states the HTTP status, the code, whose fault it is and whether a retry can help.
- The narrowest class is raised at the place that knows; only dialects turn it into bytes.
- A message says what was wrong, with which value, and what would be right. It never holds
  a key, a prompt or an upstream's body.
"""

from typing import ClassVar, Literal

Fault = Literal["caller", "server", "upstream"]
Location = tuple[str | int, ...]


class ApiError(Exception):
    """A failure with a place in the API's contract.

    ``location`` names what is at fault in the request, as in ``("body", "messages", 0)``;
    ``value`` is the offending value where it is short and harmless to repeat.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    fault: ClassVar[Fault] = "server"
    retryable: ClassVar[bool] = False
    #: The ``type`` of the entry in ``error.details``.
    kind: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        *,
        location: Location = (),
        value: object = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.location = location
        self.value = value
        #: Sent as ``Retry-After``; only ever set on 429 and 503 (a client that sees it on
        #: another status repeats the call).
        self.retry_after_s = retry_after_s
        #: Raised because a test wants it: it says nothing of the deployment's health.
        self.staged = False

    @property
    def param(self) -> str | None:
        """The parameter at fault, as the OpenAI error shape spells it: ``messages[0].role``."""
        path = self.location[1:] if self.location[:1] == ("body",) else self.location
        text = ""
        for part in path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text or None


class CallerError(ApiError):
    """The request is at fault; repeating it can't help."""

    status = 400
    code = "bad_request"
    fault = "caller"


class MalformedBody(CallerError):
    """The body is not JSON, or not in UTF-8."""

    code = "invalid_json"
    kind = "json_invalid"


class UnknownParameters(CallerError):
    """Unknown top-level fields under ``extra-parameters: error`` (contract: 400, fixed text)."""

    code = "extra_parameters"
    kind = "extra_forbidden"

    def __init__(self, names: tuple[str, ...]) -> None:
        shown = "[" + ", ".join(repr(name) for name in names) + "]"
        super().__init__(
            f"Extra parameters {shown} are not allowed when extra-parameters is not set or set "
            "to be 'error'. Set extra-parameters to 'pass-through' to pass to the model.",
            location=("body", names[0]),
        )
        self.names = names


class TooManyUnknownParameters(CallerError):
    """More unknown top-level fields than a reply could list."""

    code = "extra_parameters"
    kind = "extra_forbidden"


class InvalidPolicy(CallerError):
    """A value of the header ``extra-parameters`` that the API doesn't know."""

    code = "invalid_extra_parameters"

    def __init__(self, value: str) -> None:
        super().__init__(
            f"Unexpected EXTRA_PARAMETERS option {value}, "
            "expected options are ['error', 'drop', 'pass-through']",
            location=("header", "extra-parameters"),
            value=value,
        )


class UnknownModel(CallerError):
    """A name of a model or deployment that the server doesn't know."""

    code = "unknown_model"


class ContextLengthExceeded(CallerError):
    """The prompt is longer than the context that one call gets."""

    code = "context_length_exceeded"


class Unauthorized(CallerError):
    """The key or the token is missing or wrong."""

    status = 401
    code = "unauthorized"


class Forbidden(CallerError):
    """The token is valid, and no role of it permits the call."""

    status = 403
    code = "forbidden"


class NotFound(CallerError):
    """No such route, or the deployment doesn't have this operation."""

    status = 404
    code = "not_found"


class DeploymentNotFound(NotFound):
    """A deployment named in the path or the header doesn't exist."""

    code = "DeploymentNotFound"


class NotRecorded(NotFound):
    """A replayed recording holds no such request."""

    code = "not_recorded"


class MethodNotAllowed(CallerError):
    """The route exists, with another method."""

    status = 405
    code = "method_not_allowed"


class RequestTimeout(CallerError):
    """The request itself didn't arrive in time."""

    status = 408
    code = "request_timeout"


class BodyTooLarge(CallerError):
    """The body is longer than the server accepts."""

    status = 413
    code = "body_too_large"


class InvalidValue(CallerError):
    """A known parameter with a malformed, empty or out-of-range value."""

    status = 422
    code = "Invalid input"
    kind = "value_error"


class ParameterNotSupported(CallerError):
    """A known parameter with a legal value that this model can't honour."""

    status = 422
    code = "parameter_not_supported"
    kind = "parameter_not_supported"


class ExtraForbidden(CallerError):
    """A passed-through parameter that the engine doesn't take (contract: model error, 422)."""

    status = 422
    code = "Invalid input"
    kind = "extra_forbidden"

    def __init__(self, name: str, value: object = None) -> None:
        super().__init__("Extra inputs are not permitted", location=("body", name), value=value)


class RateLimited(CallerError):
    """A limit or a full queue; the same call can succeed later."""

    status = 429
    code = "too_many_requests"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


class InternalError(ApiError):
    """A defect of the server."""


class Unavailable(ApiError):
    """What should answer can't now; a later call may succeed."""

    status = 503
    code = "service_unavailable"
    fault = "upstream"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


class ModelNotReady(Unavailable):
    """The model is not loaded, can't be loaded, or its engine keeps failing."""

    code = "model_not_ready"


class UpstreamError(ApiError):
    """What should answer gave a reply that makes no sense, or broke off."""

    status = 502
    code = "bad_gateway"
    fault = "upstream"
    retryable = True


class DeadlineExceeded(ApiError):
    """The call took longer than it may."""

    status = 504
    code = "timeout"
    fault = "upstream"
    retryable = True


class ModelFileError(Exception):
    """A model's file can't be used: names the file, what is wrong with it, and the remedy.

    Not an API error by itself: at start it ends the program, in a call it becomes
    :class:`ModelNotReady`.
    """


class ConfigError(Exception):
    """A configuration that can't be served: names the setting, the value and the remedy."""
