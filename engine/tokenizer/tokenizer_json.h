// Reads tokenizer.json, the format of Hugging Face tokenizers.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/tokenizer/tokenizer_data.h"

namespace keyhole {

// Supported: BPE, byte-level with a known pre-tokenizer, or with U+2581 for space and byte
// fallback; NFC; BOS and EOS from a TemplateProcessing post-processor. Errors: INVALID_ARGUMENT for
// what is no such file; UNIMPLEMENTED names the component that is not supported.
absl::StatusOr<TokenizerData> ParseTokenizerJson(std::string_view text);

// Adds to `data` what tokenizer_config.json says: BOS, EOS, padding, the chat template and, for a
// vocabulary from tokenizer.model, added tokens.
absl::Status ParseTokenizerConfig(std::string_view text,
                                  bool with_added_tokens,
                                  TokenizerData* data);

// Adds the end tokens of generation_config.json to `data`.
absl::Status ParseGenerationConfig(std::string_view text, TokenizerData* data);

}  // namespace keyhole
