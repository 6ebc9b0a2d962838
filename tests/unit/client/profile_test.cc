#include "client/eval/profile.h"

#include "gtest/gtest.h"

namespace keyhole::eval {
namespace {

TEST(Profile, MayCarryABudget) {
  const auto plain = ParseProfile("prose");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->name, "prose");
  EXPECT_FALSE(plain->selected_tokens.has_value());
  const auto sized = ParseProfile("default:64");
  ASSERT_TRUE(sized.ok()) << sized.status();
  EXPECT_EQ(sized->name, "default");
  EXPECT_EQ(sized->selected_tokens, 64);
}

TEST(Profile, RefusesWhatTheServerWould) {
  for (const char* text :
       {"", "rappel", ":64", "recall:", "recall:0", "recall:-3", "recall:6x", "recall:6:4"}) {
    EXPECT_FALSE(ParseProfile(text).ok()) << text;
  }
}

}  // namespace
}  // namespace keyhole::eval
