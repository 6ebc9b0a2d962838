"""Tiny random models of every supported variant as Hugging Face folders, with the reference's logits beside them: the
goldens of tests/unit/model/llama_test.

    python make_tiny_models.py

Needs torch and numpy. Weights are random with fixed seeds and are stored as bf16, so that f32 holds them exactly.
"""
import json
import pathlib

import numpy as np
import torch

import rope_formulas as rope
import tensor_file
from reference import Config, Reference

VOCAB = 96
N_TOKENS = 40
BASE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCAB,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "torch_dtype": "bfloat16",
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
LINEAR = {"rope_type": "linear", "factor": 2.0}
MODELS = {
    "llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "tie_word_embeddings": False},
    "llama_tied_llama3": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "tie_word_embeddings": True,
        "rope_theta": 500000.0,
        "rope_scaling": LLAMA3,
    },
    "llama_linear_mha": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "tie_word_embeddings": False,
        "num_key_value_heads": 4,
        "rope_scaling": LINEAR,
    },
    "mistral": {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "tie_word_embeddings": False,
        "num_key_value_heads": 1,
        "sliding_window": None,
    },
    "qwen2": {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "tie_word_embeddings": True,
        "rope_theta": 1000000.0,
        "rms_norm_eps": 1e-6,
        "rope_scaling": YARN,
    },
    "qwen3": {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "tie_word_embeddings": False,
        "rms_norm_eps": 1e-6,
        "head_dim": 16,
        "attention_bias": False,
    },
}


def frequencies(config, head_dim):
    """-> (inverse frequencies, attention factor)"""
    theta, scaling = config["rope_theta"], config.get("rope_scaling")
    if scaling is None:
        return rope.plain(head_dim, theta), 1.0
    factor, original = scaling["factor"], scaling.get("original_max_position_embeddings")
    if scaling["rope_type"] == "linear":
        return rope.linear(head_dim, theta, factor), 1.0
    if scaling["rope_type"] == "yarn":
        return rope.yarn(head_dim, theta, factor, original), rope.yarn_attention_factor(factor)
    return rope.llama3(head_dim, theta, factor, original, scaling["low_freq_factor"], scaling["high_freq_factor"]), 1.0


def shapes(config, head_dim):
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    q_size, kv_size = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    yield "model.embed_tokens.weight", (VOCAB, hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (hidden,)
        for name, size in (("q", q_size), ("k", kv_size), ("v", kv_size)):
            yield prefix + f"self_attn.{name}_proj.weight", (size, hidden)
            if config["model_type"] == "qwen2":
                yield prefix + f"self_attn.{name}_proj.bias", (size,)
        if config["model_type"] == "qwen3":
            yield prefix + "self_attn.q_norm.weight", (head_dim,)
            yield prefix + "self_attn.k_norm.weight", (head_dim,)
        yield prefix + "self_attn.o_proj.weight", (hidden, q_size)
        yield prefix + "post_attention_layernorm.weight", (hidden,)
        yield prefix + "mlp.gate_proj.weight", (ffn, hidden)
        yield prefix + "mlp.up_proj.weight", (ffn, hidden)
        yield prefix + "mlp.down_proj.weight", (hidden, ffn)
    yield "model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (VOCAB, hidden)


def random_weights(config, head_dim, seed):
    random = torch.Generator().manual_seed(seed)
    for name, shape in shapes(config, head_dim):
        values = torch.randn(shape, generator=random)
        if "norm" in name:
            values = 1 + 0.2 * values
        elif name.endswith(".weight") and "embed_tokens" not in name:
            values = values * (1.5 / shape[1] ** 0.5)
        yield name, values.to(torch.bfloat16)


def main():
    data = pathlib.Path(__file__).parent / "data"
    goldens = {}
    for seed, (name, changes) in enumerate(MODELS.items()):
        config = BASE | changes
        head_dim = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
        weights = dict(random_weights(config, head_dim, seed))
        folder = data / "tiny" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        raw = {key: value.view(torch.uint16).numpy() for key, value in weights.items()}
        tensor_file.write(folder / "model.safetensors", raw, {"format": "pt"})

        inv_freq, attention_factor = frequencies(config, head_dim)
        reference = Reference(
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
        ids = np.random.default_rng(seed).integers(0, VOCAB, N_TOKENS).astype(np.int32)
        goldens[f"{name}.ids"] = ids
        goldens[f"{name}.logits"] = reference.append(ids.tolist(), all_logits=True).to(torch.float32).numpy()
    tensor_file.write(data / "tiny/logits.safetensors", goldens)


if __name__ == "__main__":
    main()
