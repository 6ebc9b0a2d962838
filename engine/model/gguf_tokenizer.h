// The tokenizer that a GGUF file's metadata describes.
#pragma once

#include "absl/status/statusor.h"
#include "engine/model/gguf_file.h"
#include "engine/tokenizer/tokenizer_data.h"

namespace keyhole {

// Copies the values of the keys that TokenizerData names; MakeTokenizer checks them.
// Errors: INVALID_ARGUMENT for a missing or mistyped key; UNIMPLEMENTED for a tokenizer model other
// than "gpt2" and "llama".
absl::StatusOr<TokenizerData> ReadGgufTokenizer(const GgufFile& file);

}  // namespace keyhole
