"""Cosines and sines of every kind of RoPE scaling: the golden file of tests/unit/model/rope_table_test.

    python make_rope_goldens.py

Needs numpy. Case i is case i of kCases in the test.
"""
import pathlib

import numpy as np

import rope_formulas as rope
import tensor_file

POSITIONS = np.array([0, 1, 2, 63, 512, 4097, 8191, 20000])

FREQUENCY_FACTORS = np.linspace(1, 8, 32)
CASES = [  # (frequencies, attention factor)
    (rope.plain(64, 10000.0), 1.0),
    (rope.plain(64, 100000.0), 1.0),
    (rope.linear(128, 10000.0, 4.0), 1.0),
    (rope.ntk(64, 10000.0, 8.0), 1.0),
    (rope.yarn(128, 1000000.0, 4.0, 32768), rope.yarn_attention_factor(4.0)),
    (rope.yarn(64, 10000.0, 16.0, 4096, beta_fast=16.0, beta_slow=2.0), 1.25),
    (rope.llama3(128, 500000.0, 8.0, 8192, 1.0, 4.0), 1.0),
    (rope.llama3(64, 500000.0, 32.0, 8192, 1.0, 4.0), 1.0),
    (rope.plain(64, 500000.0) / FREQUENCY_FACTORS, 1.0),
]


def main():
    tensors = {"positions": POSITIONS.astype(np.int32)}
    for i, (frequencies, attention_factor) in enumerate(CASES):
        angle = POSITIONS[:, None] * frequencies[None, :]
        tensors[f"{i}.cos"] = (np.cos(angle) * attention_factor).astype(np.float32)
        tensors[f"{i}.sin"] = (np.sin(angle) * attention_factor).astype(np.float32)
    tensor_file.write(pathlib.Path(__file__).parent / "data/rope.safetensors", tensors)


if __name__ == "__main__":
    main()
