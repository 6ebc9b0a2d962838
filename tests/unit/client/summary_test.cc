#include "client/eval/summary.h"

#include "client/eval/table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keyhole::eval {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Row MakeRow(const std::string& policy, int length, bool exact, double logprob) {
  return {.policy = policy,
          .profile = "default",
          .task = "needles",
          .facts = "diverse",
          .length = length,
          .exact = exact,
          .logprob = logprob,
          .answer_tokens = 2,
          .prompt_tokens = 100,
          .cached_tokens = 50,
          .prefill_seconds = 2};
}

// R: binom::binom.confint(..., methods = "wilson").
TEST(WilsonInterval, EqualsPublishedValues) {
  EXPECT_NEAR(WilsonInterval(7, 9).low, 0.4526, 1e-4);
  EXPECT_NEAR(WilsonInterval(7, 9).high, 0.9368, 1e-4);
  EXPECT_NEAR(WilsonInterval(0, 10).low, 0, 1e-12);
  EXPECT_NEAR(WilsonInterval(0, 10).high, 0.2775, 1e-4);
  EXPECT_NEAR(WilsonInterval(10, 10).low, 0.7225, 1e-4);
  EXPECT_EQ(WilsonInterval(0, 0).high, 1);
}

TEST(Summarize, GathersByPolicyAndLengthInRisingOrder) {
  std::vector<Row> rows = {MakeRow("esa", 8192, true, -0.1),
                           MakeRow("full", 4096, true, -0.2),
                           MakeRow("esa", 8192, false, -0.5),
                           MakeRow("esa", 4096, true, -0.3)};
  rows.push_back(MakeRow("esa", 8192, true, 0));
  rows.back().error = "gone";
  const auto summaries = Summarize(rows);
  ASSERT_EQ(summaries.size(), 3);
  EXPECT_EQ(summaries[0].policy, "full");
  EXPECT_EQ(summaries[1].policy, "esa");
  const Summary& last = summaries[2];
  EXPECT_EQ(last.length, 8192);
  EXPECT_EQ(last.scored, 2);
  EXPECT_EQ(last.exact, 1);
  EXPECT_EQ(last.failed, 1);
  EXPECT_NEAR(last.logprob, -0.3, 1e-12);
  EXPECT_NEAR(last.logprob_error, 0.2, 1e-12);  // deviation 0.2828 / sqrt(2)
  EXPECT_NEAR(last.cached_share, 0.5, 1e-12);
  EXPECT_NEAR(last.prefill_seconds, 2, 1e-12);
}

TEST(Summarize, CountsWrittenAnswersWhereNothingWasScored) {
  Row row = MakeRow("esa", 4096, true, 0);
  row.exact.reset();
  row.logprob.reset();
  row.generated_exact = true;
  const auto summaries = Summarize({row});
  EXPECT_EQ(summaries[0].scored, 0);
  EXPECT_EQ(summaries[0].successes(), 1);
  EXPECT_EQ(summaries[0].trials(), 1);
}

TEST(FormatTable, AlignsABlockForEachTask) {
  std::vector<Row> rows = {MakeRow("sink_recent", 16'384, false, -2.5),
                           MakeRow("esa", 16'384, true, -0.125)};
  rows[1].profile = "recall";
  rows.push_back(MakeRow("esa", 4096, false, -1));
  rows.back().task = "perplexity";
  rows.back().facts = "";
  EXPECT_EQ(
      FormatTable(Summarize(rows)),
      "perplexity\n"
      "length  policy  perplexity  nats a token  cached  prefill\n"
      " 4,096  esa           2.72         1.000     50%   2.00 s\n"
      "\n"
      "needles, diverse\n"
      "length  policy       exact  95% interval  log-probability  written  cached  prefill\n"
      "16,384  sink_recent    0/1         0-79%           -2.500        -     50%   2.00 s\n"
      "16,384  esa, recall    1/1       21-100%           -0.125        -     50%   2.00 s\n");
}

TEST(FormatTable, IsEmptyWithoutRows) { EXPECT_EQ(FormatTable({}), ""); }

}  // namespace
}  // namespace keyhole::eval
