"""The tree of errors that a caller of the API can meet.

Rules of this file:
- A class states the HTTP status, the code, whose fault it is, whether a retry can help, and
  the remedy. Reference pages and the OpenAPI document are written from that.
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
    #: What the caller, or who runs the server, can do about it.
    remedy: ClassVar[str] = ""

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
    """The request is at fault in another way, or a provider says so."""

    status = 400
    code = "bad_request"
    fault = "caller"
    remedy = "Send fewer query parameters; or read the message: it is the provider's."


class MalformedBody(CallerError):
    """The body is not JSON, or not in UTF-8."""

    code = "invalid_json"
    kind = "json_invalid"
    remedy = "Send a JSON object in UTF-8."


class UnknownParameters(CallerError):
    """Unknown top-level fields under ``extra-parameters: error``."""

    code = "extra_parameters"
    kind = "extra_forbidden"
    remedy = "Leave the named fields out, or say `extra-parameters: drop` or `pass-through`."

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
    remedy = "Send at most 64 of them."


class InvalidPolicy(CallerError):
    """A value of the header ``extra-parameters`` that the API doesn't know."""

    code = "invalid_extra_parameters"
    remedy = "Say `error`, `drop` or `pass-through`."

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
    remedy = "Use a name that the message lists, or give the deployment this one in `aliases`."


class ContextLengthExceeded(CallerError):
    """The prompt is longer than the context that one call gets."""

    code = "context_length_exceeded"
    remedy = "Shorten the messages, or raise the deployment's `context_length`."


class Unauthorized(CallerError):
    """The key or the token is missing or wrong."""

    status = 401
    code = "unauthorized"
    remedy = (
        "Send a key as `api-key` or `Authorization: Bearer`, or a token of an issuer in the config."
    )


class Forbidden(CallerError):
    """The token is valid, and no role of it permits the call."""

    status = 403
    code = "forbidden"
    remedy = "Give the token's app a role that `roles` of the issuer maps to this operation."


class NotFound(CallerError):
    """No such route, or the deployment doesn't have this operation."""

    status = 404
    code = "not_found"
    remedy = "Look the path up in the table of routes, or choose a deployment with this operation."


class DeploymentNotFound(NotFound):
    """A deployment named in the path or the header doesn't exist."""

    code = "DeploymentNotFound"
    remedy = "Use a name that the message lists, or give the deployment this one in `aliases`."


class NotRecorded(NotFound):
    """A replayed recording holds no such request."""

    code = "not_recorded"
    remedy = "Record the exchange first, or send what was recorded."


class MethodNotAllowed(CallerError):
    """The route exists, with another method."""

    status = 405
    code = "method_not_allowed"
    remedy = "Use the method in the header `allow`."


class RequestTimeout(CallerError):
    """The request itself didn't arrive in time."""

    status = 408
    code = "request_timeout"
    remedy = "Send the body within 60 seconds."


class BodyTooLarge(CallerError):
    """The body is longer than the server accepts."""

    status = 413
    code = "body_too_large"
    remedy = "Send less, or raise `max_body_bytes`."


class InvalidValue(CallerError):
    """A known parameter with a malformed, empty or out-of-range value."""

    status = 422
    code = "Invalid input"
    kind = "value_error"
    remedy = "Correct the value: the message names its place and what would be right."


class ParameterNotSupported(CallerError):
    """A known parameter with a legal value that this model can't honour."""

    status = 422
    code = "parameter_not_supported"
    kind = "parameter_not_supported"
    remedy = "Leave the parameter out, or choose a deployment whose model has it."


class ExtraForbidden(CallerError):
    """A passed-through parameter that the model doesn't take."""

    status = 422
    code = "Invalid input"
    kind = "extra_forbidden"
    remedy = "Leave the parameter out, or say `extra-parameters: drop`."

    def __init__(self, name: str, value: object = None) -> None:
        super().__init__("Extra inputs are not permitted", location=("body", name), value=value)


class RateLimited(CallerError):
    """A limit or a full queue; the same call can succeed later."""

    status = 429
    code = "too_many_requests"
    retryable = True
    remedy = "Wait for `Retry-After`; raise `max_waiting` or `slots` where the machine has room."

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


class QueueFull(RateLimited):
    """As many calls as may wait for the deployment do so already."""

    remedy = "Try again later, or raise the deployment's `slots` or `max_waiting`."


class InternalError(ApiError):
    """A defect of the server."""

    remedy = "Look into the server's log at the reply's `x-request-id`, and report it."


class Unavailable(ApiError):
    """What should answer can't now; a later call may succeed."""

    status = 503
    code = "service_unavailable"
    fault = "upstream"
    retryable = True
    remedy = "Wait for `Retry-After`. The message says what is missing; the log says why."

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


class ModelNotReady(Unavailable):
    """The model is not loaded, can't be loaded, or its engine keeps failing."""

    code = "model_not_ready"
    remedy = "Wait for `Retry-After`. Where it stays, the log says why the model can't be loaded."


class Unreachable(Unavailable):
    """No connection could be made to what should answer."""

    remedy = "Check that the provider runs and that its `base_url` is right."


class UpstreamError(ApiError):
    """What should answer gave a reply that makes no sense, or broke off."""

    status = 502
    code = "bad_gateway"
    fault = "upstream"
    retryable = True
    remedy = "Call again; where it stays, look at the provider or into the server's log."


class ConnectionLost(UpstreamError):
    """The connection ended before a byte of the reply."""

    remedy = "Try again; if it stays so, look at the provider's log."


class DeadlineExceeded(ApiError):
    """The call took longer than it may."""

    status = 504
    code = "timeout"
    fault = "upstream"
    retryable = True
    remedy = "Ask for less (`max_tokens`), or raise `call_timeout_s`."


def kinds() -> tuple[type[ApiError], ...]:
    """Every kind of error that a reply can state, by status, then as they stand here."""
    here = [k for k in globals().values() if isinstance(k, type) and issubclass(k, ApiError)]
    return tuple(sorted((k for k in here if k is not ApiError), key=lambda kind: kind.status))


def meaning(kind: type[ApiError]) -> str:
    """When this is the error: the first sentence of what the class says of itself."""
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split()).replace("``", "`")


class ModelFileError(Exception):
    """A model's file can't be used: names the file, what is wrong with it, and the remedy.

    Not an API error by itself: at start it ends the program, in a call it becomes
    :class:`ModelNotReady`.
    """


class ConfigError(Exception):
    """A configuration that can't be served: names the setting, the value and the remedy."""
