"""Fetching a file from the Hugging Face hub, with the hub's own client.

The client resumes by itself what an earlier pull left. The user's settings of it (a token,
a mirror, offline mode) hold.
"""

from pathlib import Path
from typing import Self

import httpx2
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from interlingua.errors import ModelFileError

from .card import HubSource
from .sources import Fetched, Progress, require_space

#: Digits of a sha256: the hub's tag of a large file; of a small one it is a git hash.
_SHA256_DIGITS = 64


class _Bar:
    """What the hub's client takes for a progress bar: just what it calls of one."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._what = what
        self._done = 0
        self._total: int | None = None

    def __call__(self, *, total: int | None = None, initial: int = 0, **_looks: object) -> Self:
        self._total, self._done = total, initial
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def update(self, count: float | None = 1) -> None:
        self._done += int(count or 0)
        self._progress(self._done, self._total, self._what)


def from_hub(
    source: HubSource, target: Path, progress: Progress, *, endpoint: str | None = None
) -> Fetched:
    """Write the file to ``target``; its commit and, for a large file, its digest.

    ``endpoint`` is another hub than the one the client is set to.

    Raises:
        ModelFileError: it can't be had; names the file, the cause and the remedy.
    """
    what = f"{source.repo}/{source.path}"
    try:
        url = hf_hub_url(source.repo, source.path, revision=source.revision, endpoint=endpoint)
        facts = get_hf_file_metadata(url, endpoint=endpoint)
        if facts.size is not None:
            require_space(target.parent, facts.size, what)
        path = hf_hub_download(  # type: ignore[call-overload]  # the bar may be a look-alike
            source.repo,
            source.path,
            revision=facts.commit_hash or source.revision,
            local_dir=target.parent / "hub",
            endpoint=endpoint,
            tqdm_class=_Bar(progress, what),
        )
    except (HfHubHTTPError, httpx2.HTTPError, EntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ModelFileError(f"{what} can't be fetched from the hub: {_cause(error)}") from error
    except FileMetadataError as error:
        raise ModelFileError(
            f"{what} can't be fetched from the hub: its answer isn't a hub's; "
            "check HF_ENDPOINT and any proxy"
        ) from error
    Path(path).replace(target)
    tag = facts.etag or ""
    return Fetched(
        origin=f"{source.repo}@{facts.commit_hash}",
        sha256=tag if len(tag) == _SHA256_DIGITS else None,
    )


def _cause(error: Exception) -> str:
    for kind, cause in _CAUSES:
        if isinstance(error, kind):
            return cause
    if isinstance(error, HfHubHTTPError):
        return f"it answered {error.response.status_code}; pull again later"
    return (
        f"the hub can't be reached ({type(error).__name__}); check the network, or pull again "
        "later: what is there is kept"
    )


#: What the hub's client raises → what it means and what helps. The first match counts.
_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (
        GatedRepoError,
        "its publisher asks for consent: give it on the model's page, then `hf auth login`",
    ),
    (
        RepositoryNotFoundError,
        "there is no such repository, or it is private: `hf auth login`",
    ),
    (RevisionNotFoundError, "the repository has no such revision; the card is out of date"),
    (LocalEntryNotFoundError, "the hub can't be reached; check the network, or pull again later"),
    (OfflineModeIsEnabled, "the hub's client is set to be offline; unset HF_HUB_OFFLINE"),
    (EntryNotFoundError, "the repository has no such file; the card is out of date"),
)
