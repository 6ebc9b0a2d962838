"""Random blocks of every weight type and the f32 values that the `gguf` package decodes from them.

Needs gguf and numpy from PyPI. Writes data/dequantize.safetensors: "<TYPE>.blocks" u8 [rows, row bytes] and
"<TYPE>.values" f32 [rows, columns].

    python make_dequantize.py
"""
import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

import tensor_file

N_ROWS, N_COLS = 3, 512
# Byte offsets of the f16 fields of a block; every other byte may hold anything.
HALF_FIELDS = {"F16": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
FULL_RANGE = {"F32": np.uint32, "BF16": np.uint16}


def finite_halves(rng, shape):
    """Any f16 that is neither infinite nor NaN: subnormal numbers and both zeros occur."""
    bits = rng.integers(0, 1 << 16, shape, dtype=np.uint16)
    return np.where(bits & 0x7C00 == 0x7C00, bits & 0x83FF, bits)


def random_blocks(rng, name):
    block_size, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    if name in FULL_RANGE:
        values = rng.standard_normal((N_ROWS, N_COLS)).astype(np.float32)
        return values.view(np.uint8) if name == "F32" else (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    blocks = rng.integers(0, 256, (N_ROWS, N_COLS // block_size, block_bytes), dtype=np.uint8)
    for offset in HALF_FIELDS[name]:
        blocks[..., offset:offset + 2] = finite_halves(rng, blocks.shape[:2])[..., None].view(np.uint8)
    return blocks.reshape(N_ROWS, -1)


def main():
    rng = np.random.default_rng(20240611)
    tensors = {}
    for name in [*FULL_RANGE, *HALF_FIELDS]:
        blocks = random_blocks(rng, name)
        values = quants.dequantize(blocks, GGMLQuantizationType[name]).astype(np.float32)
        assert values.shape == (N_ROWS, N_COLS) and np.isfinite(values).all(), name
        tensors[f"{name}.blocks"], tensors[f"{name}.values"] = blocks, values
    tensor_file.write(pathlib.Path(__file__).parent / "data" / "dequantize.safetensors", tensors)


if __name__ == "__main__":
    main()
