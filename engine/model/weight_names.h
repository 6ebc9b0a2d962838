// The project's names of weight tensors, and what GGUF and Hugging Face files call the same
// tensors.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace keyhole {

// One tensor in the three spellings. Layer tensors carry a prefix: "layers.<i>." here, "blk.<i>."
// in GGUF, "model.layers.<i>." in Hugging Face files.
struct WeightName {
  std::string_view name;
  std::string_view gguf;
  std::string_view hugging_face;
};

namespace weight_names {

inline constexpr WeightName kTokenEmbedding = {
    "token_embedding", "token_embd.weight", "model.embed_tokens.weight"};
inline constexpr WeightName kOutputNorm = {
    "output_norm", "output_norm.weight", "model.norm.weight"};
inline constexpr WeightName kOutput = {"output", "output.weight", "lm_head.weight"};

inline constexpr WeightName kAttnNorm = {"attn_norm", "attn_norm.weight", "input_layernorm.weight"};
inline constexpr WeightName kQ = {"q", "attn_q.weight", "self_attn.q_proj.weight"};
inline constexpr WeightName kK = {"k", "attn_k.weight", "self_attn.k_proj.weight"};
inline constexpr WeightName kV = {"v", "attn_v.weight", "self_attn.v_proj.weight"};
inline constexpr WeightName kQBias = {"q_bias", "attn_q.bias", "self_attn.q_proj.bias"};
inline constexpr WeightName kKBias = {"k_bias", "attn_k.bias", "self_attn.k_proj.bias"};
inline constexpr WeightName kVBias = {"v_bias", "attn_v.bias", "self_attn.v_proj.bias"};
inline constexpr WeightName kQNorm = {"q_norm", "attn_q_norm.weight", "self_attn.q_norm.weight"};
inline constexpr WeightName kKNorm = {"k_norm", "attn_k_norm.weight", "self_attn.k_norm.weight"};
inline constexpr WeightName kO = {"o", "attn_output.weight", "self_attn.o_proj.weight"};
inline constexpr WeightName kFfnNorm = {
    "ffn_norm", "ffn_norm.weight", "post_attention_layernorm.weight"};
inline constexpr WeightName kGate = {"gate", "ffn_gate.weight", "mlp.gate_proj.weight"};
inline constexpr WeightName kUp = {"up", "ffn_up.weight", "mlp.up_proj.weight"};
inline constexpr WeightName kDown = {"down", "ffn_down.weight", "mlp.down_proj.weight"};

}  // namespace weight_names

// "layers.<layer>.<part>".
inline std::string LayerWeight(std::int64_t layer, const WeightName& part) {
  return fmt::format("layers.{}.{}", layer, part.name);
}

}  // namespace keyhole
