#include "engine/tokenizer/byte_level_bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/tokenizer/tokenizer_test_data.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

constexpr TokenId kFirstMerge = 256;

std::unique_ptr<Tokenizer> Make(TokenizerData data) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> made = MakeTokenizer(std::move(data));
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

std::vector<TokenId> Encode(const Tokenizer& tokenizer,
                            std::string_view text,
                            EncodeOptions options = {}) {
  return *tokenizer.Encode(text, options);
}

TEST(ByteLevelBpe, MergesInOrderOfRankNotOfPlace) {
  // "abc": "b c" comes first in the file, so "a" is left alone.
  const auto tokenizer = Make(ByteLevelData({"b c", "a b"}));
  EXPECT_THAT(Encode(*tokenizer, "abc"), ElementsAre('a', kFirstMerge));
  EXPECT_THAT(Encode(*tokenizer, "ab"), ElementsAre(kFirstMerge + 1));
}

TEST(ByteLevelBpe, DoesNotMergeAcrossWords) {
  const auto tokenizer = Make(ByteLevelData({"a \u0120", "\u0120 b"}));
  EXPECT_THAT(Encode(*tokenizer, "a b"), ElementsAre('a', kFirstMerge + 1));
}

TEST(ByteLevelBpe, EveryByteRoundTrips) {
  const auto tokenizer = Make(ByteLevelData({"e r"}));
  std::string text;
  for (int c = 1; c < 0x3000; c += 7) text += fmt::format("{}", static_cast<char>(c % 128));
  text += "\u00e9\u4e2d\U0001F600\n\t \r\n  end";
  EXPECT_EQ(tokenizer->Decode(Encode(*tokenizer, text), false), text);
}

TEST(ByteLevelBpe, SpecialTokensOnlyWhenAsked) {
  const auto tokenizer = Make(ByteLevelData({}));
  const TokenId start = 256;
  EXPECT_THAT(Encode(*tokenizer, "a<|im_start|>b"), ElementsAre('a', start, 'b'));
  const std::string text = "<|im_start|>";
  EXPECT_THAT(Encode(*tokenizer, text, {.parse_special_tokens = false}),
              ElementsAreArray(std::vector<TokenId>(text.begin(), text.end())));
  EXPECT_TRUE(tokenizer->is_special(start));
  EXPECT_EQ(tokenizer->TokenBytes(start, false), "");
  EXPECT_EQ(tokenizer->TokenBytes(start, true), "<|im_start|>");
  EXPECT_EQ(tokenizer->Decode({'a', start, 'b'}, false), "ab");
}

TEST(ByteLevelBpe, AddsBosAndEosAsTheFileSays) {
  TokenizerData data = ByteLevelData({});
  data.bos = 256;
  data.eos = 257;
  data.add_bos = true;
  data.add_eos = true;
  const auto tokenizer = Make(data);
  EXPECT_THAT(Encode(*tokenizer, "a"), ElementsAre(256, 'a', 257));
  EXPECT_THAT(Encode(*tokenizer, ""), ElementsAre(256, 257));
  EXPECT_THAT(Encode(*tokenizer, "a", {.add_special_tokens = false}), ElementsAre('a'));
}

TEST(ByteLevelBpe, Llama3AddsBosUnlessToldNot) {
  TokenizerData data = ByteLevelData({});
  data.pre = "llama-bpe";
  data.bos = 256;
  EXPECT_THAT(Encode(*Make(data), "a"), ElementsAre(256, 'a'));
  data.add_bos = false;
  EXPECT_THAT(Encode(*Make(data), "a"), ElementsAre('a'));
}

TEST(ByteLevelBpe, ChatModelsEndOnBothTheirTokens) {
  TokenizerData data = ByteLevelData({});
  data.tokens.push_back("<|endoftext|>");
  data.types.push_back(kTokenControl);
  data.eos = 257;
  EXPECT_THAT(Make(data)->end_tokens(), ElementsAre(257, 258));
}

TEST(ByteLevelBpe, IgnoreMergesTakesWholeWords) {
  TokenizerData data = ByteLevelData({"a b"});
  data.tokens.push_back("abc");  // no merge leads here
  data.types.push_back(kTokenNormal);
  EXPECT_THAT(Encode(*Make(data), "abc"), ElementsAre(kFirstMerge, 'c'));
  data.ignore_merges = true;
  EXPECT_THAT(Encode(*Make(data), "abc"), ElementsAre(259));
}

TEST(ByteLevelBpe, MissingBytesAreLeftOutOrUnknown) {
  TokenizerData data = ByteLevelData({});
  data.tokens['x'] = "never";
  EXPECT_THAT(Encode(*Make(data), "axb"), ElementsAre('a', 'b'));
  data.spelling_unk = 0;
  EXPECT_THAT(Encode(*Make(data), "axb"), ElementsAre('a', 0, 'b'));
}

TEST(ByteLevelBpe, NfcComposesBeforeMerging) {
  TokenizerData data = ByteLevelData({});
  data.nfc = true;
  EXPECT_THAT(Encode(*Make(data), "e\u0301"), ElementsAre(0xC3, 0xA9));
}

TEST(ByteLevelBpe, RefusesInvalidUtf8) {
  const auto tokenizer = Make(ByteLevelData({}));
  for (const char* text : {"\xff", "a\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\x80"}) {
    EXPECT_EQ(tokenizer->Encode(text, {}).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace keyhole
