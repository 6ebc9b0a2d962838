#include "client/eval/fact.h"

#include <map>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keyhole::eval {
namespace {

using ::testing::HasSubstr;

void ExpectConsistent(const Fact& fact) {
  EXPECT_EQ(fact.sentence[0], ' ') << fact.id;
  EXPECT_EQ(fact.sentence.back(), '.') << fact.id;
  EXPECT_EQ(fact.answer[0], ' ') << fact.id;
  EXPECT_EQ(fact.question.back(), '?') << fact.id;
  EXPECT_THAT(fact.sentence, HasSubstr(fact.answer.substr(1))) << fact.id;
  EXPECT_FALSE(absl::StrContains(fact.question, fact.answer)) << fact.id;
  EXPECT_FALSE(absl::StrContains(fact.prime, fact.answer)) << fact.id;
  EXPECT_FALSE(absl::StrContains(fact.sentence, "$")) << fact.id;
}

template <typename Make>
void ExpectDistinct(Make make, int count) {
  Random random(1, 2);
  std::set<std::string> ids, questions, sentences;
  for (const Fact& fact : make(count, &random)) {
    ExpectConsistent(fact);
    ids.insert(fact.id);
    questions.insert(fact.question);
    sentences.insert(fact.sentence);
  }
  EXPECT_EQ(ids.size(), count);
  EXPECT_EQ(questions.size(), count);
  EXPECT_EQ(sentences.size(), count);
}

TEST(Facts, AreConsistentAndDistinct) {
  ExpectDistinct(LookAlikeFacts, kMaxLookAlikes);
  ExpectDistinct(DiverseFacts, kMaxDiverse);
}

TEST(Facts, AnAnswerBelongsToOneDiverseFact) {
  std::map<std::string, std::string> kind_of;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed, 2);
    for (const Fact& fact : DiverseFacts(kMaxDiverse, &random)) {
      const auto [at, added] = kind_of.emplace(fact.answer, fact.id);
      EXPECT_EQ(at->second, fact.id) << fact.answer;
    }
  }
  EXPECT_GT(kind_of.size(), 100);
}

TEST(Facts, FollowFromTheSeed) {
  const auto answers = [](std::uint64_t seed) {
    Random random(seed, 2);
    std::string text;
    for (const Fact& fact : LookAlikeFacts(8, &random)) text += fact.id + fact.answer;
    return text;
  };
  EXPECT_EQ(answers(5), answers(5));
  EXPECT_NE(answers(5), answers(6));
}

TEST(Facts, PassKeyIsConsistent) {
  Random random(1, 2);
  ExpectConsistent(PassKey(&random));
}

// Expected values by a Python program whose SplitMix64 gives the published first output of seed
// 1234567, 6457827717110365317.
TEST(RandomTest, IsSplitMix64) {
  Random random(1'234'567, 3);
  EXPECT_EQ(random.Next(), 5812519124251163002u);
  EXPECT_EQ(random.Next(), 5253283146703902216u);
}

}  // namespace
}  // namespace keyhole::eval
