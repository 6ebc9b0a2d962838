#include <gtest/gtest.h>

#include "engine/tokenizer/byte_level_alphabet.h"
#include "engine/tokenizer/nfc.h"
#include "engine/tokenizer/utf8.h"

namespace keyhole {
namespace {

std::string Lossy(std::string_view bytes) {
  std::string out;
  AppendLossy(bytes, /*keep_truncated=*/false, &out);
  return out;
}

TEST(Utf8, AcceptsExactlyTheScalarValues) {
  for (char32_t c = 0; c < 0x110000; c = c < 0x3000 ? c + 1 : c + 97) {
    std::string text;
    AppendUtf8(c, &text);
    const bool surrogate = c >= 0xD800 && c < 0xE000;
    ASSERT_EQ(IsValidUtf8(text), !surrogate) << static_cast<unsigned>(c);
    if (!surrogate) {
      ASSERT_EQ(ReadUtf8(text, 0).code_point, c);
    }
  }
}

// The examples of Unicode 15, tables 3-8 to 3-11.
TEST(Utf8, ReplacesMaximalSubparts) {
  const std::string r = "\uFFFD";
  EXPECT_EQ(Lossy("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82"
                  "A"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(Lossy("\xED\xA0\x80\xED\xBF\xBF\xED\xAF"
                  "A"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(Lossy("\xF4\x91\x92\x93\xFF"
                  "A\x80\xBF"
                  "B"),
            r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(Lossy("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
                  "A"),
            r + r + r + r + "A");
}

TEST(Utf8, LongAsciiIsFoundBrokenAnywhere) {
  std::string text(100, 'a');
  EXPECT_TRUE(IsValidUtf8(text));
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string broken = text;
    broken[i] = '\x80';
    EXPECT_FALSE(IsValidUtf8(broken)) << i;
  }
}

TEST(Nfc, ComposesAndOrders) {
  EXPECT_EQ(ToNfc("plain ascii"), "plain ascii");
  EXPECT_EQ(ToNfc("e\u0301"), "\u00e9");
  EXPECT_EQ(ToNfc("xe\u0301y\u0308"), "x\u00e9\u00ff");
  EXPECT_EQ(ToNfc("q\u0307\u0323"), "q\u0323\u0307");  // marks into order
  EXPECT_EQ(ToNfc("\u1100\u1161\u11a8"), "\uac01");    // Hangul
  EXPECT_EQ(ToNfc("\u212b"), "\u00c5");                // singleton
  EXPECT_EQ(ToNfc("\u0958"), "\u0915\u093c");          // composition exclusion
  EXPECT_EQ(ToNfc("\u0344"), "\u0308\u0301");
  EXPECT_EQ(ToNfc("\U0001F600 e\u0301"), "\U0001F600 \u00e9");
}

// As the oracle's tables, which are those of Unicode 9.
TEST(Nfc, NewerMarksNeitherMoveNorCompose) {
  EXPECT_EQ(ToNfc("\u09be\u09fe\u09bc"), "\u09be\u09fe\u09bc");
  EXPECT_EQ(ToNfc("q\u09fe\u0307\u0323"), "q\u09fe\u0323\u0307");
  EXPECT_EQ(ToNfc("e\u1abf\u0301"), "e\u1abf\u0301");
  EXPECT_EQ(ToNfc("e\u0301\u1abf"), "\u00e9\u1abf");
  EXPECT_EQ(ToNfc("\U00011935\U00011930"), "\U00011935\U00011930");
  EXPECT_EQ(ToNfc("\U00011938"), "\U00011938");
}

TEST(ByteLevelAlphabet, IsOneToOne) {
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(ByteLevelBytes(ByteLevelCharacter(byte)), std::string(1, static_cast<char>(byte)));
  }
  EXPECT_EQ(ByteLevelCharacter(' '), "\u0120");
  EXPECT_EQ(ByteLevelCharacter('\n'), "\u010a");
  EXPECT_EQ(ByteLevelBytes("a b"), std::nullopt);
  EXPECT_EQ(ByteLevelBytes("\u4e2d"), std::nullopt);
}

}  // namespace
}  // namespace keyhole
