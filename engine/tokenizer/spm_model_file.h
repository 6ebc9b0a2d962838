// Reads tokenizer.model, a SentencePiece model.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/tokenizer/tokenizer_data.h"

namespace keyhole {

// Supported: BPE without a character map (rule "identity"). The format is
// sentencepiece_model.proto. Errors: INVALID_ARGUMENT for bytes that are no such message;
// UNIMPLEMENTED for other kinds of models.
absl::StatusOr<TokenizerData> ParseSpmModel(std::string_view bytes);

}  // namespace keyhole
