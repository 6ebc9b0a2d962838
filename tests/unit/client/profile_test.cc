#include "client/eval/profile.h"

#include <string>

#include "client/profile_names.h"
#include "gmock/gmock.h"
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

TEST(Profile, NamesAreTheApis) {
  EXPECT_THAT(ProfileNames(), ::testing::ElementsAre("recall", "prose", "paper"));
  EXPECT_EQ(FindProfile("prose"), v1::ATTENTION_PROFILE_PROSE);
  EXPECT_EQ(FindProfile(Profile().name), v1::ATTENTION_PROFILE_UNSPECIFIED);
  for (const std::string& name : ProfileNames()) EXPECT_TRUE(ParseProfile(name).ok()) << name;
}

TEST(Profile, RefusesWhatTheServerWould) {
  for (const char* text :
       {"", "rappel", ":64", "recall:", "recall:0", "recall:-3", "recall:6x", "recall:6:4"}) {
    EXPECT_FALSE(ParseProfile(text).ok()) << text;
  }
}

}  // namespace
}  // namespace keyhole::eval
