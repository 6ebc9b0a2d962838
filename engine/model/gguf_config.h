// What a GGUF file's metadata says about its model, as a ModelConfig.
#pragma once

#include "absl/status/statusor.h"
#include "engine/model/gguf_file.h"
#include "engine/model/model_config.h"

namespace keyhole {

// Architectures llama (Mistral's files too), qwen2 and qwen3. Not yet validated.
// Errors: INVALID_ARGUMENT for a missing or mistyped key; UNIMPLEMENTED for another architecture or
// a feature that would change the results (experts, a sliding window, soft-capping, partial
// rotation, long-rope, a split file), with its key.
absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufFile& file);

}  // namespace keyhole
