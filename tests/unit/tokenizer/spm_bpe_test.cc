#include "engine/tokenizer/spm_bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/tokenizer/tokenizer_test_data.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;

std::vector<TokenId> Encode(const TokenizerData& data, std::string_view text) {
  const absl::StatusOr<std::unique_ptr<Tokenizer>> made = MakeTokenizer(data);
  EXPECT_TRUE(made.ok()) << made.status();
  return *(*made)->Encode(text, {});
}

TokenId Byte(int byte) { return 3 + byte; }

// Score order: ab, then bc, then the characters.
const std::vector<std::string> kPieces = {"ab", "bc", "\u2581", "a", "b", "c"};
constexpr TokenId kAb = kFirstPiece;
constexpr TokenId kBc = kFirstPiece + 1;
constexpr TokenId kSpace = kFirstPiece + 2;

TEST(SpmBpe, BestScoreJoinsFirst) {
  EXPECT_THAT(Encode(SentencePieceData(kPieces), "abc"),
              ElementsAre(1, kSpace, kAb, kFirstPiece + 5));
  EXPECT_THAT(Encode(SentencePieceData(kPieces), "bc"), ElementsAre(1, kSpace, kBc));
}

TEST(SpmBpe, UnknownCharactersBecomeBytes) {
  EXPECT_THAT(Encode(SentencePieceData(kPieces), "\u00e9"),
              ElementsAre(1, kSpace, Byte(0xC3), Byte(0xA9)));
}

TEST(SpmBpe, WithoutBytesUnknownCharactersFuse) {
  TokenizerData data = SentencePieceData(kPieces);
  for (int& type : data.types) type = type == kTokenByte ? kTokenUnused : type;
  EXPECT_THAT(Encode(data, "xya"), ElementsAre(1, kSpace, 0, kFirstPiece + 3));
  data.unk.reset();
  data.types[0] = kTokenControl;
  EXPECT_EQ(MakeTokenizer(data).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(SpmBpe, SpacePrefix) {
  TokenizerData data = SentencePieceData(kPieces);
  EXPECT_THAT(Encode(data, ""), ElementsAre(1));
  EXPECT_THAT(Encode(data, "a</s>b"),
              ElementsAre(1, kSpace, kFirstPiece + 3, 2, kSpace, kFirstPiece + 4));
  data.space_prefix = TokenizerData::SpacePrefix::kFirstFragment;
  EXPECT_THAT(Encode(data, "a</s>b"), ElementsAre(1, kSpace, kFirstPiece + 3, 2, kFirstPiece + 4));
  data.add_space_prefix = false;
  EXPECT_THAT(Encode(data, "a"), ElementsAre(1, kFirstPiece + 3));
}

TEST(SpmBpe, ExtraSpacesGoWhenTheModelSays) {
  TokenizerData data = SentencePieceData(kPieces);
  data.remove_extra_whitespaces = true;
  EXPECT_THAT(Encode(data, "  a   b "),
              ElementsAre(1, kSpace, kFirstPiece + 3, kSpace, kFirstPiece + 4));
  EXPECT_THAT(Encode(data, "a\u2581 \u2581"), ElementsAre(1, kSpace, kFirstPiece + 3));
}

TEST(SpmBpe, PiecesAcrossWordsStillMatch) {
  const TokenizerData data = SentencePieceData({"a\u2581b", "a\u2581", "\u2581", "a", "b"});
  EXPECT_THAT(Encode(data, "a b"), ElementsAre(1, kSpace, kFirstPiece));
}

TEST(SpmBpe, UserDefinedPiecesAreNeverCut) {
  TokenizerData data = SentencePieceData({"\u2581", "a", "aa", "<x>"});
  data.types.back() = kTokenUserDefined;
  EXPECT_THAT(Encode(data, "a<x>a"),
              ElementsAre(1, kFirstPiece, kFirstPiece + 1, kFirstPiece + 3, kFirstPiece + 1));
}

TEST(SpmBpe, DecodesSpacesAndBytes) {
  const auto tokenizer = *MakeTokenizer(SentencePieceData(kPieces));
  EXPECT_EQ(tokenizer->Decode(*tokenizer->Encode("  a \u00e9b", {}), false), "  a \u00e9b");
  EXPECT_THAT(tokenizer->end_tokens(), ElementsAre(2));
}

}  // namespace
}  // namespace keyhole
