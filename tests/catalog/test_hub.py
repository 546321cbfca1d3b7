"""The hub's own client against a server here that answers as the hub does."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from interlingua.catalog.card import HubSource
from interlingua.catalog.hub import from_hub
from interlingua.errors import ModelFileError

RAW = bytes(range(256)) * 1000
COMMIT = "c" * 40
SOURCE = HubSource(repo="me/toy", path="toy-q4.gguf")


@pytest.fixture
def hub(web):
    web.headers = {
        "x-repo-commit": COMMIT,
        "x-linked-etag": f'"{hashlib.sha256(RAW).hexdigest()}"',
        "x-linked-size": str(len(RAW)),
        "etag": '"tag"',
        "accept-ranges": "bytes",
    }
    web.files = {f"/me/toy/resolve/{rev}/toy-q4.gguf": RAW for rev in ("main", COMMIT)}
    return web


def nothing(done: int, total: int | None, what: str) -> None:
    pass


def test_a_file_comes_with_its_commit_and_digest(hub, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None, str]] = []
    target = tmp_path / "toy.gguf"
    fetched = from_hub(SOURCE, target, lambda *step: seen.append(step), endpoint=hub.address)
    assert target.read_bytes() == RAW
    assert (fetched.origin, fetched.sha256) == (
        f"me/toy@{COMMIT}",
        hashlib.sha256(RAW).hexdigest(),
    )
    assert seen[-1] == (len(RAW), len(RAW), "me/toy/toy-q4.gguf")


def test_a_small_file_has_a_git_tag_and_no_digest(hub, tmp_path: Path) -> None:
    hub.headers["x-linked-etag"] = '"0123abcd"'
    assert from_hub(SOURCE, tmp_path / "t", nothing, endpoint=hub.address).sha256 is None


def test_a_file_that_is_not_there_is_told(hub, tmp_path: Path) -> None:
    hub.files.clear()
    with pytest.raises(ModelFileError, match=r"me/toy/toy-q4\.gguf can't be fetched from the hub"):
        from_hub(SOURCE, tmp_path / "t", nothing, endpoint=hub.address)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("EntryNotFound", "no such file"),
        ("RevisionNotFound", "no such revision"),
        ("RepoNotFound", "no such repository"),
        ("GatedRepo", "asks for consent"),
    ],
)
def test_a_refusal_of_the_hub_is_told_with_the_remedy(
    hub, tmp_path: Path, code: str, remedy: str
) -> None:
    hub.refuses = code
    with pytest.raises(ModelFileError, match=remedy):
        from_hub(SOURCE, tmp_path / "t", nothing, endpoint=hub.address)


def test_a_hub_out_of_reach_is_told_with_the_remedy(no_web: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="the hub can't be reached"):
        from_hub(SOURCE, tmp_path / "t", nothing, endpoint=no_web)


def test_a_server_that_is_no_hub_is_told(web, tmp_path: Path) -> None:
    web.files["/me/toy/resolve/main/toy-q4.gguf"] = RAW
    with pytest.raises(ModelFileError, match="doesn't answer as a hub does"):
        from_hub(SOURCE, tmp_path / "t", nothing, endpoint=web.address)


def test_a_download_that_broke_off_goes_on_where_it_stopped(hub, tmp_path: Path) -> None:
    hub.breaks_after = 150_000
    with pytest.raises(ModelFileError, match="what is there is kept"):
        from_hub(SOURCE, tmp_path / "t", nothing, endpoint=hub.address)
    hub.breaks_after = None
    from_hub(SOURCE, tmp_path / "t", nothing, endpoint=hub.address)
    assert (tmp_path / "t").read_bytes() == RAW
    assert hub.asked[-1] == ("GET", f"/me/toy/resolve/{COMMIT}/toy-q4.gguf", "bytes=150000-")
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_a_part_of_an_older_version_is_not_continued(hub, tmp_path: Path) -> None:
    hub.breaks_after = 150_000
    with pytest.raises(ModelFileError):
        from_hub(SOURCE, tmp_path / "t", nothing, endpoint=hub.address)
    hub.breaks_after = None
    newer = RAW[::-1]
    hub.files = dict.fromkeys(hub.files, newer)
    hub.headers["x-linked-etag"] = f'"{hashlib.sha256(newer).hexdigest()}"'
    from_hub(SOURCE, tmp_path / "t", nothing, endpoint=hub.address)
    assert (tmp_path / "t").read_bytes() == newer


def test_a_card_of_the_hub_is_pulled_and_recorded_with_its_commit(
    hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's client reads its settings as it is imported: a process of its own."""
    script = """
import sys
from pathlib import Path
from interlingua.catalog.card import Card, HubSource, ModelFile
from interlingua.catalog.store import Store
source = HubSource(repo="me/toy", path="toy-q4.gguf")
file = ModelFile(role="model", name="toy.bin", source=source)
card = Card(name="toy", title="T", publisher="p", type="embedding", license="MIT", files=(file,))
store = Store(Path(sys.argv[1]))
store.pull(card)
print(store.manifest(card).fetched[0].origin, store.manifest(card).fetched[0].sha256)
"""
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    command = [sys.executable, "-c", script, str(tmp_path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.split() == [f"me/toy@{COMMIT}", hashlib.sha256(RAW).hexdigest()]
