#include "engine/ops/cuda/kernels/radix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <random>
#include <vector>

namespace keyhole::cuda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(RadixTest, KeysAscendWithNumbers) {
  const std::vector<float> ascending = {
      -kInfinity, -1e30F, -1, -1e-45F, 0, 1e-45F, 1, 1e30F, kInfinity};
  for (std::size_t i = 1; i < ascending.size(); ++i) {
    EXPECT_LT(RadixKey(ascending[i - 1]), RadixKey(ascending[i]));
  }
  EXPECT_EQ(RadixKey(-0.0F), RadixKey(0.0F));
  EXPECT_GT(RadixKey(-kInfinity), 0U);  // 0 stands for no score
}

TEST(RadixTest, DigitsAreTheWholeKey) {
  std::mt19937 random(1);
  for (int i = 0; i < 1000; ++i) {
    const auto key = static_cast<std::uint32_t>(random());
    std::uint32_t whole = 0;
    for (std::int32_t pass = 0; pass < kRadixPasses; ++pass) {
      EXPECT_EQ(RadixPrefix(key, pass), whole);
      ASSERT_LT(RadixDigit(key, pass), static_cast<std::uint32_t>(RadixBins(pass)));
      ASSERT_LE(RadixBins(pass), kRadixBins);
      whole |= RadixDigit(key, pass) << RadixShift(pass);
    }
    EXPECT_EQ(whole, key);
    EXPECT_EQ(RadixPrefix(key, kRadixPasses), key);
  }
}

// The passes written out: counts, the digit that decides, the next state.
RadixState Select(const std::vector<std::uint32_t>& keys, std::int32_t k) {
  RadixState state = {0, k};
  for (std::int32_t pass = 0; pass < kRadixPasses; ++pass) {
    std::vector<std::int32_t> counts(RadixBins(pass));
    for (const std::uint32_t key : keys) {
      if (RadixPrefix(key, pass) == state.prefix) ++counts[RadixDigit(key, pass)];
    }
    std::int32_t greater = 0;
    int decided = 0;
    RadixState next = {};
    for (int digit = RadixBins(pass) - 1; digit >= 0; greater += counts[digit--]) {
      if (!RadixDecides(greater, counts[digit], state.wanted)) continue;
      next = RadixNext(state, pass, static_cast<std::uint32_t>(digit), greater);
      ++decided;
    }
    EXPECT_EQ(decided, 1) << "pass " << pass;
    state = next;
  }
  return state;
}

TEST(RadixTest, PassesFindTheKthLargestKeyAndItsTies) {
  std::mt19937 random(2);
  for (const unsigned distinct : {1U, 2U, 50U, 1U << 31}) {
    std::vector<std::uint32_t> keys(500);
    for (std::uint32_t& key : keys) key = static_cast<std::uint32_t>(random() % distinct) * 77777;
    std::vector<std::uint32_t> sorted = keys;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    for (const std::int32_t k : {1, 2, 250, 499, 500}) {
      const RadixState state = Select(keys, k);
      EXPECT_EQ(state.prefix, sorted[k - 1]);
      const auto greater = std::count_if(
          keys.begin(), keys.end(), [&](std::uint32_t key) { return key > state.prefix; });
      EXPECT_EQ(state.wanted, k - greater);
    }
  }
}

TEST(RadixTest, PositionsAreDenseAndAscend) {
  // greater (g) and equal (e) keys in the order of their rows; two of the equal ones belong.
  std::int32_t greater = 0;
  std::int32_t equal = 0;
  std::int32_t next = 0;
  for (const char kind : std::string_view("egegeeg")) {
    const bool chosen = kind == 'g' || equal < 2;
    if (chosen) {
      EXPECT_EQ(RadixPosition(greater, equal, 2), next++);
    }
    ++(kind == 'g' ? greater : equal);
  }
  EXPECT_EQ(next, 5);
}

}  // namespace
}  // namespace keyhole::cuda
