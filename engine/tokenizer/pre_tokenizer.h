// Cuts text into the pieces within which byte-level BPE merges: the known regular expressions,
// through PCRE2.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace keyhole {

// The patterns are those of the models' own tokenizer.json files; none comes from a model file, so
// that no file can bring one that takes exponential time. Thread: immutable after Create, any
// thread.
class PreTokenizer {
 public:
  // `name` as in tokenizer.ggml.pre; empty: "default".
  // Errors: UNIMPLEMENTED for a name that is not known, with those that are.
  static absl::StatusOr<PreTokenizer> Create(std::string_view name);

  // Name for a regular expression of tokenizer.json; empty when it is none of the known ones.
  static std::string_view NameOfPattern(std::string_view pattern);

  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;
  ~PreTokenizer();

  // Appends pieces that together are `text`, none empty. Time linear in the length.
  // REQUIRES: `text` is valid UTF-8.
  // Errors: INVALID_ARGUMENT when matching exceeds its limit of steps.
  absl::Status Split(std::string_view text, std::vector<std::string_view>* pieces) const;

 private:
  struct Compiled;
  explicit PreTokenizer(std::unique_ptr<const Compiled> compiled);
  std::unique_ptr<const Compiled> compiled_;
};

}  // namespace keyhole
