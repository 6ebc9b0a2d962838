// Decides where an answer ends: stop strings in its text, end and stop tokens among its ids.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request/request.h"
#include "engine/types.h"

namespace keyhole {

// Finds stop strings in text that arrives in pieces. The answer depends on the text alone, not on
// how it was cut: the match that is complete first wins, and of those that end at the same byte the
// longest. Text that may still become a stop string is held back. Time: linear in the text.
// Thread: one owner.
class StopChecker {
 public:
  // `include_stop_text` leaves the matched string in the text.
  StopChecker(std::span<const std::string> stops, bool include_stop_text);

  // Returns the text that is now safe to show. After a match nothing more is returned.
  std::string Push(std::string_view text);

  // Text that cannot start or continue a match: before min_output_tokens. Flushes what was held.
  std::string PushUnchecked(std::string_view text);

  // The text ends without a match: returns what was held back.
  std::string Finish();

  const std::optional<std::string>& matched() const { return matched_; }

 private:
  // One string with its Knuth-Morris-Pratt failure table.
  struct Pattern {
    std::string text = {};
    std::vector<std::size_t> failure = {};  // [text.size()]
    std::size_t state = 0;                  // bytes of `text` that the input now ends with
    bool Advance(char c);                   // whether the pattern is complete
  };

  std::vector<Pattern> patterns_;
  bool include_stop_text_;
  std::string held_;
  std::optional<std::string> matched_;
};

// What a new output token means by its id alone.
// REQUIRES: `output_len` counts the token.
std::optional<FinishReason> CheckStopToken(TokenId token,
                                           std::int32_t output_len,
                                           const StoppingParams& stopping,
                                           std::span<const TokenId> end_tokens);

}  // namespace keyhole
