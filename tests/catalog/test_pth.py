import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from interlingua.catalog.pth import read_pth
from interlingua.errors import ModelFileError

Writer = Callable[..., bytes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def test_tensors_are_read_as_they_were_written(path: Path, write_checkpoint: Writer) -> None:
    rng = np.random.default_rng(1)
    arrays = {
        "plain": rng.standard_normal((2, 3)).astype(np.float32),
        "turned": rng.standard_normal((4, 5)).astype(np.float32).T,
        "scalar": np.array(7, np.int64),
    }
    path.write_bytes(write_checkpoint(arrays))
    read = read_pth(path)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(
    path: Path, write_checkpoint: Writer, protocol: int
) -> None:
    touched = path.parent / "touched"
    state = pickle.dumps({"w": Attack(touched)}, protocol)
    path.write_bytes(write_checkpoint({}, state=state))
    with pytest.raises(ModelFileError, match="refused"):
        read_pth(path)
    assert not touched.exists()


@pytest.mark.parametrize(
    "state",
    [
        b"cos\nsystem\n.",
        b"cbuiltins\neval\nX\x01\0\0\x001\x85R.",
        b"ctorch\nFloatStorage\n)R.",
        b"ccollections\nOrderedDict\nK\x01\x85R.",
        b"i\n",
        b"(os\nsystem\n.",
        b"}K\x01K\x02s]K\x01asK\x01.",
        b"]b.",
        b"Q.",
        b"K\x01Q.",
        b"h\x01.",
        b"t.",
        b"}",
        b"",
    ],
)
def test_any_other_opcode_name_or_shape_is_refused(
    path: Path, write_checkpoint: Writer, state: bytes
) -> None:
    path.write_bytes(write_checkpoint({}, state=state))
    with pytest.raises(ModelFileError, match=r"weights\.pth isn't a torch checkpoint"):
        read_pth(path)


def test_a_tensor_beyond_its_storage_is_refused(path: Path, write_checkpoint: Writer) -> None:
    array = np.zeros((2, 2), np.float32)
    raw = write_checkpoint({"w": array})
    path.write_bytes(raw.replace(b"(J\x02\0\0\0J\x02\0\0\0t", b"(J\x09\0\0\0J\x02\0\0\0t", 1))
    with pytest.raises(ModelFileError, match="beyond its storage"):
        read_pth(path)


def test_a_negative_length_is_refused(path: Path, write_checkpoint: Writer) -> None:
    raw = write_checkpoint({"w": np.zeros((2, 2), np.float32)})
    path.write_bytes(raw.replace(b"(J\x02\0\0\0J\x02\0\0\0t", b"(J\xfe\xff\xff\xffJ\x02\0\0\0t", 1))
    with pytest.raises(ModelFileError, match="other than lengths"):
        read_pth(path)


def test_a_checkpoint_cut_anywhere_is_refused(path: Path, write_checkpoint: Writer) -> None:
    raw = write_checkpoint({"w": np.ones(40, np.float32), "v": np.ones(3, np.int64)})
    for length in range(0, len(raw), 5):
        path.write_bytes(raw[:length])
        with pytest.raises(ModelFileError, match="isn't a torch checkpoint"):
            read_pth(path)


def test_keys_of_no_storage_are_refused(path: Path, write_checkpoint: Writer) -> None:
    arrays = {"w": np.ones(4, np.float32)}
    path.write_bytes(write_checkpoint(arrays, keys=["other"]))
    with pytest.raises(ModelFileError):
        read_pth(path)
    path.write_bytes(write_checkpoint(arrays, keys={"w": 1}))
    with pytest.raises(ModelFileError, match="no dictionary"):
        read_pth(path)
