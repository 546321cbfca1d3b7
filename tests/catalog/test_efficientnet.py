"""The network against a computation of its own: plain numpy, batch norms not folded."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from interlingua.catalog.efficientnet import STAGES, build, same_padding
from interlingua.catalog.pth import read_pth

Array = np.ndarray
SIZE = 32


def random_weights(seed: int = 0) -> dict[str, Array]:
    """Weights of the network's shapes, scaled so that signals neither die nor explode."""
    rng = np.random.default_rng(seed)
    weights: dict[str, Array] = {}

    def convolution(name: str, norm: str, shape: tuple[int, ...]) -> None:
        fan_in = int(np.prod(shape[1:]))
        kernel = rng.standard_normal(shape) * np.sqrt(2 / fan_in)
        weights[f"{name}.weight"] = kernel.astype(np.float32)
        for part, low, high in (
            ("weight", 0.5, 1.5),
            ("bias", -0.5, 0.5),
            ("running_mean", -0.5, 0.5),
            ("running_var", 0.5, 1.5),
        ):
            weights[f"{norm}.{part}"] = rng.uniform(low, high, shape[0]).astype(np.float32)

    convolution("_conv_stem", "_bn0", (32, 3, 3, 3))
    index = 0
    for stage in STAGES:
        for position in range(stage.blocks):
            inputs = stage.outputs if position else stage.inputs
            wide, prefix = inputs * stage.expansion, f"_blocks.{index}."
            if stage.expansion != 1:
                convolution(f"{prefix}_expand_conv", f"{prefix}_bn0", (wide, inputs, 1, 1))
            kernel = (wide, 1, stage.kernel, stage.kernel)
            convolution(f"{prefix}_depthwise_conv", f"{prefix}_bn1", kernel)
            convolution(f"{prefix}_project_conv", f"{prefix}_bn2", (stage.outputs, wide, 1, 1))
            index += 1
    convolution("_conv_head", "_bn1", (1280, 320, 1, 1))
    weights["_fc.weight"] = rng.standard_normal((1000, 1280)).astype(np.float32)
    weights["_fc.bias"] = rng.standard_normal(1000).astype(np.float32)
    return weights


def convolve(x: Array, kernel: Array, stride: int) -> Array:
    """TensorFlow's "same" convolution of one image [c, h, w]; depthwise if it is so."""
    size, height = kernel.shape[2], x.shape[1]
    out = -(-height // stride)
    total = max((out - 1) * stride + size - height, 0)
    before = total // 2
    padded = np.pad(x, ((0, 0), (before, total - before), (before, total - before)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    if kernel.shape[1] == 1 and x.shape[0] > 1:
        return np.einsum("chwij,cij->chw", windows, kernel[:, 0])
    return np.einsum("chwij,ocij->ohw", windows, kernel, optimize=True)


def forward(weights: dict[str, Array], x: Array) -> Array:
    """The features of one image."""

    def step(x: Array, conv: str, norm: str, *, stride: int = 1, active: bool = True) -> Array:
        y = convolve(x, weights[f"{conv}.weight"].astype(np.float64), stride)
        gain, shift, mean, variance = (
            weights[f"{norm}.{part}"].astype(np.float64)[:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        y = (y - mean) / np.sqrt(variance + 1e-3) * gain + shift
        return np.clip(y, 0, 6) if active else y

    x = step(x, "_conv_stem", "_bn0", stride=2)
    index = 0
    for stage in STAGES:
        for position in range(stage.blocks):
            prefix, stride, source = f"_blocks.{index}.", 1 if position else stage.stride, x
            if stage.expansion != 1:
                x = step(x, f"{prefix}_expand_conv", f"{prefix}_bn0")
            x = step(x, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride=stride)
            x = step(x, f"{prefix}_project_conv", f"{prefix}_bn2", active=False)
            x = x + source if x.shape == source.shape else x
            index += 1
    return step(x, "_conv_head", "_bn1").mean(axis=(1, 2))


def test_the_graph_computes_what_the_network_does() -> None:
    weights = random_weights()
    session = onnxruntime.InferenceSession(build(weights, size=SIZE).SerializeToString())
    images = np.random.default_rng(2).standard_normal((2, 3, SIZE, SIZE)).astype(np.float32)
    features, logits = session.run(["features", "logits"], {"pixels": images})
    assert (features.shape, logits.shape) == ((2, 1280), (2, 1000))
    for image, found in zip(images, features, strict=True):
        expected = forward(weights, image.astype(np.float64))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    expected_logits = features @ weights["_fc.weight"].T + weights["_fc.bias"]
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-3, atol=1e-2)
    assert not np.allclose(logits[0], logits[1])


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(3, 1, [1, 1, 1, 1]), (5, 1, [2, 2, 2, 2]), (3, 2, [0, 0, 1, 1]), (5, 2, [1, 1, 2, 2])],
)
def test_padding_is_that_of_tensorflow(kernel: int, stride: int, padding: list[int]) -> None:
    assert same_padding(kernel, stride) == padding


def test_the_program_turns_a_checkpoint_into_a_graph(
    tmp_path: Path, write_checkpoint: Callable[..., bytes]
) -> None:
    source, target = tmp_path / "weights.pth", tmp_path / "model.onnx"
    source.write_bytes(write_checkpoint(random_weights()))
    command = [sys.executable, "-m", "interlingua.catalog.efficientnet", str(source), str(target)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    session = onnxruntime.InferenceSession(str(target))
    (features,) = session.run(["features"], {"pixels": np.zeros((1, 3, 224, 224), np.float32)})
    assert features.shape == (1, 1280)
    assert np.isfinite(features).all()


def test_a_checkpoint_of_another_network_is_refused_in_one_line(
    tmp_path: Path, write_checkpoint: Callable[..., bytes]
) -> None:
    source = tmp_path / "weights.pth"
    source.write_bytes(write_checkpoint({"w": np.ones(3, np.float32)}))
    assert list(read_pth(source)) == ["w"]
    command = [sys.executable, "-m", "interlingua.catalog.efficientnet", str(source), "x"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"{source} has no tensor '_conv_stem.weight': it is of another network"
    ]
