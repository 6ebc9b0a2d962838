// What one family of tokenizers does with text between special tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/types.h"

namespace keyhole {

// Thread: immutable after construction, any thread.
class FragmentEncoder {
 public:
  virtual ~FragmentEncoder() = default;

  // `fragment` as the vocabulary spells it; `first`: nothing of the text comes before it.
  // REQUIRES: valid UTF-8.
  virtual std::string Normalize(std::string_view fragment, bool first) const = 0;

  // `text` of an added token as it looks inside normalised text.
  virtual std::string NormalizeToken(std::string_view text) const = 0;

  // Appends the ids of normalised text. Errors: INVALID_ARGUMENT when a bound is hit.
  virtual absl::Status Encode(std::string_view normalized, std::vector<TokenId>* ids) const = 0;
};

}  // namespace keyhole
