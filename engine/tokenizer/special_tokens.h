// Cuts text at tokens that are found as whole strings: control tokens and others added to a
// vocabulary.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/tokenizer/tokenizer_data.h"

namespace keyhole {

// The leftmost match wins, of those the longest, as in Hugging Face tokenizers
// (added_vocabulary.rs). Thread: immutable after Build, any thread.
class SpecialTokens {
 public:
  static constexpr std::size_t kMaxTokenBytes = 512;

  // Ordinary text, or one token.
  struct Fragment {
    std::string_view text;
    std::optional<TokenId> token;
  };

  // Errors: INVALID_ARGUMENT for an empty or overlong token.
  static absl::StatusOr<SpecialTokens> Build(const std::vector<AddedToken>& tokens);

  // Fragments cover `text` but for the white space that tokens swallow; none is empty. They point
  // into `text`. Time at most kMaxTokenBytes steps for each byte of text, usually one.
  std::vector<Fragment> Split(std::string_view text) const;

  bool empty() const { return rules_.empty(); }

 private:
  struct Rule {
    TokenId id;
    bool lstrip;
    bool rstrip;
    bool single_word;
  };
  struct Match {
    std::size_t begin;
    std::size_t end;
    const Rule* rule;
  };

  std::optional<Match> FindFrom(std::string_view text, std::size_t at) const;
  static bool StandsAlone(std::string_view text, const Match& match);

  // A trie: node 0 is the root; an edge is (node << 8 | byte) -> node.
  absl::flat_hash_map<std::uint64_t, std::int32_t> edges_;
  std::vector<std::int32_t> rule_of_node_;  // index into rules_; -1: none ends here
  std::vector<Rule> rules_;
  std::array<bool, 256> can_start_{};
};

}  // namespace keyhole
