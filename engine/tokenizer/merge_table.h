// Byte-pair merging: which neighbours join, in which order, and the joining itself.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/types.h"

namespace keyhole {

// A symbol is a token id (>= 0), or a code of its maker's choice (< 0) for what is not a token.
using Symbol = std::int32_t;

// Thread: immutable after the last Add, any thread.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank = 0;  // the lowest goes first; equal ranks from left to right
    TokenId result = 0;
  };

  void Reserve(std::size_t n_merges) { merges_.reserve(n_merges); }

  // A pair that is there already is replaced.
  void Add(Symbol left, Symbol right, Merge merge) { merges_[Key(left, right)] = merge; }

  const Merge* Find(Symbol left, Symbol right) const {
    const auto found = merges_.find(Key(left, right));
    return found == merges_.end() ? nullptr : &found->second;
  }

  // Joins neighbours in place until none is left that joins. Time O(n log n), memory O(n).
  // Errors: none. REQUIRES: symbols->size() < 2^31.
  void Apply(std::vector<Symbol>* symbols) const;

 private:
  static std::uint64_t Key(Symbol left, Symbol right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 |
           static_cast<std::uint32_t>(right);
  }

  void ApplyShort(std::vector<Symbol>* symbols) const;
  void ApplyLong(std::vector<Symbol>* symbols) const;

  absl::flat_hash_map<std::uint64_t, Merge> merges_;
};

}  // namespace keyhole
