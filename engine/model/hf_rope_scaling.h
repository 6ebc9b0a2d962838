// Position scaling as a Hugging Face config.json declares it.
#pragma once

#include "absl/status/status.h"
#include "engine/model/json_file.h"
#include "engine/model/model_config.h"

namespace keyhole {

// Reads rope_theta and rope_scaling, or the newer rope_parameters that joins both.
// Types: default, linear, ntk (a fixed change of base), yarn, llama3; and dynamic, which changes
// nothing up to the trained length and so counts as none.
// REQUIRES: config->trained_length and head_dim are set; trained_length grows where the scaling
// says so.
// Errors: INVALID_ARGUMENT for missing or mistyped fields; UNIMPLEMENTED for other types.
absl::Status ReadHfRope(const JsonFields& fields, ModelConfig* config);

}  // namespace keyhole
