// The smallest model that can be opened, as a GGUF file that tests then bend.
#pragma once

#include <string>

#include "tests/unit/model_files/gguf_builder.h"

namespace keyhole {

// Metadata of one layer: hidden 8, 2 heads of 4, 1 KV head, FFN 16, context 64.
inline GgufBuilder TinyMetadata(const std::string& architecture = "llama") {
  GgufBuilder builder;
  builder.String("general.architecture", architecture);
  const auto key = [&architecture](const char* name) { return architecture + "." + name; };
  builder.Uint(key("context_length"), 64)
      .Uint(key("block_count"), 1)
      .Uint(key("embedding_length"), 8)
      .Uint(key("feed_forward_length"), 16)
      .Uint(key("attention.head_count"), 2)
      .Uint(key("attention.head_count_kv"), 1)
      .Float(key("attention.layer_norm_rms_epsilon"), 1e-5F);
  return builder;
}

inline GgufBuilder& AddTinyTensors(GgufBuilder& builder) {
  builder.F32("token_embd.weight", {8, 20}).F32("output_norm.weight", {8});
  const std::string prefix = "blk.0.";
  builder.F32(prefix + "attn_norm.weight", {8})
      .F32(prefix + "attn_q.weight", {8, 8})
      .F32(prefix + "attn_k.weight", {8, 4})
      .F32(prefix + "attn_v.weight", {8, 4})
      .F32(prefix + "attn_output.weight", {8, 8})
      .F32(prefix + "ffn_norm.weight", {8})
      .F32(prefix + "ffn_gate.weight", {8, 16})
      .F32(prefix + "ffn_up.weight", {8, 16})
      .F32(prefix + "ffn_down.weight", {16, 8});
  return builder;
}

}  // namespace keyhole
