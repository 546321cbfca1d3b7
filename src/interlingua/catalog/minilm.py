"""all-MiniLM-L6-v2: from its int8 graph, as torch exported it, to one of fused operators.

Run as ``python -m interlingua.catalog.minilm EXPORTED GRAPH``: it needs numpy and onnx, which
nobody else should have to import.

The weights stay int8, a scale a column, and are made float32 when the graph is opened; tables
of embeddings stay int8 even then, and only the rows of a run are unpacked. Vectors are those
of the exported graph to within float32's rounding. What it saves is time between the matrix
products: one product for query, key and value, attention as one operator, no guard against
rows in which every token is masked (there are none), bias and GELU in one step.

Source: BertModel of Hugging Face's transformers (names, order); onnxruntime's contrib
operators (``com.microsoft``).
"""

import sys
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

HEADS = 12
#: Of BERT's layer norms.
EPSILON = 1e-12

_PREFIX = "inner."
_FUSED = "com.microsoft"
_OPSET = 17
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")

Array = npt.NDArray[np.float32] | npt.NDArray[np.int8]


class Packed(msgspec.Struct, frozen=True):
    """A matrix as int8, and what its columns or rows are to be multiplied with."""

    values: Array
    scale: Array


class Exported:
    """What the exported graph holds, by the names of torch's modules."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._tensors = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        products = {
            node.output[0]: node.input[1] for node in model.graph.node if node.op_type == "MatMul"
        }
        #: A bias → the matrix whose product it is added to.
        self._matrices = {
            bias: products[product]
            for node in model.graph.node
            if node.op_type == "Add"
            for product, bias in (tuple(node.input), tuple(reversed(node.input)))
            if product in products and bias in self._tensors
        }

    def tensor(self, name: str) -> Array:
        """Raises ``KeyError`` when there is none of that name."""
        return np.asarray(self._tensors[_PREFIX + name])

    def packed(self, name: str) -> Packed:
        """A table of embeddings."""
        return Packed(self.tensor(f"{name}.weight_q"), self.tensor(f"{name}.weight_scale"))

    def linear(self, name: str) -> tuple[Packed, Array]:
        """The matrix and the bias of a linear layer."""
        bias = f"{_PREFIX}{name}.bias"
        matrix = self._matrices[bias]
        values, scale = (self._tensors[f"{matrix}_{part}"] for part in ("q", "scale"))
        return Packed(np.asarray(values), np.asarray(scale)), np.asarray(self._tensors[bias])

    @property
    def layers(self) -> int:
        """How many layers the encoder has."""
        start = f"{_PREFIX}encoder.layer."
        return len({name.split(".")[3] for name in self._tensors if name.startswith(start)})


class _Graph:
    """The nodes and constants as they grow; a step returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: npt.NDArray[np.generic] | np.generic) -> str:
        whole = np.ascontiguousarray(value).reshape(np.shape(value))
        self.constants.append(numpy_helper.from_array(whole, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: float | str) -> str:
        made = helper.make_node(kind, inputs, [output], **attributes)  # type: ignore[arg-type]  # its signature leaves attributes out
        self.nodes.append(made)
        return output

    def floats(self, source: str, output: str) -> str:
        return self.node("Cast", [source], output, to=onnx.TensorProto.FLOAT)

    def matrix(self, name: str, packed: Packed) -> str:
        """The whole matrix in float32, which is made once, when the graph is opened."""
        values = self.floats(self.constant(f"{name}.q", packed.values), f"{name}.float")
        return self.node("Mul", [values, self.constant(f"{name}.scale", packed.scale)], name)

    def rows(self, name: str, packed: Packed, indices: str) -> str:
        """Those rows of a table in float32."""
        table, scale = f"{name}.q", f"{name}.scale"
        picked = self.node("Gather", [self.constant(table, packed.values), indices], f"{name}.rows")
        scales = self.node("Gather", [self.constant(scale, packed.scale), indices], f"{name}.by")
        return self.node("Mul", [self.floats(picked, f"{name}.float"), scales], name)


def build(exported: Exported, *, heads: int = HEADS) -> onnx.ModelProto:
    """The graph: token ids [n, length] to ``last_hidden_state`` [n, length, width].

    Raises:
        KeyError: a tensor is missing.
    """
    graph = _Graph()
    x = _embedded(graph, exported)
    mask = graph.node("Cast", ["attention_mask"], "mask", to=onnx.TensorProto.INT32)
    for index in range(exported.layers):
        x = _layer(graph, exported, x, mask, f"encoder.layer.{index}.", heads)
    graph.node("Identity", [x], "last_hidden_state")
    width = exported.tensor("embeddings.LayerNorm.bias").shape[0]
    shape = ["n", "length"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "bert",
            [helper.make_tensor_value_info(name, 7, shape) for name in _INPUTS],
            [helper.make_tensor_value_info("last_hidden_state", 1, [*shape, width])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)],
        ir_version=8,
        producer_name="interlingua",
    )
    onnx.checker.check_model(model)
    return model


def _embedded(graph: _Graph, exported: Exported) -> str:
    """Word, kind and place of each token, summed and normalized."""
    first, second = (graph.constant(str(number), np.int64(number)) for number in (0, 1))
    length = graph.node("Gather", [graph.node("Shape", ["input_ids"], "shape"), second], "length")
    places = graph.node("Range", [first, length, second], "places")
    words = graph.rows("words", exported.packed("embeddings.word_embeddings"), "input_ids")
    table = exported.tensor("embeddings.token_type_embeddings.weight")
    kinds = graph.node("Gather", [graph.constant("kinds.table", table), "token_type_ids"], "kinds")
    placed = graph.rows("placed", exported.packed("embeddings.position_embeddings"), places)
    total = graph.node("Add", [graph.node("Add", [words, kinds], "said"), placed], "total")
    norm = _norm(graph, exported, "embeddings.")
    return graph.node("LayerNormalization", [total, *norm], "embedded", axis=-1, epsilon=EPSILON)


def _layer(graph: _Graph, exported: Exported, x: str, mask: str, name: str, heads: int) -> str:
    """Attention, then the two layers that follow it, each added to what came in."""
    parts = [exported.linear(f"{name}attention.self.{part}") for part in ("query", "key", "value")]
    matrix = Packed(
        np.concatenate([packed.values for packed, _ in parts], axis=1),
        np.concatenate([packed.scale for packed, _ in parts], axis=1),
    )
    bias = np.concatenate([bias for _, bias in parts])
    inputs = [x, graph.matrix(f"{name}qkv", matrix), graph.constant(f"{name}qkv.bias", bias), mask]
    attended = graph.node("Attention", inputs, f"{name}attended", domain=_FUSED, num_heads=heads)
    x = _added(graph, exported, attended, x, f"{name}attention.output.")
    wide, bias = exported.linear(f"{name}intermediate.dense")
    product = graph.node("MatMul", [x, graph.matrix(f"{name}wide", wide)], f"{name}product")
    inputs = [product, graph.constant(f"{name}wide.bias", bias)]
    active = graph.node("BiasGelu", inputs, f"{name}active", domain=_FUSED)
    return _added(graph, exported, active, x, f"{name}output.")


def _added(graph: _Graph, exported: Exported, source: str, before: str, name: str) -> str:
    """A linear layer, its result added to what was before, normalized."""
    matrix, bias = exported.linear(f"{name}dense")
    product = graph.node("MatMul", [source, graph.matrix(f"{name}dense", matrix)], f"{name}product")
    norm = _norm(graph, exported, name)
    inputs = [product, before, *norm, graph.constant(f"{name}dense.bias", bias)]
    return graph.node(
        "SkipLayerNormalization", inputs, f"{name}out", domain=_FUSED, epsilon=EPSILON
    )


def _norm(graph: _Graph, exported: Exported, name: str) -> list[str]:
    """Gain and shift of a layer norm."""
    names = [f"{name}LayerNorm.{part}" for part in ("weight", "bias")]
    return [graph.constant(each, exported.tensor(each)) for each in names]


def main(arguments: list[str]) -> int:
    source, target = arguments
    try:
        onnx.save(build(Exported(onnx.load(Path(source)))), target)
    except KeyError as error:
        sys.stderr.write(f"{source} has no tensor {error}: it is of another network\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
