// Named sizes of published models, and small ones for tests: what synthetic weights are made for.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/model/model_config.h"

namespace keyhole {

// "tiny", "tiny-qwen2" and "tiny-qwen3" have two layers and are for tests; the others carry the
// sizes, biases, norms and rotary settings of the model they are named after. Errors: NOT_FOUND
// with the names there are.
absl::StatusOr<ModelConfig> FindModelShape(std::string_view name);

}  // namespace keyhole
