"""Opens a Llama GGUF file for the reference: weights dequantised by the `gguf` package, and its tokenizer."""
import numpy as np
from gguf import GGUFReader, quants
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

import rope_formulas
from reference import Config

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OTHER_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def hugging_face_name(name):
    if name in OTHER_NAMES:
        return OTHER_NAMES[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{kind}"


def half_split_rows(n_heads, head_dim):
    """Stored rows (2i, 2i + 1 are a pair) in the order of the half-split layout (i, i + head_dim / 2)."""
    row = np.arange(head_dim)
    stored = np.where(row < head_dim // 2, 2 * row, 2 * (row - head_dim // 2) + 1)
    return (np.arange(n_heads)[:, None] * head_dim + stored[None, :]).reshape(-1)


def load(path):
    """-> (Config, weights by Hugging Face name, Tokenizer)"""
    reader = GGUFReader(path)
    field = lambda key: reader.fields[key].contents()
    if field("general.architecture") != "llama":
        raise SystemExit("only Llama GGUF files are supported here")
    n_heads = field("llama.attention.head_count")
    n_kv_heads = field("llama.attention.head_count_kv")
    head_dim = field("llama.embedding_length") // n_heads
    config = Config(
        n_layers=field("llama.block_count"),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        norm_eps=field("llama.attention.layer_norm_rms_epsilon"),
        inv_freq=rope_formulas.plain(head_dim, field("llama.rope.freq_base")),
    )
    weights = {}
    for tensor in reader.tensors:
        w = np.array(quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        if ".attn_q." in tensor.name:
            w = w[half_split_rows(n_heads, head_dim)]
        if ".attn_k." in tensor.name:
            w = w[half_split_rows(n_kv_heads, head_dim)]
        weights[hugging_face_name(tensor.name)] = w
    return config, weights, _tokenizer(field)


def _tokenizer(field):
    tokens, kinds = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    control = [AddedToken(t, special=True, normalized=False) for t, kind in zip(tokens, kinds) if kind == 3]
    tokenizer.add_special_tokens(control)
    return tokenizer
