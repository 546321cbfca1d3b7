"""Small GGUF files whose matrices are of one type, made with the format's own library."""

from pathlib import Path

import gguf
import numpy as np

Kind = gguf.GGMLQuantizationType

#: The matrix, and beside it what stays as it is.
SHAPE = (48, 96)


def write_quantized(path: Path, kind: Kind = Kind.Q4_1, *, alignment: int = 32) -> Path:
    """Two matrices of that type, one of Q8_0 and a vector of float32; weights are noise."""
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("noise")
    writer.add_custom_alignment(alignment)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_1)
    writer.add_token_list(["<unk>", "▁a", "é"])
    writer.add_token_scores([0.0, -1.5, -2.0])
    for name in ("a.weight", "b.weight"):
        weights = rng.standard_normal(SHAPE).astype(np.float32)
        weights[0] = 0
        writer.add_tensor(name, gguf.quants.quantize(weights, kind), raw_dtype=kind)
    head = gguf.quants.quantize(np.ones((2, 64), np.float32), Kind.Q8_0)
    writer.add_tensor("head.weight", head, raw_dtype=Kind.Q8_0)
    writer.add_tensor("norm.weight", np.arange(5, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
