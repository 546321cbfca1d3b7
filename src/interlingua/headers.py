"""The headers that the API gives a meaning: who sends them, where, and what they say.

The one table of them: what reads and writes headers takes the names from here, and the
reference page and the OpenAPI document are written from it. Names are lower-case.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from interlingua.types.models import ExtraParameters

#: The replies that have a header: all, an operation's answer, its stream, all errors, or some.
Where = Literal["every", "answer", "stream", "error"]


class RequestHeader(msgspec.Struct, frozen=True):
    """What a caller may send. ``values`` is the type of it."""

    name: str
    meaning: str
    values: object = str


class ReplyHeader(msgspec.Struct, frozen=True):
    """What the server sends. ``statuses``: only these errors have it."""

    name: str
    meaning: str
    where: Where = "every"
    statuses: frozenset[int] = frozenset()
    values: object = str
    #: There whenever the reply is one of those.
    always: bool = True


# -- Requests -------------------------------------------------------------------------------

API_KEY = RequestHeader("api-key", "A key of the server.")
AUTHORIZATION = RequestHeader(
    "authorization",
    "`Bearer KEY`, `Bearer TOKEN` of an issuer that the server accepts, or `KEY` alone. Of "
    "several credentials one valid one is enough.",
)
EXTRA_PARAMETERS = RequestHeader(
    "extra-parameters",
    "What happens to parameters that the API doesn't list: `error` (400), `drop` (left out, and "
    "listed in the reply's `x-interlingua-changes`) or `pass-through` (the model's own ones are "
    "honoured, others are 422).",
    ExtraParameters,
)
DEPLOYMENT = RequestHeader(
    "azureml-model-deployment", "The deployment that is to answer, whatever the body says."
)
MODEL_MESH = RequestHeader(
    "x-ms-model-mesh-model-name",
    "The same, as Foundry's clients name it; `azureml-model-deployment` goes first.",
)
CLIENT_REQUEST_ID = RequestHeader(
    "x-ms-client-request-id",
    "The caller's own id of the call: it comes back in the reply.",
)

CREDENTIALS = (API_KEY, AUTHORIZATION)
REQUEST = (EXTRA_PARAMETERS, DEPLOYMENT, MODEL_MESH, CLIENT_REQUEST_ID)

# -- Replies --------------------------------------------------------------------------------

_ID = "The call's id, as the server's log has it."
REQUEST_IDS = (
    ReplyHeader("x-request-id", _ID),
    ReplyHeader("x-ms-request-id", _ID),
    ReplyHeader("apim-request-id", _ID),
)
CLIENT_REQUEST_ID_BACK = ReplyHeader(
    CLIENT_REQUEST_ID.name,
    "What the request's own said, where it was 1 to 128 printable characters.",
    always=False,
)
NO_SNIFFING = ReplyHeader("x-content-type-options", "`nosniff`.", values=Literal["nosniff"])
CHANGES = ReplyHeader(
    "x-interlingua-changes",
    "What of the request was dropped or renamed, and the roles that became others, as an RFC "
    '9651 dictionary: `dropped=("seed" "foo"), renamed=("max_tokens";to="max_completion_tokens"), '
    'folded=("system";to="user")`.',
    "answer",
    always=False,
)
ANSWERED_BY = (
    ReplyHeader(DEPLOYMENT.name, "The deployment that answered.", "answer"),
    ReplyHeader(MODEL_MESH.name, "The deployment that answered.", "answer"),
)
CACHE_CONTROL = ReplyHeader("cache-control", "`no-cache`.", "stream")
NO_BUFFERING = ReplyHeader("x-accel-buffering", "`no`: for a proxy before the server.", "stream")
ERROR_CODE = ReplyHeader("x-ms-error-code", "The error's code.", "error")
RETRY_AFTER = ReplyHeader(
    "retry-after",
    "Seconds. On 429 and 503 only: the official client repeats any call whose error has it.",
    "error",
    frozenset({429, 503}),
    Annotated[int, Meta(ge=0)],
)
_REQUESTS_LIMIT = "Of the caller's limit of requests, where it has one: "
_TOKENS_LIMIT = "Of the caller's limit of tokens, a minute's or today's, where it has one: "
_RESET = "how long until all of it is left again, as in `1s` or `6m0s`."
#: Of requests, and of tokens: how much in all, how much is left, and when all is.
RATE_LIMITS = tuple(
    (
        ReplyHeader(
            f"x-ratelimit-limit-{what}", said + "how much it is.", values=int, always=False
        ),
        ReplyHeader(
            f"x-ratelimit-remaining-{what}", said + "what is left.", values=int, always=False
        ),
        ReplyHeader(f"x-ratelimit-reset-{what}", said + _RESET, always=False),
    )
    for what, said in (("requests", _REQUESTS_LIMIT), ("tokens", _TOKENS_LIMIT))
)
CHALLENGE = ReplyHeader("www-authenticate", "`Bearer`.", "error", frozenset({401}))
ALLOW = ReplyHeader("allow", "The method that the path takes.", "error", frozenset({405}))
MODEL_ERROR = (
    ReplyHeader(
        "ms-azureml-model-error-reason",
        "`model_error`, where it was the model that refused an extra parameter.",
        "error",
        frozenset({422}),
        always=False,
    ),
    ReplyHeader(
        "ms-azureml-model-error-statuscode",
        "The model's status then.",
        "error",
        frozenset({422}),
        always=False,
    ),
)

REPLY = (
    *REQUEST_IDS,
    CLIENT_REQUEST_ID_BACK,
    NO_SNIFFING,
    *(header for headers in RATE_LIMITS for header in headers),
    *ANSWERED_BY,
    CHANGES,
    CACHE_CONTROL,
    NO_BUFFERING,
    ERROR_CODE,
    RETRY_AFTER,
    CHALLENGE,
    ALLOW,
    *MODEL_ERROR,
)
