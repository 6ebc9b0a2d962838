#include "engine/tokenizer/merge_table.h"

#include <gtest/gtest.h>

#include <random>

namespace keyhole {
namespace {

// The definition: again and again, of all neighbours that join, the leftmost of the lowest rank.
std::vector<Symbol> MergeByDefinition(const MergeTable& table, std::vector<Symbol> symbols) {
  while (true) {
    std::size_t best = symbols.size();
    std::uint32_t best_rank = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const MergeTable::Merge* merge = table.Find(symbols[i], symbols[i + 1]);
      if (merge == nullptr || (best < symbols.size() && merge->rank >= best_rank)) continue;
      best = i;
      best_rank = merge->rank;
    }
    if (best == symbols.size()) return symbols;
    symbols[best] = table.Find(symbols[best], symbols[best + 1])->result;
    symbols.erase(symbols.begin() + best + 1);
  }
}

TEST(MergeTable, AnyTableAndLengthMergesByDefinition) {
  std::mt19937 random(11);
  for (int round = 0; round < 400; ++round) {
    MergeTable table;
    const int n_merges = 1 + random() % 40;
    const int n_ranks = 1 + random() % 40;  // few: many ties
    for (int i = 0; i < n_merges; ++i) {
      const auto pick = [&] { return static_cast<Symbol>(random() % (4 + i)) - 1; };
      table.Add(pick(), pick(), {static_cast<std::uint32_t>(random() % n_ranks), 4 + i});
    }
    for (const std::size_t n : {0, 1, 2, 3, 17, 31, 32, 33, 34, 100, 300}) {
      std::vector<Symbol> symbols(n);
      for (Symbol& symbol : symbols) symbol = static_cast<Symbol>(random() % 4) - 1;
      const std::vector<Symbol> expected = MergeByDefinition(table, symbols);
      table.Apply(&symbols);
      ASSERT_EQ(symbols, expected) << n;
    }
  }
}

}  // namespace
}  // namespace keyhole
