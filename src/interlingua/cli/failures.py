"""What the SDK's calls fail with, as the errors of this project: told in one line."""

from urllib.parse import urlsplit

from interlingua.dialects.error_wire import read_error
from interlingua.errors import ApiError, DeadlineExceeded, Unavailable, UpstreamError
from interlingua.sdk.environment import is_loopback
from interlingua.sdk.failures import (
    AzureError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from interlingua.sdk.trust import distrusts


def api_error(error: AzureError, endpoint: str) -> ApiError:
    """The failure of a call to this endpoint, with what would help."""
    parts = urlsplit(endpoint)
    origin = f"{parts.scheme}://{parts.netloc}"
    match error:
        case ServiceRequestError():
            return _unreachable(error, origin)
        case ServiceResponseTimeoutError():
            return DeadlineExceeded(f"{origin} stayed silent for too long")
        case ServiceResponseError() | IncompleteReadError():
            return UpstreamError(f"{origin} broke the exchange off ({error.message})")
        case HttpResponseError():
            return _refused(error)
        case _:
            return UpstreamError(error.message)


def _unreachable(error: AzureError, origin: str) -> ApiError:
    if distrusts(error):
        return Unavailable(
            f"the certificate of {origin} isn't trusted ({error.message}): name the file of the "
            "authority that signed it with --ca or in SSL_CERT_FILE"
        )
    hint = ": `interlingua serve` starts a server here" if is_loopback(origin) else ""
    return Unavailable(f"nothing answers at {origin} ({error.message}){hint}")


def _refused(error: HttpResponseError) -> ApiError:
    """What a reply states, or an event in the middle of a stream."""
    reply = error.response
    if reply is None or reply.status_code < 400:
        stated = error.error.message if error.error else None
        return UpstreamError(stated or error.message)
    return read_error(reply.status_code, {}, reply.text().encode())
