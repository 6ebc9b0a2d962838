"""Greedy continuations of 20 prompts by the f64 reference: the golden file of tests/integration/model_golden_test.

    python make_model_goldens.py MODEL.gguf --text A.txt B.txt ... [--full-logits FULL.npy]

Needs torch, numpy, gguf and tokenizers. The prompts are cut from the texts in turn; the golden keeps their token ids, so
that the texts are needed only to make it anew. See README.md in this folder for the content of the file.
"""
import argparse
import pathlib
import sys

import numpy as np
import torch

import gguf_reference
import tensor_file
from reference import Reference

LENGTHS = [1, 2, 3, 5, 8, 17, 33, 63, 64, 65, 100, 128, 200, 300, 511, 512, 513, 1000, 2000, 4000]
N_STEPS = 64
N_COLUMNS = 256
N_TOP = 20
FULL_ROWS = [(0, 0), (8, 63), (15, 0), (17, 31), (19, 0)]  # (prompt, step): kept with the whole vocabulary


def make_prompts(tokenizer, texts):
    """Prompt i comes from text i % len(texts), each cut starting where the last one of that text ended."""
    ids = [tokenizer.encode(text).ids for text in texts]
    begin = [0] * len(ids)
    for i, length in enumerate(LENGTHS):
        source = i % len(ids)
        prompt = ids[source][begin[source] : begin[source] + length]
        if len(prompt) != length:
            raise SystemExit(f"text {source} is too short for a prompt of {length} tokens")
        begin[source] += length
        yield prompt


def run(model, prompt, n_steps):
    """-> greedy ids [n_steps], logits [n_steps, vocabulary]: row t is what chose id t"""
    model.reset()
    rows = [model.append(prompt)]
    greedy = [int(rows[0].argmax())]
    while len(greedy) < n_steps:
        rows.append(model.append(greedy[-1:]))
        greedy.append(int(rows[-1].argmax()))
    return greedy, torch.stack(rows)


def describe(greedy, prompt, logits, columns):
    top = logits.topk(N_TOP, -1)
    f32 = lambda t: t.to(torch.float32).numpy()
    return {
        "prompt": np.array(prompt, np.int32),
        "greedy": np.array(greedy, np.int32),
        "column_logits": f32(logits[:, columns]),
        "top_ids": top.indices.to(torch.int32).numpy(),
        "top_logits": f32(top.values),
        "max_abs": f32(logits.abs().amax(-1)),
        "log_sum_exp": f32(logits.logsumexp(-1)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--text", nargs="+", required=True)
    parser.add_argument("--full-logits", help="also keep all logits here, for make_llama_cpp_goldens.py")
    parser.add_argument("--out", default=pathlib.Path(__file__).parent / "data/smollm2_135m_q4_1.safetensors")
    arguments = parser.parse_args()

    config, weights, tokenizer = gguf_reference.load(arguments.model)
    model = Reference(config, weights)
    vocab_size = weights["model.embed_tokens.weight"].shape[0]
    columns = np.sort(np.random.default_rng(20).choice(vocab_size, N_COLUMNS, replace=False))
    tensors = {"columns": columns.astype(np.int32)}
    texts = [pathlib.Path(path).read_text() for path in arguments.text]
    full = []
    for i, prompt in enumerate(make_prompts(tokenizer, texts)):
        greedy, logits = run(model, prompt, N_STEPS)
        tensors |= {f"{i}.{name}": value for name, value in describe(greedy, prompt, logits, columns).items()}
        full.append(logits.to(torch.float32).numpy())
        margin = (tensors[f"{i}.top_logits"][:, 0] - tensors[f"{i}.top_logits"][:, 1]).min()
        print(f"prompt {i}: {len(prompt)} tokens, smallest margin {margin:.2e}", file=sys.stderr, flush=True)
    for i, step in FULL_ROWS:
        tensors[f"full.{i}.{step}"] = full[i][step]
    tensor_file.write(arguments.out, tensors)
    if arguments.full_logits:
        np.save(arguments.full_logits, np.stack(full))


if __name__ == "__main__":
    main()
