"""Checks the reference: its logits of the tiny models against those of Hugging Face Transformers.

    python compare_transformers.py

Needs torch, numpy and transformers. Fails if any differs by more than 1e-6 of the largest logit.
"""
import pathlib

import torch
from transformers import AutoModelForCausalLM

import tensor_file

TINY = pathlib.Path(__file__).parent / "data/tiny"


def main():
    golden = tensor_file.read(TINY / "logits.safetensors")
    failed = False
    for folder in sorted(path for path in TINY.iterdir() if path.is_dir()):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
        ids = torch.tensor(golden[f"{folder.name}.ids"], dtype=torch.long)[None]
        with torch.no_grad():
            theirs = model.eval()(ids).logits[0]
        ours = torch.tensor(golden[f"{folder.name}.logits"], dtype=torch.float64)
        error = float((theirs - ours).abs().max() / ours.abs().max())
        print(f"{folder.name}: {error:.1e}")
        failed |= error > 1e-6
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
