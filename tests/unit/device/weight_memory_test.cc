#include "engine/device/weight_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace keyhole {
namespace {

TEST(WeightMemory, PiecesAreAlignedAndApart) {
  WeightMemory memory;
  std::vector<std::pair<std::shared_ptr<std::byte>, std::size_t>> pieces;
  for (const std::size_t bytes : {1, 64, 100, 5 << 20, 3, 1 << 20, 3 << 20, 7}) {
    pieces.emplace_back(memory.Take(bytes), bytes);
    ASSERT_NE(pieces.back().first, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pieces.back().first.get()) % 64, 0);
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    std::fill_n(pieces[i].first.get(), pieces[i].second, static_cast<std::byte>(i));
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const std::byte* at = pieces[i].first.get();
    EXPECT_EQ(std::count(at, at + pieces[i].second, static_cast<std::byte>(i)), pieces[i].second);
  }
}

TEST(WeightMemory, PiecesOutliveIt) {
  std::optional<WeightMemory> memory(std::in_place);
  const std::shared_ptr<std::byte> first = memory->Take(100);
  std::shared_ptr<std::byte> second = memory->Take(100);
  memory.reset();
  second.reset();
  std::fill_n(first.get(), 100, std::byte{7});
  EXPECT_EQ(first.get()[99], std::byte{7});
}

TEST(WeightMemory, MoreThanThereIsGivesNothing) {
  WeightMemory memory;
  EXPECT_EQ(memory.Take(std::size_t{1} << 50), nullptr);
  EXPECT_NE(memory.Take(10), nullptr);
}

}  // namespace
}  // namespace keyhole
