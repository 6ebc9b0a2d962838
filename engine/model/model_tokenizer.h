// The tokenizer and chat template that belong to a model, from whichever kind of file it is in.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/model/weight_source.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/tokenizer_data.h"

namespace keyhole {

// A GGUF file is opened anew for this: a few milliseconds. A synthetic model has one token for each
// byte, then BOS and EOS; its other ids stand for nothing.
// Errors: those of ReadGgufTokenizer, and of reading a directory's tokenizer.json or
// tokenizer.model; INVALID_ARGUMENT if there are more tokens than rows in the model's embedding.
absl::StatusOr<TokenizerData> ReadModelTokenizer(const WeightSource& source);

// Errors: also those of MakeTokenizer.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadModelTokenizer(const WeightSource& source);

// What ChatTemplate needs. `source` is empty when the model has no template.
struct ChatTemplateSource {
  std::string source;
  std::string bos_token;
  std::string eos_token;
};

ChatTemplateSource ChatTemplateOf(const TokenizerData& data);

}  // namespace keyhole
