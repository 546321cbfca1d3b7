"""Calls signed with AWS credentials (Signature Version 4), by AWS's own library.

Source: AWS Signature Version 4 for API requests.

What is signed is what goes over the wire: the path as the transport spells it, and the host that
the config names.
"""

import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec

from interlingua.backends.transport import target_of
from interlingua.http import HttpCall


class AwsKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls, and in which region. ``session_token``: the keys are temporary."""

    region: str
    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


def _now() -> datetime:
    return datetime.now(UTC)


class SigV4:
    """A credential that signs each call to one address."""

    fixed: Mapping[str, str] | None = None

    def __init__(
        self, keys: AwsKeys, base_url: str, *, service: str, now: Callable[[], datetime] = _now
    ) -> None:
        """``service``: the name that AWS signs by, such as ``bedrock``.

        Raises:
            ModuleNotFoundError: awscrt isn't installed.
        """
        # Imported where it is used: it is an extra's.
        from awscrt import auth, http  # noqa: PLC0415

        self.secrets = tuple(
            filter(None, (keys.secret_access_key, keys.session_token, keys.access_key_id))
        )
        self._auth, self._http = auth, http
        self._keys = auth.AwsCredentialsProvider.new_static(
            keys.access_key_id, keys.secret_access_key, keys.session_token
        )
        self._region = keys.region
        self._service = service
        self._address = urlsplit(base_url)
        self._now = now

    async def headers(self, call: HttpCall) -> Mapping[str, str]:
        unsigned = {"host": self._address.netloc}
        if "content-type" in call.headers:
            unsigned["content-type"] = call.headers["content-type"]
        request = self._http.HttpRequest(
            call.method,
            target_of(self._address.path.rstrip("/"), call),
            self._http.HttpHeaders(list(unsigned.items())),
            io.BytesIO(call.body),
        )
        how = self._auth.AwsSigningConfig(
            algorithm=self._auth.AwsSigningAlgorithm.V4,
            signature_type=self._auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
            credentials_provider=self._keys,
            region=self._region,
            service=self._service,
            date=self._now(),
        )
        # With static keys it is done at once (49 µs).
        signed = self._auth.aws_sign_request(request, how).result()
        return {
            name.lower(): value for name, value in signed.headers if name.lower() not in unsigned
        }

    def refused(self) -> None:
        pass

    async def close(self) -> None:
        pass
