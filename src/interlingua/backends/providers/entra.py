"""Tokens of Microsoft Entra ID, with which this server calls Azure.

Rules of this file:
- A token is fetched when a call needs one, once for all that wait, who share a failure too; it
  is kept until shortly before it expires or the provider refuses it.
- Neither secret nor token stands in any error: of an answer only its error code is told.
- Client credentials and managed identities alone: no person signs in here.

Source: Microsoft identity platform, "OAuth 2.0 client credentials flow" and "Certificate
credentials"; "How to use managed identities on an Azure VM" (instance metadata service) and
"Managed identities for App Service" (IDENTITY_ENDPOINT).
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from interlingua.backends.transport import HttpTransport
from interlingua.errors import ApiError, Unavailable, UpstreamError
from interlingua.http import HttpCall, Transport

if TYPE_CHECKING:
    from .certificate import Certificate

#: The instance metadata service of Azure's virtual machines.
IMDS = "http://169.254.169.254/metadata/identity/oauth2/token"
#: How long before its end a token is no longer used.
_MARGIN_S = 300.0
_TIMEOUT_S = 30.0
_LONGEST_REPLY = 64 * 1024
_CODE = re.compile(r"\bAADSTS\d{1,8}\b")
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class IdentityEndpoint(msgspec.Struct, frozen=True):
    """Where a managed identity's tokens come from. ``header``: what App Service's must be told."""

    url: str = IMDS
    header: str | None = None


class EntraIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for tokens: an application with a secret or certificate, or where there is an
    ``endpoint`` the managed identity of this machine.
    """

    scope: str
    authority: str
    tenant: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    #: A file with the certificate and its private key (PEM).
    client_certificate: Path | None = None
    endpoint: IdentityEndpoint | None = None


class _Granted(msgspec.Struct, frozen=True):
    """Seconds come as numbers or, from managed identities, as text."""

    access_token: str
    expires_in: int | str | None = None
    expires_on: int | str | None = None


class _Refused(msgspec.Struct, frozen=True):
    error: object = None
    error_description: object = None


class EntraToken:
    """The credential of one deployment. Safe for concurrent calls on one event loop."""

    fixed: Mapping[str, str] | None = None

    def __init__(
        self,
        identity: EntraIdentity,
        *,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises:
        ModuleNotFoundError: a certificate needs what isn't installed.
        OSError, ValueError: the certificate's file can't be used.
        """
        self._identity = identity
        file = identity.client_certificate
        self._certificate = _certificate(file) if file else None
        base, self._path = _address(identity)
        self._transport = transport or HttpTransport(base)
        self._url = base + self._path
        self._clock = clock
        self._fetching: asyncio.Task[str] | None = None
        self._token: str | None = None
        self._good_until = 0.0
        #: The newest one, also after it was refused: the refusal may repeat it.
        self._last: str | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        endpoint = self._identity.endpoint
        known = (self._last, self._identity.client_secret, endpoint.header if endpoint else None)
        return tuple(secret for secret in known if secret)

    async def headers(self, call: HttpCall) -> Mapping[str, str]:
        del call
        token = self._current()
        if token is None:
            if self._fetching is None or self._fetching.done():
                self._fetching = asyncio.create_task(self._fetch())
                self._fetching.add_done_callback(_looked_at)
            # A caller that leaves takes the token from nobody.
            token = await asyncio.shield(self._fetching)
        return {"authorization": f"Bearer {token}"}

    def refused(self) -> None:
        self._token = None

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
        await self._transport.close()

    def _current(self) -> str | None:
        return self._token if self._clock() < self._good_until else None

    async def _fetch(self) -> str:
        try:
            status, body = await self._ask()
        except ApiError as error:
            raise Unavailable("The issuer of this deployment's token can't be reached.") from error
        if status != 200:
            raise _refusal(status, body)
        try:
            granted = msgspec.json.decode(body, type=_Granted)
            lifetime_s = self._lifetime_s(granted)
        except (msgspec.DecodeError, ValueError) as error:
            raise UpstreamError("The issuer of this deployment's token said nonsense.") from error
        if not re.fullmatch(r"[\x21-\x7e]+", granted.access_token):
            raise UpstreamError("The issuer of this deployment's token said nonsense.")
        self._token = self._last = granted.access_token
        self._good_until = self._clock() + max(lifetime_s - _MARGIN_S, lifetime_s / 2)
        return granted.access_token

    def _lifetime_s(self, granted: _Granted) -> float:
        if granted.expires_in is not None:
            return float(granted.expires_in)
        return float(granted.expires_on or 0) - self._clock()

    async def _ask(self) -> tuple[int, bytes]:
        body = b""
        async with self._transport.send(self._call(), timeout_s=_TIMEOUT_S) as reply:
            async for chunk in reply.chunks:
                body += chunk
                if len(body) > _LONGEST_REPLY:
                    raise UpstreamError("The reply is too long.")
            return reply.status, body

    def _call(self) -> HttpCall:
        identity = self._identity
        if identity.endpoint is not None:
            query = {"resource": identity.scope.removesuffix("/.default")}
            if identity.client_id:
                query["client_id"] = identity.client_id
            if identity.endpoint.header is None:
                version, headers = "2018-02-01", {"metadata": "true"}
            else:
                version, headers = "2019-08-01", {"x-identity-header": identity.endpoint.header}
            query = {"api-version": version, **query}
            return HttpCall(method="GET", path=self._path, query=query, headers=headers)
        form = {
            "grant_type": "client_credentials",
            "client_id": identity.client_id or "",
            "scope": identity.scope,
        }
        if self._certificate is None:
            form["client_secret"] = identity.client_secret or ""
        else:
            form["client_assertion_type"] = _ASSERTION
            form["client_assertion"] = self._certificate.assertion(
                identity.client_id or "", self._url, int(self._clock())
            )
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return HttpCall(path=self._path, headers=headers, body=urlencode(form).encode())


def _looked_at(task: asyncio.Task[str]) -> None:
    """Where every caller has left, a failure is nobody's."""
    if not task.cancelled():
        task.exception()


def _certificate(file: Path) -> "Certificate":
    # Its library comes with an extra, and only certificates need it.
    module = import_module("interlingua.backends.providers.certificate")
    return cast("type[Certificate]", module.Certificate)(file)


def _address(identity: EntraIdentity) -> tuple[str, str]:
    """The base URL and the path at which tokens are asked for."""
    if identity.endpoint is None:
        path = f"/{quote(identity.tenant or '', safe='')}/oauth2/v2.0/token"
        return identity.authority.rstrip("/"), path
    url = urlsplit(identity.endpoint.url)
    return f"{url.scheme}://{url.netloc}", url.path


def _refusal(status: int, body: bytes) -> UpstreamError:
    """What the issuer says is wrong, by its codes alone."""
    codes = [f"status {status}"]
    try:
        stated = msgspec.json.decode(body, type=_Refused)
    except msgspec.DecodeError:
        stated = _Refused()
    if isinstance(stated.error, str) and re.fullmatch(r"[a-z_]{1,40}", stated.error):
        codes.append(stated.error)
    if isinstance(stated.error_description, str):
        codes += _CODE.findall(stated.error_description)[:1]
    return UpstreamError(
        f"This server got no token for the deployment's provider ({', '.join(codes)}): check "
        "[deployment.entra] in its config. The caller's key is fine."
    )
