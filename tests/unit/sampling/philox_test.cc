#include "engine/sampling/philox.h"

#include <gtest/gtest.h>

#include <set>

namespace keyhole {
namespace {

// Known answers published with the Random123 library.
TEST(PhiloxTest, MatchesPublishedKnownAnswers) {
  EXPECT_EQ(Philox({0, 0, 0, 0}, {0, 0}),
            (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(Philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PhiloxTest, UniformLiesInTheUnitIntervalAndDependsOnSeedAndPosition) {
  std::set<double> values;
  double sum = 0;
  constexpr int kPositions = 1000;
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
    for (int position = 0; position < kPositions; ++position) {
      const double u = UniformAt(seed, position);
      EXPECT_GE(u, 0);
      EXPECT_LT(u, 1);
      EXPECT_EQ(u, UniformAt(seed, position));
      values.insert(u);
      sum += u;
    }
  }
  EXPECT_EQ(values.size(), 3 * kPositions);
  EXPECT_NEAR(sum / (3 * kPositions), 0.5, 0.02);
}

}  // namespace
}  // namespace keyhole
