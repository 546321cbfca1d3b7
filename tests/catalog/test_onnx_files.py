import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from interlingua.catalog.onnx_files import ExternalData, OnnxValue, check_onnx, read_onnx
from interlingua.errors import ModelFileError


def external(name: str, **entries: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def write(path: Path, *weights: TensorProto, nodes: list[onnx.NodeProto] | None = None) -> Path:
    graph = helper.make_graph(
        nodes or [helper.make_node("Identity", ["pixels"], ["features"])],
        "g",
        [helper.make_tensor_value_info("pixels", 1, ["n", 3, 224, None])],
        [helper.make_tensor_value_info("features", 1, ["n", 1280])],
        [numpy_helper.from_array(np.zeros(9, np.float32), "w"), *weights],
    )
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def test_inputs_and_outputs_are_read_without_the_onnx_package(tmp_path: Path) -> None:
    facts = check_onnx(write(tmp_path / "m.onnx"))
    assert facts.inputs == (OnnxValue("pixels", (None, 3, 224, None)),)
    assert facts.outputs == (OnnxValue("features", (None, 1280)),)
    assert facts.external == ()


def test_external_data_beside_the_graph_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "m.onnx_data").write_bytes(b"\0" * 64)
    piece = external("big", location="m.onnx_data", offset="32", length="16")
    facts = check_onnx(write(tmp_path / "m.onnx", piece))
    assert facts.external == (ExternalData("m.onnx_data", 32, 16),)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/etc/passwd", "is an absolute path"),
        ("C:\\Windows\\win.ini", "is an absolute path"),
        ("\\\\host\\share", "is an absolute path"),
        ("../secret", "leads out"),
        ("data/../../secret", "leads out"),
        ("data\\..\\..\\secret", "leads out"),
        (".", "leads out"),
        ("a\0b", "leads out"),
        ("missing", "isn't there"),
        ("symlink", "is a link"),
        ("hardlink", "is a link"),
        ("folder/file", "is a link"),
        ("short", "is cut short, at 8 bytes"),
    ],
)
def test_external_data_that_reaches_elsewhere_is_refused(
    tmp_path: Path, location: str, reason: str
) -> None:
    folder, outside = tmp_path / "model", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    for path in (tmp_path / "secret", outside / "file"):
        path.write_bytes(b"x" * 64)
    (folder / "symlink").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", folder / "hardlink")
    (folder / "folder").symlink_to(outside)
    (folder / "short").write_bytes(b"x" * 8)
    path = write(folder / "m.onnx", external("big", location=location, length="16"))
    with pytest.raises(ModelFileError) as caught:
        check_onnx(path)
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)


def test_external_data_is_found_in_subgraphs_attributes_and_functions(tmp_path: Path) -> None:
    def branch(name: str) -> onnx.GraphProto:
        constant = helper.make_node("Constant", [], [f"{name}.out"])
        attribute = onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR)
        attribute.t.CopyFrom(external(name, location=f"/{name}"))
        constant.attribute.append(attribute)
        output = helper.make_tensor_value_info(f"{name}.out", 1, [4])
        return helper.make_graph([constant], name, [], [output])

    choice = helper.make_node(
        "If", ["c"], ["y"], then_branch=branch("then"), else_branch=branch("else")
    )
    path = write(tmp_path / "m.onnx", nodes=[choice])
    model = onnx.load(path, load_external_data=False)
    inner = branch("function").node
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("d", "f", [], ["o"], list(inner), opsets))
    path.write_bytes(model.SerializeToString())
    found = {piece.location for piece in read_onnx(path).external}
    assert found == {"/then", "/else", "/function"}


@pytest.mark.parametrize(
    "entries",
    [{"offset": "0"}, {"location": "x", "offset": "-1"}, {"location": "x", "length": "²"}],
)
def test_malformed_external_data_is_refused(tmp_path: Path, entries: dict[str, str]) -> None:
    with pytest.raises(ModelFileError, match="malformed"):
        read_onnx(write(tmp_path / "m.onnx", external("big", **entries)))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "it is empty"),
        (b"<html>", "usable ONNX graph"),
        (b"\0" * 64, "usable ONNX graph"),
        (b"\x08\x08", "holds no graph"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "usable ONNX graph"),
    ],
)
def test_what_is_no_graph_is_refused(tmp_path: Path, raw: bytes, reason: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(raw)
    with pytest.raises(ModelFileError, match=reason):
        read_onnx(path)


def test_a_missing_graph_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="No such file"):
        read_onnx(tmp_path / "m.onnx")


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(where=st.floats(0, 1, exclude_max=True), patch=st.binary(max_size=6), cut=st.booleans())
def test_a_damaged_graph_is_read_or_refused(
    tmp_path: Path, where: float, patch: bytes, cut: bool
) -> None:
    path = write(tmp_path / "m.onnx", external("big", location="data", length="4"))
    raw = path.read_bytes()
    at = int(where * len(raw))
    path.write_bytes(raw[:at] + patch + (b"" if cut else raw[at + len(patch) :]))
    try:
        check_onnx(path)
    except ModelFileError as error:
        assert str(path) in str(error)
