"""The engine process: llama.cpp's own server on a private socket, and nothing else.

Run by :class:`~interlingua.backends.engines.process.EngineProcess`; see :mod:`.lifeline`.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from .lifeline import refuse, take_settings

if TYPE_CHECKING:
    import xllamacpp

#: Files up to here are of small models.
_SMALL_BYTES = 1 << 30
#: A prefill can be cancelled, and others get their turn, between two batches of it. A small
#: model's take half a second all the same.
_BATCH, _SMALL_BATCH = 128, 256
#: Prompts kept for calls that begin alike; the engine's own default grows to 8 GiB.
_CACHE_MIB = 128
#: Besides the calls worked on: waiting ones, tokenizing, probes.
_SPARE_HTTP_THREADS = 8


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the server process asks for. ``context`` is that of one call."""

    socket: str
    key: str
    path: str
    name: str
    context: int
    slots: int
    threads: int
    embedding: bool = False
    pooling: str | None = None
    normalize: bool = True


def _params(settings: Settings) -> "xllamacpp.CommonParams":
    import xllamacpp  # noqa: PLC0415 - only after the tie to the parent

    params = xllamacpp.CommonParams()
    params.model.path = settings.path
    params.model_alias = {settings.name}
    params.hostnames = [settings.socket]
    params.api_keys = [settings.key]
    # Every slot has a context of its own: with a shared one two long calls end each other.
    params.kv_unified = False
    params.n_parallel = settings.slots
    params.n_ctx = settings.slots * settings.context
    small = Path(settings.path).stat().st_size <= _SMALL_BYTES
    batch = _SMALL_BATCH if small else _BATCH
    params.n_batch = params.n_ubatch = settings.context if settings.embedding else batch
    if small:
        # Read into memory, since a mapped file gets no huge pages; a large one loads sooner
        # mapped.
        params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.cache_ram_mib = _CACHE_MIB
    params.warmup = False
    params.verbosity = -1
    params.fit_params = False
    params.ui = False
    params.endpoint_slots = False
    params.n_threads_http = 2 * settings.slots + _SPARE_HTTP_THREADS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    if settings.embedding:
        params.embedding = True
        params.embd_normalize = 2 if settings.normalize else -1
        if settings.pooling is not None:
            kind = f"LLAMA_POOLING_TYPE_{settings.pooling.upper()}"
            params.pooling_type = getattr(xllamacpp.llama_pooling_type, kind)
    return params


def main() -> None:
    """Load the model and serve it until the parent ends this process."""
    settings = msgspec.convert(take_settings(), Settings)
    try:
        import xllamacpp  # noqa: PLC0415 - only after the tie to the parent
    except ImportError as error:
        refuse(f"{error}. Install it: pip install 'interlingua[llamacpp]'")
    try:
        server = xllamacpp.Server(_params(settings))
    except (OSError, RuntimeError, ValueError) as error:
        refuse(f"llama.cpp refuses {settings.path} ({error})")
    threading.Event().wait()
    del server  # never reached: the life line ends this process


if __name__ == "__main__":
    main()
