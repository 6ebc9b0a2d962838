#include "client/eval/plot.h"

#include <string>

#include "absl/strings/str_split.h"
#include "client/eval/panel.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keyhole::eval {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

Summary MakeSummary(const std::string& policy, int length, int exact, double logprob) {
  return {.policy = policy,
          .profile = "default",
          .task = "needles",
          .facts = "diverse",
          .length = length,
          .scored = 16,
          .exact = exact,
          .logprob = logprob,
          .logprob_error = 0.1};
}

int Count(const std::string& text, const std::string& part) {
  const std::vector<std::string> parts = absl::StrSplit(text, part);
  return static_cast<int>(parts.size()) - 1;
}

TEST(PlotSvg, DrawsTwoPanelsWithALineForEachSeries) {
  const std::string svg = PlotSvg({MakeSummary("full", 4096, 14, -0.1),
                                   MakeSummary("a<b", 4096, 12, -0.4),
                                   MakeSummary("a<b", 16'384, 8, -0.9)});
  EXPECT_EQ(Count(svg, "<polyline"), 4);
  EXPECT_EQ(Count(svg, "class=\"title\""), 2);
  EXPECT_THAT(svg, HasSubstr("needles, diverse: exact answers"));
  EXPECT_THAT(svg, HasSubstr(">a&lt;b<"));
  EXPECT_THAT(svg, Not(HasSubstr("a<b")));
  EXPECT_THAT(svg, HasSubstr(">16k<"));
  EXPECT_THAT(svg, HasSubstr(">100%<"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(PlotSvg, DrawsOnePanelOfPerplexity) {
  Summary summary = MakeSummary("full", 4096, 0, -2.5);
  summary.task = "perplexity";
  summary.facts = "";
  const std::string svg = PlotSvg({summary});
  EXPECT_EQ(Count(svg, "class=\"title\""), 1);
  EXPECT_EQ(Count(svg, "<polyline"), 1);
}

TEST(PlotSvg, LeavesOutWhatWasNotAnswered) {
  Summary failed{.policy = "full", .profile = "default", .task = "passkey", .length = 4096};
  failed.failed = 3;
  const std::string svg = PlotSvg({failed});
  EXPECT_EQ(Count(svg, "<polyline"), 0);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  EXPECT_THAT(PlotSvg({}), HasSubstr("</svg>"));
}

TEST(DrawPanel, PutsValuesAndLengthsToScale) {
  // Three lengths, each twice the one before, stand at even distances; values count from below.
  const Panel panel{
      .title = "t",
      .bottom = 0,
      .top = 1,
      .series = {{.style = 0, .points = {{1024, 0, 0, 0}, {2048, 0.5, 0, 0}, {4096, 1, 0, 0}}}}};
  const std::string svg = DrawPanel(panel, {0, 0, 400, 300});
  const std::string after = svg.substr(svg.find("points=\"") + 8);
  const std::vector<std::string> points =
      absl::StrSplit(after.substr(0, after.find('"')), absl::ByAnyChar(", "), absl::SkipEmpty());
  ASSERT_EQ(points.size(), 6);
  EXPECT_NEAR(std::stod(points[2]) - std::stod(points[0]),
              std::stod(points[4]) - std::stod(points[2]),
              0.11);
  EXPECT_NEAR(std::stod(points[1]) - std::stod(points[3]),
              std::stod(points[3]) - std::stod(points[5]),
              0.11);
  EXPECT_GT(std::stod(points[1]), std::stod(points[5]));
}

TEST(NiceTicks, AreRound) {
  EXPECT_THAT(NiceTicks(0, 100), ElementsAre(0, 20, 40, 60, 80, 100));
  EXPECT_THAT(NiceTicks(-3.2, 0), ElementsAre(-3, -2, -1, 0));
  EXPECT_THAT(NiceTicks(1, 1), ElementsAre(DoubleEq(1)));
}

}  // namespace
}  // namespace keyhole::eval
