// config.json of a Hugging Face model directory, as a ModelConfig.
#pragma once

#include <cstddef>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/model/model_config.h"

namespace keyhole {

inline constexpr std::size_t kMaxConfigBytes = 1 << 20;

// LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM and Qwen3ForCausalLM. Fields that are
// absent take the defaults of the architecture's configuration class; sizes must be there.
// Errors: INVALID_ARGUMENT for malformed JSON or a missing or mistyped field; UNIMPLEMENTED for
// another architecture or a feature that would change the results, with its field.
absl::StatusOr<ModelConfig> ParseHfConfig(std::string_view json);

}  // namespace keyhole
