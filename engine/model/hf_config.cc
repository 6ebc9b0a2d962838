#include "engine/model/hf_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "engine/model/file_error.h"
#include "engine/model/hf_rope_scaling.h"
#include "engine/model/json_file.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

// Defaults of the configuration classes, where they differ.
struct Family {
  std::string_view class_name;
  std::string_view architecture;
  bool always_qkv_bias;
  bool qk_norm;
  std::optional<std::int64_t> default_head_dim;  // absent: hidden_size / n_heads
  std::optional<std::int64_t> default_window;    // sliding_window when the field is absent
  bool window_needs_switch;                      // use_sliding_window decides
};

constexpr std::nullopt_t kNone = std::nullopt;
constexpr Family kFamilies[] = {
    {"LlamaForCausalLM", "llama", false, false, kNone, kNone, false},
    {"MistralForCausalLM", "mistral", false, false, kNone, 4096, false},
    {"Qwen2ForCausalLM", "qwen2", true, false, kNone, 4096, true},
    {"Qwen3ForCausalLM", "qwen3", false, true, 128, 4096, true},
};

absl::StatusOr<const Family*> FindFamily(const JsonFields& fields) {
  const nlohmann::json* names = fields.Find("architectures");
  if (names == nullptr || !names->is_array() || names->size() != 1 || !names->at(0).is_string()) {
    return InvalidFile("\"architectures\" is not a list of one name");
  }
  const auto& name = names->at(0).get_ref<const std::string&>();
  const Family* family = std::ranges::find(kFamilies, name, &Family::class_name);
  if (family != std::end(kFamilies)) return family;
  return Unsupported(
      "architecture \"{}\" is not supported (LlamaForCausalLM, MistralForCausalLM, "
      "Qwen2ForCausalLM and Qwen3ForCausalLM are)",
      Printable(name));
}

absl::Status RefuseWindow(const JsonFields& fields, const Family& family, std::int64_t length) {
  // A list of layer types, where there is one, says which layers are windowed.
  if (const nlohmann::json* types = fields.Find("layer_types"); types != nullptr) {
    if (!types->is_array()) return InvalidFile("\"layer_types\" is not a list");
    for (const nlohmann::json& type : *types) {
      if (type == "full_attention") continue;
      return Unsupported("layer_types other than full_attention are not supported");
    }
    return absl::OkStatus();
  }
  KEYHOLE_ASSIGN_OR_RETURN(const bool used,
                           fields.BoolOr("use_sliding_window", !family.window_needs_switch));
  if (!used) return absl::OkStatus();
  // null switches the window off; only a field that is not there at all takes the default.
  std::int64_t window = family.default_window.value_or(0);
  if (fields.Contains("sliding_window")) {
    KEYHOLE_ASSIGN_OR_RETURN(window, fields.IntOr("sliding_window", 0));
  }
  if (window <= 0 || window >= length) return absl::OkStatus();
  return Unsupported("sliding-window attention ({} of {} tokens) is not supported", window, length);
}

absl::Status RefuseFeatures(const JsonFields& fields) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::string_view activation,
                           fields.StringOr("hidden_act", "silu"));
  if (activation != "silu") {
    return Unsupported("hidden_act \"{}\" is not supported", Printable(activation));
  }
  KEYHOLE_ASSIGN_OR_RETURN(const bool mlp_bias, fields.BoolOr("mlp_bias", false));
  if (mlp_bias) return Unsupported("mlp_bias is not supported");
  for (const std::string_view key : {"quantization_config", "num_local_experts", "num_experts"}) {
    if (!fields.Has(key)) continue;
    return Unsupported("\"{}\" is not supported", key);
  }
  return absl::OkStatus();
}

absl::Status ReadSizes(const JsonFields& fields, const Family& family, ModelConfig* config) {
  KEYHOLE_ASSIGN_OR_RETURN(config->n_layers, fields.Int("num_hidden_layers"));
  KEYHOLE_ASSIGN_OR_RETURN(config->n_heads, fields.Int("num_attention_heads"));
  KEYHOLE_ASSIGN_OR_RETURN(config->n_kv_heads,
                           fields.IntOr("num_key_value_heads", config->n_heads));
  KEYHOLE_ASSIGN_OR_RETURN(config->hidden_size, fields.Int("hidden_size"));
  KEYHOLE_ASSIGN_OR_RETURN(config->ffn_size, fields.Int("intermediate_size"));
  KEYHOLE_ASSIGN_OR_RETURN(config->vocab_size, fields.Int("vocab_size"));
  KEYHOLE_ASSIGN_OR_RETURN(config->trained_length, fields.Int("max_position_embeddings"));
  KEYHOLE_ASSIGN_OR_RETURN(config->norm_eps, fields.FloatOr("rms_norm_eps", 1e-6));
  const std::int64_t per_head = config->n_heads > 0 ? config->hidden_size / config->n_heads : 0;
  KEYHOLE_ASSIGN_OR_RETURN(config->head_dim,
                           fields.IntOr("head_dim", family.default_head_dim.value_or(per_head)));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ParseHfConfig(std::string_view json) {
  KEYHOLE_ASSIGN_OR_RETURN(const nlohmann::json document, ParseJsonObject(json, kMaxConfigBytes));
  const JsonFields fields(document);
  KEYHOLE_ASSIGN_OR_RETURN(const Family* family, FindFamily(fields));
  KEYHOLE_RETURN_IF_ERROR(RefuseFeatures(fields));
  ModelConfig config;
  config.architecture = family->architecture;
  KEYHOLE_RETURN_IF_ERROR(ReadSizes(fields, *family, &config));
  KEYHOLE_RETURN_IF_ERROR(RefuseWindow(fields, *family, config.trained_length));
  KEYHOLE_RETURN_IF_ERROR(ReadHfRope(fields, &config));
  KEYHOLE_ASSIGN_OR_RETURN(const bool attention_bias, fields.BoolOr("attention_bias", false));
  config.qkv_bias = family->always_qkv_bias || attention_bias;
  config.qk_norm = family->qk_norm;
  KEYHOLE_ASSIGN_OR_RETURN(config.tied_embeddings, fields.BoolOr("tie_word_embeddings", false));
  return config;
}

}  // namespace keyhole
