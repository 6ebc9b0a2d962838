#include "client/eval/haystack.h"

#include "gtest/gtest.h"

namespace keyhole::eval {
namespace {

TEST(Haystack, SplitsAtSentenceEndsAndWrapsBothWays) {
  const auto haystack = Haystack::FromText("One is\n here.  \"Two?\" (Three!)\n\nfour");
  ASSERT_TRUE(haystack.ok());
  ASSERT_EQ(haystack->size(), 4);
  EXPECT_EQ(haystack->Sentence(0), " One is here.");
  EXPECT_EQ(haystack->Sentence(1), " \"Two?\"");
  EXPECT_EQ(haystack->Sentence(2), " (Three!)");
  EXPECT_EQ(haystack->Sentence(3), " four");
  EXPECT_EQ(haystack->Sentence(4), " One is here.");
  EXPECT_EQ(haystack->Sentence(-1), " four");
  EXPECT_EQ(haystack->Sentence(-4), " One is here.");
}

TEST(Haystack, CutsWhatNeverEnds) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "word ";
  const auto haystack = Haystack::FromText(text);
  ASSERT_TRUE(haystack.ok());
  EXPECT_EQ(haystack->size(), 5);
}

TEST(Haystack, RefusesAnEmptyText) {
  EXPECT_TRUE(absl::IsInvalidArgument(Haystack::FromText(" \n ").status()));
}

TEST(Haystack, FillerHasNoNumbers) {
  const Haystack filler = Haystack::Filler();
  for (int i = 0; i < filler.size(); ++i) {
    EXPECT_EQ(filler.Sentence(i).find_first_of("0123456789"), std::string::npos);
  }
}

}  // namespace
}  // namespace keyhole::eval
