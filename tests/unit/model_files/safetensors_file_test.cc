#include "engine/model/safetensors_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/model_files/gguf_builder.h"
#include "tests/unit/model_files/safetensors_builder.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kTwoTensors[] =
    R"({"b":{"dtype":"BF16","shape":[2,2],"data_offsets":[8,16]},)"
    R"("__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  )";

std::string Header(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return fmt::format(
      R"({{"a":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape, offsets);
}

void ExpectRefused(const std::string& file, const std::string& reason) {
  const auto parsed = SafetensorsFile::Parse(AsBytes(file));
  ASSERT_FALSE(parsed.ok()) << reason;
  EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(reason));
}

TEST(SafetensorsFileTest, ReadsTensors) {
  const std::string bytes = Safetensors(kTwoTensors, "0123456789abcdef");
  const auto file = SafetensorsFile::Parse(AsBytes(bytes));
  ASSERT_TRUE(file.ok()) << file.status();
  const SafetensorsTensor* b = file->Find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->type, WeightType::kBF16);
  EXPECT_THAT(b->shape, ElementsAre(2, 2));
  EXPECT_EQ(static_cast<char>(b->bytes.front()), '8');
  EXPECT_EQ(file->Find("a")->type, WeightType::kF32);
  EXPECT_EQ(file->Find("c"), nullptr);
  EXPECT_EQ(file->tensors().size(), 2);
}

TEST(SafetensorsFileTest, OtherDtypesAreCarriedButAreNoWeights) {
  const std::string bytes = Safetensors(Header("I64", "[1]", "[0,8]"), "01234567");
  const auto file = SafetensorsFile::Parse(AsBytes(bytes));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->Find("a")->type, std::nullopt);
}

TEST(SafetensorsFileTest, TruncatedAtEveryByte) {
  const std::string whole = Safetensors(kTwoTensors, "0123456789abcdef");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string part(whole, 0, size);
    EXPECT_FALSE(SafetensorsFile::Parse(AsBytes(part)).ok()) << size;
  }
}

TEST(SafetensorsFileTest, HeaderLengths) {
  for (const std::uint64_t length :
       {std::uint64_t{100}, std::uint64_t{1} << 40, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    std::string file;
    GgufBuilder::Append(&file, length);
    ExpectRefused(file + "{}", "safetensors header of");
  }
  std::string file;
  GgufBuilder::Append(&file, std::uint64_t{100'000'001});
  file.resize(100'000'100, ' ');
  ExpectRefused(file, "at most 100000000");
}

TEST(SafetensorsFileTest, OffsetsAndShapes) {
  const std::string data(16, 'x');
  ExpectRefused(Safetensors(Header("F32", "[4]", "[0,17]"), data), "fill 17");
  ExpectRefused(Safetensors(Header("F32", "[3]", "[0,16]"), data), "does not match");
  ExpectRefused(Safetensors(Header("F32", "[4]", "[4,0]"), data), "begins at byte 4");
  ExpectRefused(Safetensors(Header("F32", "[3]", "[0,12]"), data), "fill 12");
  ExpectRefused(Safetensors(Header("F32", "[3]", "[4,16]"), data), "begins at byte 4");
  ExpectRefused(Safetensors(Header("F32", "[4294967296,4294967296]", "[0,16]"), data), "match");
  ExpectRefused(Safetensors(Header("F32", "[18446744073709551615]", "[0,16]"), data), "match");
  ExpectRefused(Safetensors(Header("F32", "[4]", "[0,18446744073709551615]"), data), "fill");
  ExpectRefused(Safetensors(Header("F32", "[1,1,1,1,1,1,1,1,4]", "[0,16]"), data), "too many");
  ExpectRefused(Safetensors(Header("F4", "[4]", "[0,16]"), data), "dtype F4");
}

TEST(SafetensorsFileTest, OverlapsGapsAndDuplicates) {
  const auto two = [](const std::string& first, const std::string& second, const char* name) {
    return Safetensors(fmt::format(R"({{"a":{{"dtype":"U8","shape":[8],"data_offsets":{}}},)"
                                   R"("{}":{{"dtype":"U8","shape":[8],"data_offsets":{}}}}})",
                                   first,
                                   name,
                                   second),
                       std::string(16, 'x'));
  };
  const std::string good = two("[0,8]", "[8,16]", "b");
  EXPECT_TRUE(SafetensorsFile::Parse(AsBytes(good)).ok());
  ExpectRefused(two("[0,8]", "[4,12]", "b"), "begins at byte 4");
  ExpectRefused(two("[0,8]", "[0,8]", "b"), "begins at byte 0");
  ExpectRefused(two("[0,8]", "[8,16]", "a"), "second entry");
}

TEST(SafetensorsFileTest, HeadersThatAreNotTensors) {
  for (const char* header :
       {"",
        "[]",
        "3",
        "null",
        "{\"a\":3}",
        "{\"a\":[]}",
        "{\"a\":{}}",
        "{\"a\":{\"dtype\":\"F32\"}}",
        R"({"a":{"dtype":3,"shape":[],"data_offsets":[0,0]}})",
        R"({"a":{"dtype":"F32","shape":3,"data_offsets":[0,0]}})",
        R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}})",
        R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})",
        R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})",
        R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})",
        R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})",
        R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"extra":1}})",
        R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
        R"({"__metadata__":{"a":3}})",
        R"({"__metadata__":{"a":{}}})",
        R"({} {})",
        R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}},)",
        R"({"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}})"}) {
    ExpectRefused(Safetensors(header, "xxxx"), "safetensors header");
  }
}

TEST(SafetensorsFileTest, NestingEndsAtOnce) {
  ExpectRefused(Safetensors(std::string(50'000'000, '['), ""), "an array");
  std::string nested = "{\"a\":";
  for (int depth = 0; depth < 100'000; ++depth) nested += "{\"dtype\":";
  ExpectRefused(Safetensors(nested, ""), "an object");
}

}  // namespace
}  // namespace keyhole
