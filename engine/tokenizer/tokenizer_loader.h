// The tokenizer of a Hugging Face or SentencePiece model directory.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/tokenizer/tokenizer_data.h"

namespace keyhole {

// Reads tokenizer.json, or where there is none tokenizer.model, and with it tokenizer_config.json,
// chat_template.jinja and generation_config.json where they exist. Errors: NOT_FOUND when the
// directory has no tokenizer; INVALID_ARGUMENT for a file that cannot be read or makes no sense;
// UNIMPLEMENTED for a kind of tokenizer that is not supported, with the reason.
absl::StatusOr<TokenizerData> ReadTokenizerDirectory(const std::string& directory);

// ReadTokenizerDirectory, then MakeTokenizer.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& directory);

}  // namespace keyhole
