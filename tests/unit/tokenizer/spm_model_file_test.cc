#include "engine/tokenizer/spm_model_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string Bytes(int field, std::string_view content) {
  return Varint(field << 3 | 2) + Varint(content.size()) + std::string(content);
}
std::string Number(int field, std::uint64_t value) { return Varint(field << 3) + Varint(value); }

std::string Piece(std::string_view text, float score, int type) {
  std::string bits(4, '\0');
  std::memcpy(bits.data(), &score, 4);
  return Bytes(1, Bytes(1, text) + Varint(2 << 3 | 5) + bits + Number(3, type));
}

std::string Pieces() {
  return Piece("<unk>", 0, 2) + Piece("<s>", 0, 3) + Piece("</s>", 0, 3) + Piece("\u2581", -1, 1) +
         Piece("a", -2, 1);
}

const std::string kBpe = Bytes(2, Number(3, 2));

TEST(SpmModelFile, ReadsPiecesAndSettings) {
  const absl::StatusOr<TokenizerData> data =
      ParseSpmModel(Pieces() + kBpe + Bytes(3, Number(3, 0) + Number(4, 0)));
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->tokens, ElementsAre("<unk>", "<s>", "</s>", "\u2581", "a"));
  EXPECT_THAT(data->scores, ElementsAre(0, 0, 0, -1, -2));
  EXPECT_EQ(data->bos, 1);
  EXPECT_EQ(data->eos, 2);
  EXPECT_EQ(data->unk, 0);
  EXPECT_EQ(data->add_space_prefix, false);
  EXPECT_EQ(data->remove_extra_whitespaces, false);
  EXPECT_TRUE(MakeTokenizer(*data).ok());
}

TEST(SpmModelFile, NamesWhatIsNotSupported) {
  const auto reason = [](const std::string& bytes) {
    const absl::StatusOr<TokenizerData> data = ParseSpmModel(bytes);
    EXPECT_EQ(data.status().code(), absl::StatusCode::kUnimplemented);
    return std::string(data.status().message());
  };
  EXPECT_THAT(reason(Pieces()), HasSubstr("Unigram"));
  EXPECT_THAT(reason(Pieces() + kBpe + Bytes(3, Bytes(2, "map"))), HasSubstr("normalizer"));
  EXPECT_THAT(reason(Pieces() + Bytes(2, Number(3, 2) + Number(24, 1))), HasSubstr("suffix"));
}

TEST(SpmModelFile, EveryCutOrChangedByteIsSafe) {
  const std::string whole = Pieces() + kBpe + Bytes(3, Number(3, 1));
  for (std::size_t n = 0; n < whole.size(); ++n) {
    std::string changed = whole;
    changed[n] = '\xff';
    for (const std::string& bytes : {whole.substr(0, n), changed}) {
      const absl::StatusOr<TokenizerData> data = ParseSpmModel(bytes);
      if (data.ok()) MakeTokenizer(*data).status().IgnoreError();
    }
  }
  EXPECT_EQ(ParseSpmModel("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f").status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace keyhole
