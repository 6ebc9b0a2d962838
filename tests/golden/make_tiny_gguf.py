"""A Llama file of one layer, written by the `gguf` package: an independent witness for the reader.

Every row of a matrix holds its row number in the order of the original model (half-split rotation); q and k are then
permuted as the conversion of Llama models to GGUF does. Needs gguf and numpy from PyPI. Writes data/tiny_llama.gguf.

    python make_tiny_gguf.py
"""
import pathlib

import gguf
import numpy as np

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN, VOCAB = 32, 4, 2, 8, 40, 300


def numbered_rows(n_rows, n_cols):
    return np.repeat(np.arange(n_rows, dtype=np.float32)[:, None], n_cols, 1)


def permute(weights, n_heads):
    """Rows (head, half, i) to (head, i, half)."""
    return weights.reshape(n_heads, 2, weights.shape[0] // n_heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def add_tokenizer(writer):
    tokens = [f"<0x{i:02X}>" for i in range(256)] + ["<s>", "</s>", "\u2581"] + [f"t\u00e9{i}" for i in range(VOCAB - 259)]
    types = [6] * 256 + [3, 3] + [1] * (VOCAB - 258)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(i) for i in range(VOCAB)])
    writer.add_token_types(types)
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    writer.add_add_bos_token(True)
    writer.add_chat_template("{{ messages }}")


def main():
    writer = gguf.GGUFWriter(pathlib.Path(__file__).parent / "data" / "tiny_llama.gguf", "llama")
    writer.add_name("Tiny")
    writer.add_context_length(1024)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(5e5)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(4.0)
    writer.add_rope_scaling_orig_ctx_len(256)
    add_tokenizer(writer)
    shapes = {"attn_v": (KV_HEADS * HEAD_DIM, HIDDEN), "attn_output": (HIDDEN, HIDDEN), "ffn_gate": (FFN, HIDDEN), "ffn_up": (FFN, HIDDEN), "ffn_down": (HIDDEN, FFN)}
    writer.add_tensor("token_embd.weight", numbered_rows(VOCAB, HIDDEN).astype(np.float16))
    for name, shape in shapes.items():
        writer.add_tensor(f"blk.0.{name}.weight", numbered_rows(*shape).astype(np.float16))
    writer.add_tensor("blk.0.attn_q.weight", permute(numbered_rows(HEADS * HEAD_DIM, HIDDEN), HEADS))
    writer.add_tensor("blk.0.attn_k.weight", permute(numbered_rows(KV_HEADS * HEAD_DIM, HIDDEN), KV_HEADS))
    for name in ("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"):
        writer.add_tensor(name, np.arange(HIDDEN, dtype=np.float32))
    writer.add_tensor("rope_freqs.weight", np.array([1, 2, 4, 8], dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
