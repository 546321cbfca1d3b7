"""Fetching a file from the Hugging Face hub.

The hub's own client finds the file, with the user's settings (a token, a mirror, offline
mode). The bytes are fetched here: the client starts a broken-off download from its beginning
(since huggingface/huggingface_hub#4228), and models are large.
"""

from pathlib import Path

import httpx2
from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from interlingua.errors import ModelFileError

from .card import HubSource
from .programs import Progress
from .sources import Fetched
from .url import Download, download

#: Digits of a sha256: the hub's tag of a large file; of a small one it is a git hash.
_SHA256_DIGITS = 64


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
    except (HfHubHTTPError, httpx2.HTTPError, EntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ModelFileError(f"{what} can't be fetched from the hub: {_cause(error)}") from error
    if facts.commit_hash is None or facts.etag is None:
        raise ModelFileError(
            f"{what} can't be fetched: {facts.location} doesn't answer as a hub does; check "
            "HF_ENDPOINT and any proxy"
        )
    pinned = hf_hub_url(source.repo, source.path, revision=facts.commit_hash, endpoint=endpoint)
    # The HTTP client drops this header where the hub sends it to another host.
    token = get_token()
    headers = {"authorization": f"Bearer {token}"} if token else {}
    file = Download(url=pinned, what=what, headers=headers, version=facts.etag)
    download(file, target, progress)
    return Fetched(
        origin=f"{source.repo}@{facts.commit_hash}",
        sha256=facts.etag if len(facts.etag) == _SHA256_DIGITS else None,
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
    (OfflineModeIsEnabled, "the hub's client is set to be offline; unset HF_HUB_OFFLINE"),
    (EntryNotFoundError, "the repository has no such file; the card is out of date"),
)
