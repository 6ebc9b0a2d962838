#include "client/eval/results.h"

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace keyhole::eval {
namespace {

Row MakeRow(const std::string& id) {
  return {.policy = "esa",
          .profile = "recall",
          .task = "needles",
          .facts = "diverse",
          .length = 4096,
          .seed = 3,
          .depth = 0.1 + 0.2,
          .id = id,
          .exact = true,
          .logprob = -0.25,
          .answer_tokens = 6,
          .generated = "a \"quoted\"\n\xE2\x82",  // cut within a character
          .prompt_tokens = 4000,
          .cached_tokens = 3968,
          .prefill_seconds = 1.5};
}

Results MakeResults() {
  Results results;
  results.runs.push_back({.settings = SettingsJson({}),
                          .servers = {{.name = "esa", .address = "h:1", .policy = "esa"}},
                          .notes = {"a note"}});
  results.Add(MakeRow("colour"));
  Row failed = MakeRow("town");
  failed.error = "gone";
  results.Add(failed);
  return results;
}

TEST(ResultsJson, HoldsRowsTableAndSettings) {
  const auto json = nlohmann::json::parse(ResultsJson(MakeResults()));
  EXPECT_EQ(json["runs"][0]["settings"]["task"], "needles");
  EXPECT_EQ(json["runs"][0]["servers"][0]["address"], "h:1");
  ASSERT_EQ(json["rows"].size(), 2);
  const auto& row = json["rows"][0];
  EXPECT_EQ(row["exact"], true);
  EXPECT_EQ(row["logprob"], -0.25);
  EXPECT_TRUE(row["generated_exact"].is_null());
  EXPECT_EQ(row["cached_tokens"], 3968);
  EXPECT_EQ(json["rows"][1]["error"], "gone");
  EXPECT_FALSE(json["rows"][1].contains("exact"));
  ASSERT_EQ(json["table"].size(), 1);
  EXPECT_EQ(json["table"][0]["scored"], 1);
  EXPECT_EQ(json["table"][0]["failed"], 1);
}

TEST(ResultsJson, ReadsWhatItWrote) {
  const std::string text = ResultsJson(MakeResults());
  Results again;
  ASSERT_TRUE(AddResultsJson(text, &again).ok());
  EXPECT_EQ(ResultsJson(again), text);
}

TEST(ResultsJson, ALaterRowReplacesTheEarlierOne) {
  Results results = MakeResults();
  Row better = MakeRow("town");
  better.logprob = -0.5;
  results.Add(better);
  ASSERT_EQ(results.rows.size(), 2);
  EXPECT_EQ(results.rows[1].logprob, -0.5);
  Row other = MakeRow("town");
  other.profile = "prose";
  results.Add(other);
  EXPECT_EQ(results.rows.size(), 3);
}

TEST(ResultsJson, RefusesAnythingElse) {
  for (const char* text : {"",
                           "{",
                           "[]",
                           "{}",
                           R"({"runs": [], "rows": [{}]})",
                           R"({"runs": [{"settings": 1}], "rows": []})",
                           R"({"runs": 3, "rows": 4})"}) {
    Results results;
    EXPECT_TRUE(absl::IsInvalidArgument(AddResultsJson(text, &results))) << text;
  }
}

TEST(WriteFile, ReplacesTheFileOrFails) {
  const std::string path = testing::TempDir() + "/results_test.json";
  ASSERT_TRUE(WriteFile(path, "one").ok());
  ASSERT_TRUE(WriteFile(path, "two").ok());
  std::ifstream file(path);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "two");
  EXPECT_TRUE(absl::IsInvalidArgument(WriteFile("/no/such/folder/file", "x")));
}

}  // namespace
}  // namespace keyhole::eval
