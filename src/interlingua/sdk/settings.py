"""What a client and a call can be told beside the model's parameters, under azure-core's names.

Rules of this file:
- A keyword that is none of these is a ``TypeError`` that names it: nothing is silently ignored
  but :data:`WITHOUT_EFFECT`, which tune parts that this SDK doesn't have.
- What a call says wins over what its client says.
- Values of the SDK are named tuples: msgspec takes longer to import than all of the rest, and
  is first needed with the first call.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

if TYPE_CHECKING:
    from ssl import SSLContext

Hook = Callable[[Any], Any]

#: Accepted, so that ported code runs: the tuning of azure-core's own parts.
WITHOUT_EFFECT = frozenset(
    {
        "connection_data_block_size",
        "logging_body",
        "merge_span",
        "network_span_namer",
        "polling_interval",
        "tracing_attributes",
        "user_agent_use_env",
    }
)


class Clock:
    """The time, chance and patience of a client; give your own to test."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def chance(self) -> float:
        """From 0 up to 1."""
        import random  # noqa: PLC0415 - only retries need it

        return random.random()  # noqa: S311 - spreads retries, guards nothing

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        import anyio  # noqa: PLC0415 - httpx2's own; only asynchronous clients wait with it

        await anyio.sleep(seconds)


class CallSettings(TypedDict, total=False):
    """What one call can be told."""

    headers: Mapping[str, str | None] | None
    params: Mapping[str, str] | None
    content_type: str
    error_map: Mapping[int, type[Exception]] | None
    raw_request_hook: Hook | None
    raw_response_hook: Hook | None
    logging_enable: bool
    logging_body: bool
    request_id: str
    user_agent: str
    enforce_https: bool
    timeout: float
    connection_timeout: float
    read_timeout: float
    retry_total: int
    retry_connect: int
    retry_read: int
    retry_status: int
    retry_backoff_factor: float
    retry_backoff_max: float
    retry_mode: str
    retry_on_status_codes: Sequence[int]


class ClientSettings(CallSettings, total=False):
    """What a client can be told."""

    api_version: str
    credential_scopes: Sequence[str]
    user_agent_overwrite: bool
    connection_verify: "bool | str | SSLContext"
    connection_cert: str | tuple[str, str] | None
    proxies: Mapping[str, str] | None
    use_env_settings: bool
    http_client: Any
    clock: Clock


class Settings(NamedTuple):
    """A call's settings, its client's where it says nothing. Times are in seconds."""

    headers: Mapping[str, str] = {}
    params: Mapping[str, str] = {}
    content_type: str = "application/json"
    error_map: Mapping[int, type[Exception]] = {}
    raw_request_hook: Hook | None = None
    raw_response_hook: Hook | None = None
    logging_enable: bool = False
    request_id: str | None = None
    user_agent: str | None = None
    user_agent_overwrite: bool = False
    enforce_https: bool = True
    #: For a call with all its retries.
    timeout: float = 604800.0
    connection_timeout: float = 10.0
    #: The longest silence of the server. A model that runs on a CPU can think for long.
    read_timeout: float = 600.0
    retry_total: int = 10
    retry_connect: int = 3
    retry_read: int = 3
    retry_status: int = 3
    retry_backoff_factor: float = 0.8
    retry_backoff_max: float = 120.0
    retry_mode: str = "exponential"
    retry_on_status_codes: Sequence[int] = ()
    api_version: str = "2024-05-01-preview"
    credential_scopes: Sequence[str] = ("https://ml.azure.com/.default",)
    connection_verify: "bool | str | SSLContext" = True
    connection_cert: str | tuple[str, str] | None = None
    proxies: Mapping[str, str] = {}
    use_env_settings: bool = True
    http_client: Any = None
    clock: Clock = Clock()

    def told(self, what: str, **given: Unpack[ClientSettings]) -> "Settings":
        """With what is given; headers and query parameters are added to those there are.
        A header that is ``None`` says nothing.

        Raises:
            TypeError: a keyword that ``what`` doesn't take.
        """
        known: dict[str, Any] = {k: v for k, v in given.items() if k not in WITHOUT_EFFECT}
        for name in known.keys() - _NAMES:
            raise TypeError(f"{what} got an unexpected keyword argument {name!r}")
        if "headers" in known:
            more = {k.lower(): v for k, v in (given.get("headers") or {}).items()}
            said = {k: str(v) for k, v in more.items() if v is not None}
            known["headers"] = {**self.headers, **said}
        if "params" in known:
            known["params"] = {**self.params, **(given.get("params") or {})}
        return self._replace(**{name: value for name, value in known.items() if value is not None})


_NAMES = frozenset(Settings._fields)
