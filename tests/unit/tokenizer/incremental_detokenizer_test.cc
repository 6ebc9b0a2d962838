#include "engine/tokenizer/incremental_detokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "engine/tokenizer/utf8.h"
#include "tests/unit/tokenizer/tokenizer_test_data.h"

namespace keyhole {
namespace {

struct Stepwise {
  std::vector<std::string> parts;
  std::string text;
};

Stepwise Push(const Tokenizer& tokenizer,
              const std::vector<TokenId>& ids,
              bool keep_special = false) {
  IncrementalDetokenizer detokenizer(&tokenizer, keep_special);
  Stepwise result;
  for (const TokenId id : ids) result.parts.push_back(detokenizer.Push(id));
  result.parts.push_back(detokenizer.Finish());
  for (const std::string& part : result.parts) {
    EXPECT_TRUE(IsValidUtf8(part));
    result.text += part;
  }
  return result;
}

TEST(IncrementalDetokenizer, HoldsBackUnfinishedCharacters) {
  const auto tokenizer = *MakeTokenizer(ByteLevelData({}));
  const Stepwise pushed = Push(*tokenizer, {'a', 0xF0, 0x9F, 0x98, 0x80, 'b'});
  EXPECT_EQ(pushed.parts, (std::vector<std::string>{"a", "", "", "", "\U0001F600", "b", ""}));
}

TEST(IncrementalDetokenizer, BrokenCharactersBecomeReplacements) {
  const auto tokenizer = *MakeTokenizer(ByteLevelData({}));
  EXPECT_EQ(Push(*tokenizer, {0xF0, 0x9F, 'x'}).text, "\uFFFDx");
  EXPECT_EQ(Push(*tokenizer, {0xF0, 0x9F}).text, "\uFFFD");
  EXPECT_EQ(Push(*tokenizer, {0x80, 0x80}).text, "\uFFFD\uFFFD");
  EXPECT_EQ(Push(*tokenizer, {0xED, 0xA0, 0x80}).text, "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(Push(*tokenizer, {0xC3, 0xC3, 0xA9}).text, "\uFFFD\u00e9");
}

TEST(IncrementalDetokenizer, SpecialTokensDoNotBreakCharacters) {
  const auto tokenizer = *MakeTokenizer(ByteLevelData({}));
  EXPECT_EQ(Push(*tokenizer, {0xC3, 256, 0xA9}).text, "\u00e9");
  EXPECT_EQ(Push(*tokenizer, {0xC3, 256, 0xA9}, true).text, "\uFFFD<|im_start|>\uFFFD");
}

TEST(IncrementalDetokenizer, SentencePieceDropsOneLeadingSpace) {
  const auto tokenizer = *MakeTokenizer(SentencePieceData({"\u2581", "a", "\u2581a"}));
  const TokenId space = kFirstPiece;
  EXPECT_EQ(Push(*tokenizer, {1, space + 2, space + 2}).text, "a a");
  EXPECT_EQ(Push(*tokenizer, {space, space + 2}).text, " a");
}

TEST(IncrementalDetokenizer, AnySequenceGivesWhatDecodeGives) {
  std::mt19937 random(7);
  const std::unique_ptr<Tokenizer> tokenizers[] = {
      *MakeTokenizer(ByteLevelData({"\u00e2 \u0124", "e r", "\u0120 a"})),
      *MakeTokenizer(SentencePieceData({"\u2581", "\u2581a", "\u4e2d", "x\u2581y"}))};
  for (const auto& tokenizer : tokenizers) {
    for (int round = 0; round < 3000; ++round) {
      std::vector<TokenId> ids(random() % 12);
      for (TokenId& id : ids) {
        // Mostly bytes that open or continue characters.
        id = random() % 4 == 0 ? random() % tokenizer->vocab_size() : 0x80 + random() % 0x80;
      }
      for (const bool keep : {false, true}) {
        ASSERT_EQ(Push(*tokenizer, ids, keep).text, tokenizer->Decode(ids, keep));
      }
    }
  }
}

}  // namespace
}  // namespace keyhole
