"""Texts and images to vectors, on the screen and in files."""

import base64
import io
import json
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scripted_wire import Reply, Wire

from interlingua.cli import embed as command
from interlingua.cli.embed import batches
from interlingua.cli.images import media_type
from interlingua.cli.main import run
from interlingua.cli.vectors import as_npy
from interlingua.cli.whole_file import write_whole
from interlingua.errors import UpstreamError

TEXTS = "/embeddings"
IMAGES = "/images/embeddings"


def vectors(*rows: list[float], tokens: int = 3) -> Reply:
    data = [{"index": i, "object": "embedding", "embedding": row} for i, row in enumerate(rows)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = {"id": "0f8c", "object": "list", "model": "m", "data": data, "usage": usage}
    return Reply((json.dumps(body).encode(),))


def test_texts_of_the_command_line_print_one_json_object(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    wire.answer(TEXTS, vectors([0.5, 1.0], [0.25, 0.0]))
    assert run(["embed", "a", "b", "--model", "minilm"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "model": "minilm",
        "embeddings": [[0.5, 1.0], [0.25, 0.0]],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    assert wire.heard[0].json() == {"input": ["a", "b"], "model": "minilm"}


def test_every_option_reaches_the_wire(wire: Wire) -> None:
    wire.answer(TEXTS, vectors([1.0]))
    options = "--dimensions 1 --input-type query --encoding-format float"
    assert run(["embed", "a", *options.split()]) == 0
    body = wire.heard[0].json()
    assert (body["dimensions"], body["input_type"]) == (1, "query")
    assert body["encoding_format"] == "float"


def test_vectors_that_travel_as_base64_are_the_same(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = base64.b64encode(struct.pack("<2f", 0.5, -2.0)).decode()
    wire.answer(TEXTS, vectors(packed))
    assert run(["embed", "a", "--encoding-format", "base64"]) == 0
    assert json.loads(capsys.readouterr().out)["embeddings"] == [[0.5, -2.0]]


def test_a_file_has_one_text_a_line(wire: Wire, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_bytes("one\r\n\n  zwölf \n".encode())
    wire.answer(TEXTS, vectors([1.0], [2.0]))
    assert run(["embed", "--file", "texts.txt", "-o", "out.json"]) == 0
    assert wire.heard[0].json()["input"] == ["one", "zwölf"]
    assert json.loads((tmp_path / "out.json").read_bytes())["embeddings"] == [[1.0], [2.0]]


def test_texts_may_be_piped_in(
    wire: Wire, piped: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    wire.answer(TEXTS, vectors([1.0], [2.0]))
    done = piped(b"one\ntwo\n", "embed")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["embeddings"] == [[1.0], [2.0]]


def test_numpy_reads_what_is_written(wire: Wire, tmp_path: Path) -> None:
    wire.answer(TEXTS, vectors([0.1, -1.5, 3e-8], [1.0, 2.0, 3.0]))
    assert run(["embed", "a", "b", "--output", "out.npy"]) == 0
    array = np.load(tmp_path / "out.npy", allow_pickle=False)
    assert array.dtype == np.dtype("<f4")
    expected = np.array([[0.1, -1.5, 3e-8], [1.0, 2.0, 3.0]], dtype="<f4")
    assert (array == expected).all()


@pytest.mark.parametrize("rows", [0, 1, 7, 1234])
def test_an_array_of_any_length_can_be_mapped(rows: int, tmp_path: Path) -> None:
    data = as_npy([struct.pack("<4f", row, 1, 2, 3) for row in range(rows)])
    assert (len(data) - rows * 16) % 64 == 0
    array = np.load(io.BytesIO(data), allow_pickle=False)
    assert array.shape == (rows, 4 if rows else 0)
    assert [row[0] for row in array] == list(range(rows))


def test_vectors_of_different_lengths_are_no_array() -> None:
    with pytest.raises(UpstreamError, match=r"\[1, 2\].*\.json"):
        as_npy([bytes(4), bytes(8)])


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 2), "red").save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_images_are_known_by_their_content(wire: Wire, tmp_path: Path, kind: str) -> None:
    (tmp_path / "picture.txt").write_bytes(picture(kind))
    wire.answer(IMAGES, vectors([1.0]))
    assert run(["embed", "--images", "picture.txt", "--input-type", "text"]) == 0
    (item,) = wire.heard[0].json()["input"]
    head, _, data = item["image"].partition(",")
    assert head == f"data:image/{kind.lower()};base64"
    assert base64.b64decode(data) == picture(kind)


@pytest.mark.parametrize("content", [b"", b"GIF", b"RIFF0000WAVE", b"<svg>", b"\x89PNG"])
def test_what_is_no_image_is_known_too(content: bytes) -> None:
    assert media_type(content) is None


def test_a_file_that_is_no_image_is_a_usage_error_and_named(
    wire: Wire, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    assert run(["embed", "--images", "a.png"]) == 2
    assert "a.png is not a PNG, JPEG, WebP or GIF image" in capsys.readouterr().err
    assert run(["embed", "--images", "gone.png"]) == 1
    assert "gone.png: No such file" in capsys.readouterr().err
    assert wire.heard == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a", "--file", "t.txt"], "not both"),
        (["--images"], "image files as arguments"),
        (["--images", "a.png", "--file", "t.txt"], "no --file"),
        (["a", "--output", "out.csv"], ".json or .npy"),
        (["--file", "t.txt"], "no text"),
        (["--file", "latin.txt"], "not UTF-8"),
        (["M\udcfcller"], "not UTF-8"),
    ],
)
def test_a_wrong_combination_is_refused_before_any_call(
    arguments: list[str],
    says: str,
    wire: Wire,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "t.txt").write_text("\n")
    (tmp_path / "latin.txt").write_bytes(b"M\xfcller\n")
    assert run(["embed", *arguments]) == 2
    assert says in capsys.readouterr().err
    assert wire.heard == []


def test_more_texts_than_a_call_takes_go_in_several_in_order(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "MAX_BATCH", 2)
    wire.answer(TEXTS, vectors([1.0], [2.0]), vectors([3.0], [4.0]), vectors([5.0]))
    assert run(["embed", *"abcde", "-o", "out.json"]) == 0
    assert [heard.json()["input"] for heard in wire.heard] == [["a", "b"], ["c", "d"], ["e"]]
    written = json.loads((tmp_path / "out.json").read_bytes())
    assert written["embeddings"] == [[1.0], [2.0], [3.0], [4.0], [5.0]]
    assert written["usage"]["prompt_tokens"] == 9


def test_a_batch_is_bounded_in_number_and_in_bytes() -> None:
    assert [len(batch) for batch in batches(range(2500), lambda _: 1)] == [1024, 1024, 452]
    half = command.MAX_BATCH_BYTES // 2
    sizes = [half, half, 1, half * 9, 5]
    assert list(batches(sizes, lambda size: size)) == [[half, half], [1], [half * 9], [5]]
    assert list(batches([], len)) == []


def test_a_terminal_shows_the_progress_and_the_result(
    wire: Wire, terminal: Callable, tmp_path: Path
) -> None:
    wire.answer(TEXTS, vectors([1.0], [2.0]))
    shown = terminal("embed", "a", "b", "-o", "out.npy")
    assert shown.end() == 0
    assert "2 vectors in out.npy" in shown.shown


def test_a_failed_call_leaves_the_older_file(wire: Wire, tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("old")
    wire.answer(TEXTS, Reply((b'{"error":{"code":"x","message":"no"}}',), status=500))
    assert run(["embed", "a", "-o", "out.json"]) == 1
    assert (tmp_path / "out.json").read_text() == "old"


def test_a_file_appears_whole_with_the_usual_permissions(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_whole(tmp_path / "new", b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_device_is_written_and_not_replaced() -> None:
    write_whole(Path(os.devnull), b"x")
    assert Path(os.devnull).is_char_device()


def test_nothing_is_left_where_a_file_cant_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inner").touch()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "taken", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
