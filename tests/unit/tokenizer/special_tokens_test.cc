#include "engine/tokenizer/special_tokens.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyhole {
namespace {

using ::testing::ElementsAre;

// Fragments as text, tokens as "#id".
std::vector<std::string> Split(const std::vector<AddedToken>& tokens, std::string_view text) {
  const absl::StatusOr<SpecialTokens> built = SpecialTokens::Build(tokens);
  EXPECT_TRUE(built.ok()) << built.status();
  std::vector<std::string> out;
  for (const SpecialTokens::Fragment& fragment : built->Split(text)) {
    out.push_back(fragment.token ? fmt::format("#{}", *fragment.token)
                                 : std::string(fragment.text));
  }
  return out;
}

TEST(SpecialTokens, LeftmostThenLongest) {
  const std::vector<AddedToken> tokens = {{1, "ab"}, {2, "abcd"}, {3, "bc"}, {4, "d"}};
  EXPECT_THAT(Split(tokens, "xabcx"), ElementsAre("x", "#1", "cx"));
  EXPECT_THAT(Split(tokens, "abcdd"), ElementsAre("#2", "#4"));
  EXPECT_THAT(Split(tokens, "abcbc"), ElementsAre("#1", "c", "#3"));
  EXPECT_THAT(Split(tokens, "plain"), ElementsAre("plain"));
  EXPECT_TRUE(Split(tokens, "").empty());
}

TEST(SpecialTokens, StripsWhiteSpace) {
  EXPECT_THAT(Split({{.id = 1, .text = "<m>", .lstrip = true}}, "a \n\u00a0<m> b"),
              ElementsAre("a", "#1", " b"));
  EXPECT_THAT(Split({{.id = 1, .text = "<m>", .rstrip = true}}, "a <m>\t\u3000b"),
              ElementsAre("a ", "#1", "b"));
  EXPECT_THAT(Split({{.id = 1, .text = "<m>", .lstrip = true, .rstrip = true}}, " <m>  <m> "),
              ElementsAre("#1", "#1"));
}

TEST(SpecialTokens, SingleWordsStandAlone) {
  const std::vector<AddedToken> tokens = {{.id = 1, .text = "ing", .single_word = true}};
  EXPECT_THAT(Split(tokens, "king ing ing."), ElementsAre("king ", "#1", " ", "#1", "."));
  EXPECT_THAT(Split(tokens, "ing\u00e9"), ElementsAre("ing\u00e9"));
  EXPECT_THAT(Split(tokens, "_ing"), ElementsAre("_ing"));
}

TEST(SpecialTokens, RefusesWhatCannotBeSearchedFor) {
  EXPECT_FALSE(SpecialTokens::Build({{1, ""}}).ok());
  EXPECT_FALSE(SpecialTokens::Build({{1, std::string(513, 'x')}}).ok());
  EXPECT_TRUE(SpecialTokens::Build({{1, std::string(512, 'x')}}).ok());
}

}  // namespace
}  // namespace keyhole
