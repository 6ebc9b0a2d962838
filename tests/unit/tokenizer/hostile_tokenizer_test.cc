// Model files and texts made to break a tokenizer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <limits>

#include "tests/unit/tokenizer/tokenizer_test_data.h"

namespace keyhole {
namespace {

using ::testing::HasSubstr;

// Processor time of this process: other load does not count.
double Now() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

void ExpectRefused(TokenizerData data, std::string_view reason) {
  const double start = Now();
  const absl::StatusOr<std::unique_ptr<Tokenizer>> made = MakeTokenizer(std::move(data));
  ASSERT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument) << reason;
  EXPECT_THAT(std::string(made.status().message()), HasSubstr(std::string(reason)));
  EXPECT_LT(Now() - start, 10);
}

TEST(HostileTokenizer, VocabularyThatContradictsItself) {
  ExpectRefused({}, "empty");

  TokenizerData data = ByteLevelData({"a b"});
  data.tokens[5] = data.tokens[6];
  ExpectRefused(data, "tokens 5 and 6");

  data = ByteLevelData({"a b"});
  data.types.pop_back();
  ExpectRefused(data, "token types");

  data = ByteLevelData({"a b"});
  data.types[0] = 99;
  ExpectRefused(data, "type 99");

  data = ByteLevelData({"a b"});
  data.tokens[7] = "\xc3";
  ExpectRefused(data, "token 7 is not valid UTF-8");

  data = ByteLevelData({"a b"});
  data.tokens[7].clear();
  ExpectRefused(data, "token 7 is empty");
}

TEST(HostileTokenizer, IdsOutOfRange) {
  for (const TokenId id : {-2, 258, std::numeric_limits<TokenId>::max()}) {
    TokenizerData data = ByteLevelData({});
    data.bos = id;
    ExpectRefused(data, "bos token id");
    data = ByteLevelData({});
    data.more_end_tokens.push_back(id);
    ExpectRefused(data, "end token id");
    data = ByteLevelData({});
    data.added_tokens.push_back({.id = id, .text = "x"});
    ExpectRefused(data, "added token id");
  }
  TokenizerData data = ByteLevelData({});
  data.eos = -1;  // how GGUF says "none"
  EXPECT_TRUE(MakeTokenizer(data).ok());
  data.add_bos = true;
  ExpectRefused(data, "BOS");
}

TEST(HostileTokenizer, MergesThatDoNotFit) {
  for (const char* merge : {"", " ", "a", "ab", "a ", " a", "a  b", "a zz", "a b c", "zz a"}) {
    TokenizerData data = ByteLevelData({"a b"});
    data.merges.push_back(merge);
    ExpectRefused(data, "merge 1");
  }
  TokenizerData data = ByteLevelData({"a b"});
  data.merges.push_back(std::string(1 << 20, 'a') + " b");
  ExpectRefused(data, "merge 1");
  data = ByteLevelData({"a b"});
  data.merges.assign((std::size_t{1} << 21) + 1, "a b");
  ExpectRefused(data, "merges; at most");
}

TEST(HostileTokenizer, RepeatedAndCrossedMergesEnd) {
  TokenizerData data = ByteLevelData({"a a", "aa a", "a b"});
  data.merges.insert(data.merges.end(), {"a aa", "a a", "aa a"});
  data.tokens.push_back("aaaa");
  data.types.push_back(kTokenNormal);
  data.merges.push_back("aa aa");
  const auto tokenizer = MakeTokenizer(data);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto ids = (*tokenizer)->Encode(std::string(10'001, 'a'), {});
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ((*tokenizer)->Decode(*ids, false), std::string(10'001, 'a'));
}

TEST(HostileTokenizer, HugeTokens) {
  TokenizerData data = ByteLevelData({});
  data.tokens[9].assign(1 << 20, 'x');
  ExpectRefused(data, "token 9 has 1048576 bytes");

  data = ByteLevelData({});
  data.tokens.back().assign(600, 'x');  // a control token
  ExpectRefused(data, "added token");

  data = SentencePieceData({"a", std::string(600, 'x')});
  ExpectRefused(data, "600 bytes");

  data = ByteLevelData({});
  for (int i = 0; i < 10'000; ++i) data.tokens.push_back(fmt::format("{:02000}", i));
  data.types.resize(data.tokens.size(), kTokenNormal);
  ExpectRefused(data, "bytes together");

  data = ByteLevelData({});
  data.tokens.resize((std::size_t{1} << 20) + 1, "x");
  data.types.resize(data.tokens.size(), kTokenNormal);
  ExpectRefused(data, "tokens; at most");
}

TEST(HostileTokenizer, LargestSentencePiecesStayQuick) {
  std::vector<std::string> pieces;
  std::string tail(490, 'a');
  for (int i = 0; i < 4000; ++i) pieces.push_back(fmt::format("{}{:05}", tail, i));
  const double start = Now();
  EXPECT_TRUE(MakeTokenizer(SentencePieceData(pieces)).ok());
  EXPECT_LT(Now() - start, 20);
}

TEST(HostileTokenizer, ScoresThatAreNoNumbers) {
  TokenizerData data = SentencePieceData({"a"});
  data.scores.back() = std::numeric_limits<float>::quiet_NaN();
  ExpectRefused(data, "not finite");
  data = SentencePieceData({"a"});
  data.scores.pop_back();
  ExpectRefused(data, "scores for");
}

TEST(HostileTokenizer, UnknownPreTokenizerIsNamed) {
  TokenizerData data = ByteLevelData({});
  data.pre = "martian";
  const auto made = MakeTokenizer(data);
  EXPECT_EQ(made.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(made.status().message()), HasSubstr("'martian'"));
}

// Time of a text must grow with its length, not with its square: for the square it would grow 64
// times.
class LongRuns : public ::testing::TestWithParam<std::string> {};

double Seconds(const Tokenizer& tokenizer, const std::string& text) {
  const double start = Now();
  EXPECT_TRUE(tokenizer.Encode(text, {}).ok());
  return Now() - start;
}

std::string Repeat(const std::string& unit, std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += unit;
  return text;
}

std::unique_ptr<Tokenizer> MakeFor(std::string_view pre) {
  TokenizerData data =
      pre == "spm"
          ? SentencePieceData({"aa", "aaaa", "\u2581\u2581", "\u2581\u2581\u2581\u2581", "11"})
          : ByteLevelData({"a a", "aa aa", "\u0120 \u0120", "\u0120\u0120 \u0120\u0120", "1 1"});
  data.nfc = true;
  data.pre = pre;
  return *MakeTokenizer(std::move(data));
}

TEST_P(LongRuns, TakeTimeInProportion) {
  for (const char* pre : {"gpt-2", "smollm", "llama-bpe", "qwen2", "tekken", "spm"}) {
    const auto tokenizer = MakeFor(pre);
    const double part = Seconds(*tokenizer, Repeat(GetParam(), 50'000));
    EXPECT_LT(Seconds(*tokenizer, Repeat(GetParam(), 400'000)), 40 * part + 0.5) << pre;
  }
}

TEST(HostileTokenizer, AMegabyteOfOneCharacter) {
  for (const char* pre : {"gpt-2", "smollm", "llama-bpe", "spm"}) {
    const auto tokenizer = MakeFor(pre);
    for (const char* unit : {"a", " ", "1"}) {
      EXPECT_LT(Seconds(*tokenizer, Repeat(unit, 1'000'000)), 20) << pre << " '" << unit << "'";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(HostileTokenizer,
                         LongRuns,
                         ::testing::Values("a",
                                           " ",
                                           "1",
                                           "\n",
                                           "\t",
                                           ".",
                                           "'",
                                           "aA",
                                           " \n",
                                           "\r\n ",
                                           "e\u0301\u0323",
                                           "\u0301\u0323",
                                           "\u4e2d",
                                           "<|im_start|",
                                           "\u2581",
                                           "\U0001F600"));

}  // namespace
}  // namespace keyhole
