#include "engine/request/stop_checker.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace keyhole {
namespace {

struct Outcome {
  std::string text;
  std::optional<std::string> matched;
  bool operator==(const Outcome&) const = default;
};

Outcome Check(const std::vector<std::string>& pieces, const std::vector<std::string>& stops) {
  StopChecker checker(stops, /*include_stop_text=*/false);
  Outcome outcome;
  for (const std::string& piece : pieces) outcome.text += checker.Push(piece);
  outcome.text += checker.Finish();
  outcome.matched = checker.matched();
  return outcome;
}

// The definition, word for word: the first prefix of the text that ends with a stop string.
Outcome Oracle(const std::string& text, const std::vector<std::string>& stops) {
  for (std::size_t size = 1; size <= text.size(); ++size) {
    const std::string prefix = text.substr(0, size);
    std::optional<std::string> best;
    for (const std::string& stop : stops) {
      if (prefix.ends_with(stop) && (!best || stop.size() > best->size())) best = stop;
    }
    if (best) return {prefix.substr(0, size - best->size()), best};
  }
  return {text, std::nullopt};
}

TEST(StopCheckerTest, FindsAMatchAcrossPieces) {
  EXPECT_EQ(Check({"one t", "w", "o three"}, {"two"}), (Outcome{"one ", "two"}));
}

TEST(StopCheckerTest, HoldsBackOnlyWhatMayMatch) {
  StopChecker checker(std::vector<std::string>{"END"}, false);
  EXPECT_EQ(checker.Push("text E"), "text ");
  EXPECT_EQ(checker.Push("N"), "");
  EXPECT_EQ(checker.Push("E"), "EN");
  EXPECT_EQ(checker.Finish(), "E");
  EXPECT_FALSE(checker.matched());
}

TEST(StopCheckerTest, IncludesTheStopTextIfAsked) {
  StopChecker checker(std::vector<std::string>{"stop"}, true);
  EXPECT_EQ(checker.Push("now stop here"), "now stop");
  EXPECT_EQ(checker.Push("more"), "");
  EXPECT_EQ(checker.Finish(), "");
}

TEST(StopCheckerTest, UncheckedTextNeitherMatchesNorBeginsAMatch) {
  StopChecker checker(std::vector<std::string>{"ab"}, false);
  EXPECT_EQ(checker.PushUnchecked("ab a"), "ab a");
  EXPECT_EQ(checker.Push("b"), "b");
  EXPECT_EQ(checker.Push("ab"), "");
  EXPECT_EQ(checker.matched(), "ab");
}

TEST(StopCheckerTest, EmptyStringsAreIgnored) {
  EXPECT_EQ(Check({"abc"}, {""}), (Outcome{"abc", std::nullopt}));
}

// Two letters and short stop strings make overlaps and ties frequent.
TEST(StopCheckerTest, AgreesWithTheDefinitionHoweverTheTextIsCut) {
  std::mt19937 random(7);
  const auto word = [&](int min, int max) {
    std::string text(min + random() % (max - min + 1), 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 2);
    return text;
  };
  for (int round = 0; round < 5000; ++round) {
    std::vector<std::string> stops(1 + random() % 4);
    for (std::string& stop : stops) stop = word(2, 7);
    const std::string text = word(0, 60);
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < text.size();) {
      pieces.push_back(text.substr(at, 1 + random() % 5));
      at += pieces.back().size();
    }
    ASSERT_EQ(Check(pieces, stops), Oracle(text, stops)) << text;
  }
}

TEST(CheckStopTokenTest, Reasons) {
  const std::vector<TokenId> end_tokens = {2, 3};
  StoppingParams stopping;
  stopping.stop_token_ids = {7};
  EXPECT_EQ(CheckStopToken(3, 1, stopping, end_tokens), FinishReason::kEndOfSequence);
  EXPECT_EQ(CheckStopToken(7, 1, stopping, end_tokens), FinishReason::kStopToken);
  EXPECT_EQ(CheckStopToken(8, 1, stopping, end_tokens), std::nullopt);
  stopping.min_output_tokens = 4;
  EXPECT_EQ(CheckStopToken(7, 4, stopping, end_tokens), std::nullopt);
  EXPECT_EQ(CheckStopToken(7, 5, stopping, end_tokens), FinishReason::kStopToken);
  stopping.ignore_eos = true;
  EXPECT_EQ(CheckStopToken(2, 5, stopping, end_tokens), std::nullopt);
}

}  // namespace
}  // namespace keyhole
