#include "client/eval/document.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/character_tokenizer.h"

namespace keyhole::eval {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const QuestionFormat kFormat{.before = "<doc>", .after = "\nQ: {question}\nA: {prime}"};

// Sentences of unlike lengths, each with its number.
Haystack NumberedSentences(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    absl::StrAppend(&text, "Sentence ", i, " goes on", std::string(i % 7, 'x'), ". ");
  }
  return *Haystack::FromText(text);
}

DocumentPlan MakePlan(int length, std::uint64_t seed, const std::vector<double>& depths) {
  DocumentPlan plan{.length = length, .seed = seed, .format = kFormat};
  Random random(seed, 9);
  const auto facts = LookAlikeFacts(static_cast<int>(depths.size()), &random);
  for (std::size_t i = 0; i < depths.size(); ++i) {
    plan.facts.push_back({.fact = facts[i], .depth = depths[i]});
  }
  return plan;
}

Document Build(const DocumentPlan& plan) {
  CharacterTokenizer tokenizer;
  Pieces pieces(&tokenizer);
  auto document = BuildProse(plan, NumberedSentences(100), &pieces);
  EXPECT_TRUE(document.ok()) << document.status();
  return document.ok() ? *document : Document();
}

std::size_t LongestPrompt(const Document& document) {
  std::size_t longest = 0;
  for (const Question& question : document.questions) {
    longest =
        std::max(longest, document.ids.size() + question.prompt.size() + question.answer.size());
  }
  return longest;
}

TEST(BuildProse, LongestPromptWithItsAnswerAndOutputHasExactlyTheLength) {
  for (const int length : {1200, 1777, 4096, 10'000}) {
    EXPECT_EQ(LongestPrompt(Build(MakePlan(length, 3, {0.1, 0.5, 0.9}))) + 1, length);
  }
}

TEST(BuildProse, DocumentBeginsAsTheModelWantsIt) {
  const Document document = Build(MakePlan(1500, 3, {0.5}));
  EXPECT_EQ(document.ids[0], CharacterTokenizer::kBegin);
  EXPECT_THAT(TextOf(document.ids), StartsWith("<doc>"));
}

TEST(BuildProse, FactsStandOnceAtSentenceEndsNearTheirDepths) {
  const std::vector<double> depths = {0, 0.25, 0.5, 0.75, 1};
  const DocumentPlan plan = MakePlan(6000, 5, depths);
  const Document document = Build(plan);
  const std::string text = TextOf(document.ids);
  for (std::size_t i = 0; i < depths.size(); ++i) {
    const std::string& sentence = plan.facts[i].fact.sentence;
    const auto at = text.find(sentence);
    ASSERT_NE(at, std::string::npos);
    EXPECT_EQ(text.find(sentence, at + 1), std::string::npos);
    const double share = static_cast<double>(at + 1) / static_cast<double>(document.ids.size());
    EXPECT_NEAR(document.questions[i].depth, share, 1e-12);
    // Half a sentence, and the facts themselves, are all that may lie between.
    EXPECT_NEAR(share, depths[i], 0.08);
    EXPECT_TRUE(at == std::string("<doc>").size() || text[at - 1] == '.') << text.substr(at - 9, 9);
  }
}

TEST(BuildProse, OnlyAskedFactsHaveQuestions) {
  DocumentPlan plan = MakePlan(3000, 5, {0.2, 0.4, 0.6});
  plan.facts[1].asked = false;
  const Document document = Build(plan);
  ASSERT_EQ(document.questions.size(), 2);
  EXPECT_EQ(document.questions[0].id, plan.facts[0].fact.id);
  EXPECT_EQ(document.questions[1].id, plan.facts[2].fact.id);
  EXPECT_THAT(TextOf(document.ids), HasSubstr(plan.facts[1].fact.sentence));
  EXPECT_NEAR(document.questions[1].depth, 0.6, 0.08);
}

TEST(BuildProse, QuestionIsPrimedAndItsAnswerFollows) {
  const DocumentPlan plan = MakePlan(2000, 5, {0.5});
  const Document document = Build(plan);
  const Fact& fact = plan.facts[0].fact;
  EXPECT_EQ(TextOf(document.questions[0].prompt),
            absl::StrCat("\nQ: ", fact.question, "\nA: ", fact.prime));
  EXPECT_EQ(TextOf(document.questions[0].answer), fact.answer);
}

TEST(BuildProse, SameSeedSameDocumentAndLengthsShareTheirEnd) {
  const DocumentPlan plan = MakePlan(2000, 7, {0.1});
  EXPECT_EQ(Build(plan).ids, Build(plan).ids);
  const std::string shorter = TextOf(Build(plan).ids);
  const std::string longer = TextOf(Build(MakePlan(4000, 7, {0.1})).ids);
  EXPECT_EQ(shorter.substr(shorter.size() - 1000), longer.substr(longer.size() - 1000));
  const std::string other = TextOf(Build(MakePlan(2000, 8, {0.1})).ids);
  EXPECT_NE(shorter.substr(shorter.size() - 1000), other.substr(other.size() - 1000));
}

TEST(BuildProse, RefusesALengthThatTheFactsExceed) {
  CharacterTokenizer tokenizer;
  Pieces pieces(&tokenizer);
  const Haystack haystack = NumberedSentences(9);
  EXPECT_TRUE(absl::IsInvalidArgument(
      BuildProse(MakePlan(200, 1, {0.2, 0.4, 0.6}), haystack, &pieces).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(BuildProse(MakePlan(20, 1, {0.2}), haystack, &pieces).status()));
}

TEST(BuildScoredProse, ScoresTheSameTokensAtEveryLength) {
  CharacterTokenizer tokenizer;
  Pieces pieces(&tokenizer);
  const Haystack haystack = NumberedSentences(50);
  TokenIds scored;
  for (const int length : {300, 900, 2500}) {
    const auto document = BuildScoredProse({.length = length, .seed = 4}, 200, haystack, &pieces);
    ASSERT_TRUE(document.ok()) << document.status();
    ASSERT_EQ(document->questions.size(), 1);
    const Question& question = document->questions[0];
    EXPECT_EQ(document->ids.size() + question.answer.size() + 1, length);
    EXPECT_EQ(document->ids[0], CharacterTokenizer::kBegin);
    if (scored.empty()) scored = question.answer;
    EXPECT_EQ(question.answer, scored);
    EXPECT_EQ(scored.size(), 200);
  }
  EXPECT_FALSE(BuildScoredProse({.length = 200, .seed = 4}, 200, haystack, &pieces).ok());
}

TEST(BuildKeyValues, PairsFillTheLengthAndEachAskedKeyHasItsValue) {
  CharacterTokenizer tokenizer;
  Pieces pieces(&tokenizer);
  const auto document = BuildKeyValues({.length = 3000, .seed = 2}, {0, 0.3, 0.6, 0.99}, &pieces);
  ASSERT_TRUE(document.ok()) << document.status();
  const std::string text = TextOf(document->ids);
  EXPECT_THAT(text, ::testing::EndsWith("}"));
  ASSERT_EQ(document->questions.size(), 4);
  for (const Question& question : document->questions) {
    const std::string pair = absl::StrCat("\"", question.id, "\": \"", TextOf(question.answer));
    EXPECT_THAT(text, HasSubstr(pair));
    EXPECT_THAT(TextOf(question.prompt),
                ::testing::EndsWith(absl::StrCat("\"", question.id, "\": \"")));
  }
  EXPECT_LE(LongestPrompt(*document), 3000);
  EXPECT_GT(LongestPrompt(*document), 2900);
  const auto again = BuildKeyValues({.length = 3000, .seed = 2}, {0.5}, &pieces);
  EXPECT_EQ(again->ids, document->ids);
}

TEST(BuildKeyValues, FewPairsAreAskedForOnceEach) {
  CharacterTokenizer tokenizer;
  Pieces pieces(&tokenizer);
  const auto document = BuildKeyValues({.length = 250, .seed = 2}, {0, 0.1, 0.2, 0.9}, &pieces);
  ASSERT_TRUE(document.ok()) << document.status();
  EXPECT_LT(document->questions.size(), 4);
  EXPECT_FALSE(BuildKeyValues({.length = 120, .seed = 2}, {0.5}, &pieces).ok());
}

TEST(Pieces, JoinToTheWholeTextWhereTheTokenizerAddsASpace) {
  CharacterTokenizer tokenizer;
  tokenizer.adds_space = true;
  Pieces pieces(&tokenizer);
  TokenIds ids = *pieces.Text(" one");
  Append(*pieces.Text(" two"), &ids);
  EXPECT_EQ(TextOf(ids), " one two");
}

TEST(Pieces, AskOnceForEachPiece) {
  CharacterTokenizer tokenizer;
  Pieces pieces(&tokenizer);
  (void)pieces.Text(" one");
  const int calls = tokenizer.calls;
  (void)pieces.Text(" one");
  EXPECT_EQ(tokenizer.calls, calls);
}

}  // namespace
}  // namespace keyhole::eval
