#include "engine/tokenizer/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyhole {
namespace {

using ::testing::ElementsAre;

std::vector<std::string_view> Split(std::string_view name, std::string_view text) {
  const absl::StatusOr<PreTokenizer> made = PreTokenizer::Create(name);
  EXPECT_TRUE(made.ok()) << made.status();
  std::vector<std::string_view> pieces;
  EXPECT_TRUE(made->Split(text, &pieces).ok());
  return pieces;
}

TEST(PreTokenizer, Gpt2) {
  EXPECT_THAT(Split("gpt-2", "I'll pay  12345 euros!!\n\n x"),
              ElementsAre("I", "'ll", " pay", " ", " 12345", " euros", "!!", "\n\n", " x"));
  EXPECT_THAT(Split("gpt-2", "WE'LL"), ElementsAre("WE", "'", "LL"));
}

TEST(PreTokenizer, Llama3TakesThreeDigitsAndAnyCaseOfContractions) {
  EXPECT_THAT(Split("llama-bpe", "WE'LL pay 12345!\n\n  x"),
              ElementsAre("WE", "'LL", " pay", " ", "123", "45", "!\n\n", " ", " x"));
}

TEST(PreTokenizer, Qwen2TakesSingleDigits) {
  EXPECT_THAT(Split("qwen2", "a 12 (b)"), ElementsAre("a", " ", "1", "2", " (", "b", ")"));
}

TEST(PreTokenizer, SmolLmCutsDigitsOutFirst) {
  EXPECT_THAT(Split("smollm", "a 12\u0664b"), ElementsAre("a", " ", "1", "2", "\u0664", "b"));
}

TEST(PreTokenizer, MongolianVowelSeparatorIsNoSpace) {
  EXPECT_THAT(Split("gpt-2", "a\u180eb"), ElementsAre("a", "\u180e", "b"));
  EXPECT_THAT(Split("gpt-2", "a\u0085b"), ElementsAre("a", "\u0085", "b"));
}

TEST(PreTokenizer, EmptyNameIsTheDefault) {
  EXPECT_THAT(Split("", "a b"), ElementsAre("a", " b"));
  EXPECT_EQ(PreTokenizer::Create("nothing").status().code(), absl::StatusCode::kUnimplemented);
}

TEST(PreTokenizer, PiecesCoverTheText) {
  std::string text =
      "x\u0301\u200d \n\r\n\t\u00a0\u2028 9\u0669\u2167 \U0001F469\u200d\U0001F680'S don't ---";
  for (int c = 1; c < 128; ++c) text += static_cast<char>(c);
  for (const char* name : {"gpt-2", "llama-bpe", "qwen2", "smollm", "tekken"}) {
    std::string joined;
    for (const std::string_view piece : Split(name, text)) {
      EXPECT_FALSE(piece.empty());
      joined += piece;
    }
    EXPECT_EQ(joined, text) << name;
  }
}

TEST(PreTokenizer, KnowsThePatternsOfTokenizerJson) {
  EXPECT_EQ(
      PreTokenizer::NameOfPattern(
          R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
      "qwen2");
  EXPECT_EQ(PreTokenizer::NameOfPattern("(a+)+$"), "");
}

}  // namespace
}  // namespace keyhole
