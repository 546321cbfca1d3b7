"""The graph of fused operators against a computation of its own, in plain numpy."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from interlingua.catalog.minilm import Exported, build

Array = np.ndarray
WIDTH, WIDE, HEADS, LAYERS, WORDS, PLACES = 16, 32, 4, 2, 50, 12
_LINEAR = {
    "attention.self.query": (WIDTH, WIDTH),
    "attention.self.key": (WIDTH, WIDTH),
    "attention.self.value": (WIDTH, WIDTH),
    "attention.output.dense": (WIDTH, WIDTH),
    "intermediate.dense": (WIDTH, WIDE),
    "output.dense": (WIDE, WIDTH),
}


class Network:
    """Weights by torch's names, and the graph as torch exports what is made of them."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self.tensors: dict[str, Array] = {}
        self.floats: dict[str, Array] = {}
        self.nodes: list[onnx.NodeProto] = []
        self._table("embeddings.word_embeddings", WORDS)
        self._table("embeddings.position_embeddings", PLACES)
        self._tensor("embeddings.token_type_embeddings.weight", 2, WIDTH)
        self._norm("embeddings.")
        for layer in range(LAYERS):
            for name, shape in _LINEAR.items():
                self._linear(f"encoder.layer.{layer}.{name}", shape)
            for name in ("attention.output.", "output."):
                self._norm(f"encoder.layer.{layer}.{name}")

    def exported(self) -> onnx.ModelProto:
        constants = [numpy_helper.from_array(value, name) for name, value in self.tensors.items()]
        graph = helper.make_graph(self.nodes, "exported", [], [], constants)
        return helper.make_model(graph)

    def forward(self, ids: Array, mask: Array, kinds: Array) -> Array:
        """The hidden states of one text."""
        x = self.floats["embeddings.word_embeddings"][ids]
        x = x + self.floats["embeddings.token_type_embeddings.weight"][kinds]
        x = x + self.floats["embeddings.position_embeddings"][: len(ids)]
        x = self._normalized(x, "embeddings.")
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}."
            attended = self._product(self._attended(x, mask, name), f"{name}attention.output.dense")
            x = self._normalized(x + attended, f"{name}attention.output.")
            wide = self._product(x, f"{name}intermediate.dense")
            active = wide * (1 + np.vectorize(math.erf)(wide / math.sqrt(2))) / 2
            out = self._product(active, f"{name}output.dense")
            x = self._normalized(x + out, f"{name}output.")
        return x

    def _attended(self, x: Array, mask: Array, name: str) -> Array:
        query, key, value = (
            self._product(x, f"{name}attention.self.{part}").reshape(len(x), HEADS, -1)
            for part in ("query", "key", "value")
        )
        scores = np.einsum("qhd,khd->hqk", query, key) / math.sqrt(WIDTH / HEADS)
        weights = np.exp(scores) * mask
        weights /= weights.sum(-1, keepdims=True)
        return np.einsum("hqk,khd->qhd", weights, value).reshape(len(x), WIDTH)

    def _product(self, x: Array, name: str) -> Array:
        return x @ self.floats[name] + self.floats[f"{name}.bias"]

    def _normalized(self, x: Array, name: str) -> Array:
        gain, shift = (self.floats[f"{name}LayerNorm.{part}"] for part in ("weight", "bias"))
        spread = np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return (x - x.mean(-1, keepdims=True)) / spread * gain + shift

    def _tensor(self, name: str, *shape: int) -> None:
        value = self._rng.normal(size=shape).astype(np.float32)
        self.tensors[f"inner.{name}"], self.floats[name] = value, value

    def _norm(self, name: str) -> None:
        for part in ("weight", "bias"):
            self._tensor(f"{name}LayerNorm.{part}", WIDTH)

    def _table(self, name: str, rows: int) -> None:
        self._packed(name, f"inner.{name}.weight", (rows, WIDTH), (rows, 1))

    def _linear(self, name: str, shape: tuple[int, int]) -> None:
        matrix, product, bias = f"w{len(self.nodes)}", f"p{len(self.nodes)}", f"{name}.bias"
        self._packed(name, matrix, shape, (1, shape[1]))
        self._tensor(bias, shape[1])
        # torch puts the bias first where it likes.
        terms = [product, f"inner.{bias}"][:: 1 if len(self.nodes) % 4 else -1]
        self.nodes += [
            helper.make_node("MatMul", ["x", matrix], [product]),
            helper.make_node("Add", terms, [f"{product}.sum"]),
        ]

    def _packed(self, name: str, stored: str, shape: tuple[int, int], by: tuple[int, int]) -> None:
        values = self._rng.integers(-127, 128, shape).astype(np.int8)
        scale = self._rng.uniform(0.001, 0.006, by).astype(np.float32)
        self.tensors[f"{stored}_q"], self.tensors[f"{stored}_scale"] = values, scale
        self.floats[name] = values.astype(np.float32) * scale


@pytest.fixture(scope="module")
def network() -> Network:
    return Network()


def test_the_graph_computes_the_network(network: Network) -> None:
    graph = build(Exported(network.exported()), heads=HEADS).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    ids, kinds = rng.integers(0, WORDS, (3, 9)), rng.integers(0, 2, (3, 9))
    mask = np.ones((3, 9), np.int64)
    mask[1, 5:] = mask[2, 1:] = 0
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}
    (found,) = session.run(["last_hidden_state"], feed)
    for row in range(3):
        length = mask[row].sum()
        expected = network.forward(ids[row], mask[row], kinds[row])
        np.testing.assert_allclose(found[row, :length], expected[:length], atol=2e-4)


def test_weights_stay_int8(network: Network) -> None:
    graph = build(Exported(network.exported()), heads=HEADS).graph
    floats = sum(
        math.prod(tensor.dims)
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1
    )
    assert floats < 1000


def convert(source: Path, target: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "interlingua.catalog.minilm", str(source), str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_program_converts_a_file(network: Network, tmp_path: Path) -> None:
    onnx.save(network.exported(), tmp_path / "exported.onnx")
    # Sixteen numbers can't be shared by twelve heads, so it is written and not opened.
    assert convert(tmp_path / "exported.onnx", tmp_path / "model.onnx").returncode == 0
    assert (tmp_path / "model.onnx").is_file()


def test_another_network_is_refused(network: Network, tmp_path: Path) -> None:
    model = network.exported()
    del model.graph.initializer[:]
    onnx.save(model, tmp_path / "exported.onnx")
    done = convert(tmp_path / "exported.onnx", tmp_path / "model.onnx")
    assert done.returncode == 1
    assert "has no tensor" in done.stderr
