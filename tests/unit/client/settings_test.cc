#include "client/eval/settings.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/character_tokenizer.h"

namespace keyhole::eval {
namespace {

Document Make(const EvalSettings& settings, const DocumentSpec& spec) {
  CharacterTokenizer tokenizer;
  Pieces pieces(&tokenizer);
  auto document = MakeDocument(settings, spec, Haystack::Filler(), &pieces);
  EXPECT_TRUE(document.ok()) << document.status();
  return document.ok() ? *document : Document();
}

TEST(Settings, OneDocumentForEachLengthAndSeed) {
  EvalSettings settings{.lengths = {1000, 2000}, .seeds = {1, 2, 3}};
  EXPECT_EQ(ListDocuments(settings).size(), 6);
  settings.task = Task::kPasskey;
  settings.questions = 5;
  EXPECT_EQ(ListDocuments(settings).size(), 30);
}

TEST(Settings, PassKeysDepthsCoverTheDocument) {
  const EvalSettings settings{.task = Task::kPasskey, .lengths = {4000}, .questions = 4};
  std::set<std::string> answers;
  for (const DocumentSpec& spec : ListDocuments(settings)) {
    const Document document = Make(settings, spec);
    ASSERT_EQ(document.questions.size(), 1);
    answers.insert(document.questions[0].answer_text);
    EXPECT_GE(document.questions[0].depth, spec.index / 4.0 - 0.02);
    EXPECT_LE(document.questions[0].depth, (spec.index + 1) / 4.0 + 0.02);
  }
  EXPECT_EQ(answers.size(), 4);
}

TEST(Settings, GivenDepthsArePlantedAndAsked) {
  EvalSettings settings{.facts = "look-alikes"};
  settings.depths = {0.9, 0.1};
  const Document document = Make(settings, {.length = 6000, .seed = 1});
  ASSERT_EQ(document.questions.size(), 2);
  EXPECT_NEAR(document.questions[0].depth, 0.1, 0.03);
  EXPECT_NEAR(document.questions[1].depth, 0.9, 0.03);
}

TEST(Settings, FewerQuestionsThanPlantedFactsAreSpread) {
  const EvalSettings settings{.questions = 2, .planted = 8};
  const Document document = Make(settings, {.length = 6000, .seed = 1});
  ASSERT_EQ(document.questions.size(), 2);
  EXPECT_NEAR(document.questions[0].depth, 3.5 / 8, 0.1);
  EXPECT_NEAR(document.questions[1].depth, 7.5 / 8, 0.1);
}

TEST(Settings, FactsStayTheSameAtEveryLength) {
  const EvalSettings settings{.questions = 4};
  const Document shorter = Make(settings, {.length = 2000, .seed = 1});
  const Document longer = Make(settings, {.length = 4000, .seed = 1});
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(shorter.questions[i].id, longer.questions[i].id);
    EXPECT_EQ(shorter.questions[i].answer, longer.questions[i].answer);
  }
}

TEST(Settings, WrittenAnswersGetRoom) {
  EvalSettings settings{.questions = 1};
  const std::size_t scored = Make(settings, {.length = 2000, .seed = 1}).ids.size();
  settings.generate = true;
  const std::size_t written = Make(settings, {.length = 2000, .seed = 1}).ids.size();
  settings.chat = true;
  const std::size_t chatted = Make(settings, {.length = 2000, .seed = 1}).ids.size();
  EXPECT_LT(written, scored);
  EXPECT_LT(chatted, written);
}

TEST(Settings, RefuseWhatCannotBeMet) {
  EXPECT_TRUE(CheckSettings({}).ok());
  EXPECT_TRUE(CheckSettings({.profiles = {"prose", "recall:64"}}).ok());
  EXPECT_FALSE(CheckSettings({.profiles = {"prose", "recall:0"}}).ok());
  EXPECT_FALSE(CheckSettings({.questions = kMaxDiverse + 1}).ok());
  EXPECT_TRUE(CheckSettings({.facts = "look-alikes", .questions = kMaxLookAlikes}).ok());
  EXPECT_FALSE(CheckSettings({.questions = 4, .planted = 3}).ok());
  EXPECT_TRUE(CheckSettings({.task = Task::kPasskey, .questions = 100}).ok());
  EXPECT_FALSE(CheckSettings({.task = Task::kPerplexity, .chat = true}).ok());
}

}  // namespace
}  // namespace keyhole::eval
