#include "tests/conformance/policy_conformance.h"

namespace keyhole {
namespace {

constexpr std::int32_t kPasts[] = {0, 1, 31, 32, 33, 40, 41, 56, 57, 64, 200, 1000};

TEST_P(PolicyConformanceTest, RowsAreWellFormedAndWithinTheBudget) {
  const auto policy = Make();
  RequestId id = 1;
  for (const std::int32_t past : kPasts) {
    for (const std::int32_t q_len : {1, 7, 64}) {
      const PolicyCase c(id++, past, q_len, kSizes);
      const Selection selection = Select(*policy, c);
      ExpectWellFormed(selection, c);
      ExpectObeysBudget(selection, c, policy->policy().traits().middle);
    }
  }
}

TEST_P(PolicyConformanceTest, SizesOfZeroAreObeyed) {
  const auto policy = Make();
  for (const SelectionSizes& sizes : {SelectionSizes{0, 32, 16},
                                      SelectionSizes{8, 0, 16},
                                      SelectionSizes{8, 32, 0},
                                      SelectionSizes{0, 0, 0}}) {
    const PolicyCase c(1, 300, 1, sizes);
    const Selection selection = Select(*policy, c);
    ExpectWellFormed(selection, c);
    ExpectObeysBudget(selection, c, policy->policy().traits().middle);
  }
}

TEST_P(PolicyConformanceTest, BudgetThatCoversTheMiddleTakesAllOfIt) {
  const auto policy = Make();
  if (policy->policy().traits().middle == MiddleRule::kNothing) return;
  const PolicyCase c(1, 200, 1, {.initial = 8, .local = 32, .selected = 160});
  EXPECT_EQ(Select(*policy, c).n_selected(), 160);
}

TEST_P(PolicyConformanceTest, SameInputsGiveTheSameRows) {
  const PolicyCase c(1, 500, 3, kSizes);
  const auto a = Make();
  const auto b = Make();
  const Selection first = Select(*a, c);
  EXPECT_EQ(Select(*a, c), first);
  EXPECT_EQ(Select(*b, c), first);
}

TEST_P(PolicyConformanceTest, OtherSequencesChangeNothing) {
  const auto alone = Make();
  const auto shared = Make();
  for (std::int32_t step = 0; step < 20; ++step) {
    const PolicyCase c(1, 400 + step, 1, kSizes);
    const PolicyCase other(2, 333 + step, step % 2 == 0 ? 1 : 16, kSizes);
    const Selection expected = Select(*alone, c);
    Select(*shared, other);
    EXPECT_EQ(Select(*shared, c), expected);
  }
}

TEST_P(PolicyConformanceTest, EndedSequenceStartsFromNothing) {
  const auto policy = Make();
  const PolicyCase c(1, 500, 1, kSizes);
  const Selection first = Select(*policy, c);
  const PolicyCase later(1, 800, 1, kSizes);
  Select(*policy, later);
  policy->policy().OnSequenceEnd(1);
  policy->policy().OnSequenceEnd(77);  // never seen
  EXPECT_EQ(Select(*policy, c), first);
}

TEST_P(PolicyConformanceTest, ThreadsChangeNothing) {
  const PolicyCase c(1, 1000, 64, kSizes);
  Device one(1);
  Device three(3);
  const auto policy = Make();
  EXPECT_EQ(policy->Select(one, c), policy->Select(three, c));
}

TEST_P(PolicyConformanceTest, SequencesTogetherChooseAsEachAlone) {
  std::vector<PolicyCase> cases;
  for (const auto& [past, q_len] :
       {std::pair{700, 1}, {900, 64}, {20, 1}, {400, 1}, {0, 1}, {1000, 1}, {333, 7}}) {
    cases.emplace_back(cases.size() + 1, past, q_len, kSizes);
  }
  const auto alone = Make();
  std::vector<Selection> expected;
  expected.reserve(cases.size());
  StepSelectionStats stats_alone;
  for (const PolicyCase& c : cases) {
    expected.push_back(alone->Select(device_, c, &stats_alone).value_or(Selection{}));
  }
  for (const int n_threads : {1, 2, 3, 8}) {
    Device device(n_threads);
    StepSelectionStats stats;
    EXPECT_EQ(Make()->SelectEach(device, cases, &stats), expected) << n_threads;
    ASSERT_EQ(stats.layers.size(), stats_alone.layers.size());
    for (std::size_t i = 0; i < stats.layers.size(); ++i) {
      EXPECT_EQ(stats.layers[i].candidates, stats_alone.layers[i].candidates);
      EXPECT_EQ(stats.layers[i].selected, stats_alone.layers[i].selected);
      EXPECT_EQ(stats.layers[i].scored, stats_alone.layers[i].scored);
    }
  }
}

std::vector<ConformanceCase> Cases() {
  std::vector<ConformanceCase> cases;
  for (const std::string_view name : SelectionPolicyNames()) cases.push_back({std::string(name)});
  cases.push_back({"esa", PolicyHarness::kRank});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Policies,
                         PolicyConformanceTest,
                         testing::ValuesIn(Cases()),
                         [](const auto& test) {
                           std::string name = test.param.policy;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name + (test.param.coarse_dims > 0 ? "_coarse_to_fine" : "");
                         });

}  // namespace
}  // namespace keyhole
