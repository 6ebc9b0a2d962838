// The components of tokenizer.json beside the vocabulary.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "absl/status/status.h"
#include "engine/tokenizer/tokenizer_data.h"

namespace keyhole {

// Adds one entry of added_tokens (or of added_tokens_decoder) to the vocabulary of `data`.
// Errors: INVALID_ARGUMENT when the id is another token's.
absl::Status AddToken(const nlohmann::json& entry, TokenId id, TokenizerData* data);

// What normalizer and pre_tokenizer of `file` say: sets the kind and how text is cut and spelled.
// Errors: UNIMPLEMENTED names the component that is not supported.
absl::Status ReadTextRules(const nlohmann::json& file, TokenizerData* data);

// BOS and EOS from a post-processor.
// Errors: UNIMPLEMENTED for a template that adds anything else.
absl::Status ReadPostProcessor(const nlohmann::json& processor, TokenizerData* data);

}  // namespace keyhole
