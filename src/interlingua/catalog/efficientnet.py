"""EfficientNet-Lite0: from its torch checkpoint to an ONNX graph of image features.

Run as ``python -m interlingua.catalog.efficientnet WEIGHTS GRAPH``: it needs numpy and
onnx, which nobody else should have to import.

The network is that of the EfficientNet paper (arXiv:1905.11946, table 1) as changed by its
"Lite" variants: no squeeze-and-excitation, ReLU6 for swish, stem and head not scaled.
"""

import sys
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from interlingua.errors import ModelFileError

from .pth import Array, read_pth

#: Of TensorFlow's training, which the weights come from.
BATCH_NORM_EPSILON = 1e-3
IMAGE_SIZE = 224
FEATURES = 1280
CLASSES = 1000

Weights = dict[str, Array]


class Stage(msgspec.Struct, frozen=True):
    """Blocks of one shape; the first has the stride and the change of channels."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    inputs: int
    outputs: int


STAGES = (
    Stage(1, 3, 1, 1, 32, 16),
    Stage(2, 3, 2, 6, 16, 24),
    Stage(2, 5, 2, 6, 24, 40),
    Stage(3, 3, 2, 6, 40, 80),
    Stage(3, 5, 1, 6, 80, 112),
    Stage(4, 5, 2, 6, 112, 192),
    Stage(1, 3, 1, 6, 192, 320),
)


class _Graph:
    """The nodes and constants of the graph as it grows; a step returns its output's name."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.constant("zero", np.float32(0))
        self.constant("six", np.float32(6))

    def constant(self, name: str, value: npt.ArrayLike) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: int | list[int]) -> str:
        made = helper.make_node(kind, inputs, [output], **attributes)  # type: ignore[arg-type]  # its signature leaves attributes out
        self.nodes.append(made)
        return output

    def convolution(
        self, source: str, weight: str, norm: str, *, stride: int = 1, groups: int = 1
    ) -> str:
        """A convolution with its batch norm folded in."""
        kernel, bias = _folded(self.weights, weight, norm)
        size = kernel.shape[2]
        return self.node(
            "Conv",
            [source, self.constant(f"{weight}.w", kernel), self.constant(f"{weight}.b", bias)],
            f"{weight}.out",
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=same_padding(size, stride),
            group=groups,
        )

    def relu6(self, source: str) -> str:
        return self.node("Clip", [source, "zero", "six"], f"{source}.relu6")


def same_padding(kernel: int, stride: int) -> list[int]:
    """TensorFlow's "same": top, left, bottom, right. With stride 2 on an even size (all of
    224 to 14 are) the odd pixel goes to the bottom and the right.
    """
    total = kernel - stride
    before = total // 2
    return [before, before, total - before, total - before]


def _folded(
    weights: Weights, weight: str, norm: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Kernel and bias that do what the convolution and then its batch norm did."""
    kernel = np.asarray(weights[weight], np.float64)
    gain, shift, mean, variance = (
        np.asarray(weights[f"{norm}.{part}"], np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / np.sqrt(variance + BATCH_NORM_EPSILON)
    folded = kernel * scale[:, None, None, None]
    return folded.astype(np.float32), (shift - mean * scale).astype(np.float32)


def _block(graph: _Graph, source: str, index: int, stage: Stage, *, first: bool) -> str:
    """An inverted bottleneck: expand, filter each channel, project, add what came in."""
    prefix = f"_blocks.{index}."
    inputs = stage.inputs if first else stage.outputs
    stride = stage.stride if first else 1
    x = source
    if stage.expansion != 1:
        x = graph.relu6(graph.convolution(x, f"{prefix}_expand_conv.weight", f"{prefix}_bn0"))
    x = graph.convolution(
        x,
        f"{prefix}_depthwise_conv.weight",
        f"{prefix}_bn1",
        stride=stride,
        groups=inputs * stage.expansion,
    )
    x = graph.convolution(graph.relu6(x), f"{prefix}_project_conv.weight", f"{prefix}_bn2")
    if stride == 1 and inputs == stage.outputs:
        x = graph.node("Add", [x, source], f"{prefix}sum")
    return x


def build(weights: Weights, *, size: int = IMAGE_SIZE) -> onnx.ModelProto:
    """The graph: ``pixels`` [n, 3, size, size] to ``features`` and ImageNet ``logits``."""
    graph = _Graph(weights)
    x = graph.relu6(graph.convolution("pixels", "_conv_stem.weight", "_bn0", stride=2))
    index = 0
    for stage in STAGES:
        for position in range(stage.blocks):
            x = _block(graph, x, index, stage, first=position == 0)
            index += 1
    x = graph.relu6(graph.convolution(x, "_conv_head.weight", "_bn1"))
    graph.node("Flatten", [graph.node("GlobalAveragePool", [x], "pooled")], "features", axis=1)
    head = [graph.constant(name, weights[name]) for name in ("_fc.weight", "_fc.bias")]
    graph.node("Gemm", ["features", *head], "logits", transB=1)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "efficientnet_lite0",
            [helper.make_tensor_value_info("pixels", 1, ["n", 3, size, size])],
            [
                helper.make_tensor_value_info("features", 1, ["n", FEATURES]),
                helper.make_tensor_value_info("logits", 1, ["n", CLASSES]),
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="interlingua",
    )
    onnx.checker.check_model(model)
    return model


def main(arguments: list[str]) -> int:
    source, target = arguments
    try:
        onnx.save(build(read_pth(Path(source))), target)
    except KeyError as error:
        sys.stderr.write(f"{source} has no tensor {error}: it is of another network\n")
        return 1
    except ModelFileError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
