"""Where an endpoint is, read from the URL that a user gives."""

from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from interlingua.errors import ConfigError


class Address(NamedTuple):
    """An endpoint's URL, taken apart. ``base_path`` is decoded and has no slash at its end."""

    origin: str
    base_path: str
    api_version: str | None

    @classmethod
    def parse(cls, endpoint: str) -> "Address":
        """An endpoint as a user gives it.

        Raises:
            ConfigError: it isn't an http or https URL.
        """
        try:
            parts = urlsplit(endpoint)
            _ = parts.port  # a bad one is told only when it is read
        except ValueError as error:
            raise _not_a_url(endpoint) from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise _not_a_url(endpoint)
        if parts.username is not None:
            raise ConfigError("the endpoint holds a user name: give the key by itself instead")
        versions = parse_qs(parts.query).get("api-version", [None])
        return cls(f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/"), versions[0])


def _not_a_url(endpoint: str) -> ConfigError:
    return ConfigError(
        f"the endpoint {endpoint!r} is not an http or https URL, as http://127.0.0.1:8080 is"
    )
