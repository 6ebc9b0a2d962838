"""Writes small valid inputs for the fuzzers of model files, so that they start behind the first checks.

    python make_seeds.py OUT    # fills OUT/gguf_fuzz, OUT/safetensors_fuzz and OUT/hf_config_fuzz
"""
import json
import pathlib
import struct
import sys

UINT32, FLOAT32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def value(key, kind, packed):
    return string(key) + struct.pack("<I", kind) + packed


def strings(key, texts):
    return value(key, ARRAY, struct.pack("<IQ", STRING, len(texts)) + b"".join(map(string, texts)))


def metadata(architecture):
    integers = {
        "context_length": 64, "block_count": 1, "embedding_length": 32, "feed_forward_length": 32, "attention.head_count": 2,
        "attention.head_count_kv": 1, "rope.dimension_count": 16, "rope.scaling.original_context_length": 16,
    }
    yield value("general.architecture", STRING, string(architecture))
    for key, number in integers.items():
        yield value(f"{architecture}.{key}", UINT32, struct.pack("<I", number))
    for key, number in {"attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 1e4, "rope.scaling.factor": 4}.items():
        yield value(f"{architecture}.{key}", FLOAT32, struct.pack("<f", number))
    yield value(f"{architecture}.rope.scaling.type", STRING, string("yarn"))
    tokens = ["a", "b", "ab", "<s>"]
    yield value("tokenizer.ggml.model", STRING, string("gpt2" if architecture != "llama" else "llama"))
    yield strings("tokenizer.ggml.tokens", tokens)
    yield strings("tokenizer.ggml.merges", ["a b"])
    yield value("tokenizer.ggml.scores", ARRAY, struct.pack("<IQ4f", FLOAT32, 4, 0, -1, -2, -3))
    yield value("tokenizer.ggml.token_type", ARRAY, struct.pack("<IQ4I", UINT32, 4, 1, 1, 1, 3))
    yield value("tokenizer.ggml.bos_token_id", UINT32, struct.pack("<I", 3))
    yield value("tokenizer.ggml.add_bos_token", BOOL, b"\1")


def gguf(architecture, matrix_type, row_bytes):
    """`matrix_type`: ggml's number of a type with blocks of 32; `row_bytes`: of 32 values."""
    vectors = {"output_norm.weight": 32, "blk.0.attn_norm.weight": 32, "blk.0.ffn_norm.weight": 32}
    matrices = {
        "token_embd.weight": 4, "blk.0.attn_q.weight": 32, "blk.0.attn_k.weight": 16, "blk.0.attn_v.weight": 16,
        "blk.0.attn_output.weight": 32, "blk.0.ffn_gate.weight": 32, "blk.0.ffn_up.weight": 32, "blk.0.ffn_down.weight": 32,
    }
    infos, offset = [], 0
    for name, size in vectors.items():
        infos.append(string(name) + struct.pack("<IQIQ", 1, size, 0, offset))
        offset += 4 * size
    for name, n_rows in matrices.items():
        infos.append(string(name) + struct.pack("<IQQIQ", 2, 32, n_rows, matrix_type, offset))
        offset += -(-n_rows * row_bytes // 32) * 32
    values = list(metadata(architecture))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(values)) + b"".join(values) + b"".join(infos)
    return head + bytes(-len(head) % 32) + bytes(i % 251 for i in range(offset))


def safetensors():
    header = {"__metadata__": {"format": "pt"}, "a": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}, "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(16)


def config(architecture, **more):
    sizes = {
        "architectures": [architecture], "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "sliding_window": None,
    }
    return json.dumps(sizes | more).encode()


def main():
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048, "beta_fast": 32}
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    seeds = {
        "gguf_fuzz": [gguf("llama", 3, 20), gguf("qwen2", 8, 34), gguf("qwen3", 1, 64), gguf("llama", 6, 22)],
        "safetensors_fuzz": [safetensors(), struct.pack("<Q", 2) + b"{}"],
        "hf_config_fuzz": [
            config("LlamaForCausalLM", rope_scaling=llama3, attention_bias=True), config("Qwen3ForCausalLM", layer_types=["full_attention"] * 2),
            config("MistralForCausalLM", rope_parameters=yarn), config("Qwen2ForCausalLM", rope_scaling=yarn, use_sliding_window=False),
            json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}).encode(),
        ],
    }
    for program, contents in seeds.items():
        folder = pathlib.Path(sys.argv[1]) / program
        folder.mkdir(parents=True, exist_ok=True)
        for i, content in enumerate(contents):
            (folder / f"seed-{i}").write_bytes(content)


if __name__ == "__main__":
    main()
