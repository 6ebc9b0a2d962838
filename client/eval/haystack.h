// Prose to hide facts in: sentences of a text file, or a few that repeat.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace keyhole::eval {

class Haystack {
 public:
  // A few sentences without any number; every method finds facts in them more easily than in prose.
  static Haystack Filler();

  // Errors: INVALID_ARGUMENT for a text without a sentence.
  static absl::StatusOr<Haystack> FromText(const std::string& text);

  // Wraps around in both directions; begins with a space.
  const std::string& Sentence(std::int64_t index) const;
  std::int64_t size() const { return static_cast<std::int64_t>(sentences_.size()); }

 private:
  std::vector<std::string> sentences_;
};

}  // namespace keyhole::eval
