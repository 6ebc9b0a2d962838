// Seeded random scenarios of the whole engine but for its threads. More of them:
//   simulation --scenarios=100000 --first_seed=5000
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "tests/simulation/simulation.h"

namespace keyhole::testing {
namespace {

std::uint64_t n_scenarios = 3000;
std::uint64_t first_seed = 1;

TEST(SimulationTest, HoldsItsPromisesInEveryScenario) {
  SimulationCounts total;
  for (std::uint64_t seed = first_seed; seed < first_seed + n_scenarios; ++seed) {
    Simulation simulation(seed);
    ASSERT_THAT(simulation.Run(), ::testing::IsEmpty());
    total.finished += simulation.counts().finished;
    total.stopped_by_text += simulation.counts().stopped_by_text;
    total.cancelled += simulation.counts().cancelled;
    total.refused += simulation.counts().refused;
    total.overdue += simulation.counts().overdue;
    total.drained += simulation.counts().drained;
    total.internal += simulation.counts().internal;
    total.cached_tokens += simulation.counts().cached_tokens;
    total.evicted_pages += simulation.counts().evicted_pages;
  }
  std::printf(
      "finished %ld (by text %ld, drained %ld), cancelled %ld, refused %ld, overdue %ld, internal "
      "%ld; cached tokens %ld, evicted pages %ld\n",
      total.finished,
      total.stopped_by_text,
      total.drained,
      total.cancelled,
      total.refused,
      total.overdue,
      total.internal,
      total.cached_tokens,
      total.evicted_pages);
  // Scenarios that never reach a kind of end would prove nothing about it.
  if (n_scenarios < 500) return;
  EXPECT_GT(total.finished, 0);
  EXPECT_GT(total.stopped_by_text, 0);
  EXPECT_GT(total.cancelled, 0);
  EXPECT_GT(total.refused, 0);
  EXPECT_GT(total.overdue, 0);
  EXPECT_GT(total.drained, 0);
  EXPECT_GT(total.internal, 0);
  EXPECT_GT(total.cached_tokens, 0);
  EXPECT_GT(total.evicted_pages, 0);
}

void ParseFlag(std::string_view argument, std::string_view name, std::uint64_t& value) {
  if (argument.starts_with(name)) value = std::stoull(std::string(argument.substr(name.size())));
}

}  // namespace
}  // namespace keyhole::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleMock(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    keyhole::testing::ParseFlag(argv[i], "--scenarios=", keyhole::testing::n_scenarios);
    keyhole::testing::ParseFlag(argv[i], "--first_seed=", keyhole::testing::first_seed);
  }
  return RUN_ALL_TESTS();
}
