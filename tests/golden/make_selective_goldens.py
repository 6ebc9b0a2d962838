"""Long prompts through selective attention by the f64 reference: the golden of tests/integration/selective_golden_test.

    python make_selective_goldens.py MODEL.gguf --text A.txt B.txt

Needs torch, numpy, gguf and tokenizers. See README.md in this folder for the content of the file.
"""
import argparse
import dataclasses
import json
import pathlib

import numpy as np
import torch

import gguf_reference
import make_tiny_models
import tensor_file
from reference import Config
from selective_reference import Distances, SelectiveReference, Settings

DATA = pathlib.Path(__file__).parent / "data"
N_STEPS = 16
N_COLUMNS = 128
N_TOP = 8
# Below these an f32 program may rightly choose another row or token.
MIN_ROW_MARGIN = 1e-5  # relative to the score
MIN_TOKEN_MARGIN = 1e-4  # relative to the largest logit

# Small enough that a few hundred tokens meet every branch.
PROSE = Settings(before=Distances(48, 64), tail_and_decode=Distances(48, 64))
RECALL = dataclasses.replace(PROSE, tail_and_decode=Distances(24, 64, far_bias=1.0, local=24))
PAPER = Settings(before=Distances(64, 64), tail_and_decode=Distances(64, 64))
WIDE = dataclasses.replace(PROSE, before=Distances(512, 1024), query_distance=256)


def change(settings, **changes):
    return dataclasses.replace(settings, **changes)


# name -> (tiny model, prompt length, settings). The tail starts within a chunk, with one, or in the chunk before the last.
TINY_CASES = {
    "llama_recall": ("llama", 317, RECALL),
    "llama_prose": ("llama", 352, PROSE),
    "llama_sink_recent": ("llama", 300, change(RECALL, policy="sink_recent")),
    "llama_full": ("llama", 300, change(RECALL, policy="full")),
    "mistral_paper": ("mistral", 600, change(PAPER, proximity=0, probes=1024, initial=0)),
    "qwen2_recall": ("qwen2", 401, RECALL),
    "qwen3_recall": ("qwen3", 440, change(RECALL, proximity=1, probes=3, selected=40)),
    "qwen2_native": ("qwen2", 152, change(RECALL, rectified=False)),
    "llama_budget": ("llama", 331, change(RECALL, tail_and_decode=Distances(24, 64, far_bias=0.5, local=24, budget=6))),
}
# name -> (index of the text, prompt length, settings)
TEXT_CASES = {
    "smollm2_recall": (0, 400, change(WIDE, tail_and_decode=Distances(256, 1024, far_bias=1.0, local=40))),
    "smollm2_prose": (1, 384, change(WIDE, tail_and_decode=Distances(512, 1024))),
}


def tiny_prompt(seed, length, settings):
    """Random tokens. Equal tokens have equal keys in the first layer, and so tie. Where a program has to turn keys back
    before it scores them only rounding tells such keys apart: there no token comes twice within the middle."""
    random = np.random.default_rng(seed)
    if settings.rectified:
        return random.integers(0, make_tiny_models.VOCAB, length).tolist()
    assert length + N_STEPS - settings.local - settings.initial <= make_tiny_models.VOCAB
    return np.resize(random.permutation(make_tiny_models.VOCAB), length).tolist()


def load_tiny(name):
    """-> (Config, weights)"""
    config = json.loads((DATA / "tiny" / name / "config.json").read_text())
    head_dim = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    inv_freq, attention_factor = make_tiny_models.frequencies(config, head_dim)
    weights = {
        key: torch.from_numpy(value.copy()).view(torch.bfloat16)
        for key, value in tensor_file.read(DATA / "tiny" / name / "model.safetensors").items()
    }
    return (
        Config(
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_attention_heads"],
            n_kv_heads=config["num_key_value_heads"],
            head_dim=head_dim,
            norm_eps=config["rms_norm_eps"],
            inv_freq=inv_freq,
            attention_factor=attention_factor,
        ),
        weights,
    )


def run(model, prompt):
    """-> greedy ids [N_STEPS], logits [chunks + N_STEPS - 1, vocabulary]: of each chunk's last token, then of decode"""
    chunk = model.settings.chunk
    ends = [min(i + chunk, len(prompt)) - 1 for i in range(0, len(prompt), chunk)]
    rows = list(model.prefill(prompt)[ends])
    greedy = [int(rows[-1].argmax())]
    while len(greedy) < N_STEPS:
        rows.append(model.append(greedy[-1:]))
        greedy.append(int(rows[-1].argmax()))
    return greedy, torch.stack(rows)


def check_margins(name, model, logits):
    top = logits[-N_STEPS:].topk(2, -1).values
    token_margin = float(((top[:, 0] - top[:, 1]) / logits[-N_STEPS:].abs().amax(-1)).min())
    print(f"{name}: {len(model.chosen)} steps scored, margins {model.margin:.1e} (rows), {token_margin:.1e} (tokens)")
    if model.margin < MIN_ROW_MARGIN or token_margin < MIN_TOKEN_MARGIN:
        raise SystemExit(f"{name}: rounding may decide; use another prompt")


def settings_of(s):
    sizes = [s.initial, s.local, s.selected, s.chunk, s.proximity, s.probes, s.query_distance, s.tail]
    distances = [s.before.selected, s.before.initial, s.tail_and_decode.selected, s.tail_and_decode.initial]
    distances += [min(s.tail_and_decode.local, s.local), min(s.tail_and_decode.budget, s.selected)]
    return {
        "settings": np.array(sizes + distances, np.int32),
        "far_bias": np.array([s.before.far_bias, s.tail_and_decode.far_bias], np.float32),
    }


def describe(model, prompt, greedy, logits, columns):
    result = settings_of(model.settings) | {
        "prompt": np.array(prompt, np.int32),
        "greedy": np.array(greedy, np.int32),
        "columns": columns.astype(np.int32),
        "logits": logits[:, columns].to(torch.float32).numpy(),
        "max_abs": logits.abs().amax(-1).to(torch.float32).numpy(),
    }
    if model.chosen:
        layers = sorted({0, model.config.n_layers // 2, model.config.n_layers - 1})
        rows = np.concatenate([step[layer] for step in model.chosen for layer in layers])
        result |= {"layers": np.array(layers, np.int32), "rows": rows.astype(np.int32)}
    return result


def make(name, model, prompt):
    greedy, logits = run(model, prompt)
    check_margins(name, model, logits)
    vocab_size = logits.shape[1]
    columns = np.sort(np.random.default_rng(20).choice(vocab_size, min(N_COLUMNS, vocab_size), replace=False))
    if vocab_size > N_COLUMNS:
        columns = np.union1d(columns, logits.topk(N_TOP, -1).indices.numpy())
    return {f"{name}.{key}": value for key, value in describe(model, prompt, greedy, logits, columns).items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--text", nargs=2, required=True)
    parser.add_argument("--out", default=DATA / "selective.safetensors")
    arguments = parser.parse_args()

    tensors = {}
    for seed, (name, (tiny, length, settings)) in enumerate(TINY_CASES.items()):
        model = SelectiveReference(*load_tiny(tiny), settings)
        tensors |= make(name, model, tiny_prompt(seed, length, settings))
    config, weights, tokenizer = gguf_reference.load(arguments.model)
    for name, (text, length, settings) in TEXT_CASES.items():
        prompt = tokenizer.encode(pathlib.Path(arguments.text[text]).read_text()).ids[:length]
        tensors |= make(name, SelectiveReference(config, weights, settings), prompt)
    tensor_file.write(arguments.out, tensors)


if __name__ == "__main__":
    main()
