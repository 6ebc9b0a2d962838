#include "engine/model/gguf_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/unit/model_files/gguf_builder.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;

TEST(GgufFileTest, ReadsEveryScalarType) {
  const std::string bytes =
      GgufBuilder()
          .Value("u8", GgufType::kUint8, std::uint8_t{200})
          .Value("i8", GgufType::kInt8, std::int8_t{-5})
          .Value("u16", GgufType::kUint16, std::uint16_t{60000})
          .Value("i16", GgufType::kInt16, std::int16_t{-600})
          .Value("u32", GgufType::kUint32, std::uint32_t{4000000000})
          .Value("i32", GgufType::kInt32, std::int32_t{-7})
          .Value("u64", GgufType::kUint64, std::uint64_t{1} << 62)
          .Value("i64", GgufType::kInt64, std::numeric_limits<std::int64_t>::min())
          .Value("f32", GgufType::kFloat32, 0.25F)
          .Value("f64", GgufType::kFloat64, 0.1)
          .Value("bool", GgufType::kBool, std::uint8_t{1})
          .String("string", "text")
          .Build();
  const auto file = GgufFile::Parse(AsBytes(bytes));
  ASSERT_TRUE(file.ok()) << file.status();
  const GgufMetadata& metadata = file->metadata();
  EXPECT_EQ(*metadata.Int("u8"), 200);
  EXPECT_EQ(*metadata.Int("i8"), -5);
  EXPECT_EQ(*metadata.Int("u16"), 60000);
  EXPECT_EQ(*metadata.Int("i16"), -600);
  EXPECT_EQ(*metadata.Int("u32"), 4000000000);
  EXPECT_EQ(*metadata.Int("i32"), -7);
  EXPECT_EQ(*metadata.Int("u64"), std::int64_t{1} << 62);
  EXPECT_EQ(*metadata.Int("i64"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(*metadata.Float("f32"), 0.25);
  EXPECT_EQ(*metadata.Float("f64"), 0.1);
  EXPECT_TRUE(*metadata.Bool("bool"));
  EXPECT_EQ(*metadata.String("string"), "text");
  EXPECT_TRUE(file->tensors().empty());
}

TEST(GgufFileTest, RefusesValuesOfAnotherType) {
  const std::string bytes = GgufBuilder()
                                .Uint("int", 1)
                                .String("string", "1")
                                .Value("huge", GgufType::kUint64, ~std::uint64_t{0})
                                .Array("wide", GgufType::kInt64, 1, std::string(8, '\x7F'))
                                .Array("floats", GgufType::kFloat32, 0, "")
                                .Build();
  const auto file = GgufFile::Parse(AsBytes(bytes));
  ASSERT_TRUE(file.ok()) << file.status();
  const GgufMetadata& metadata = file->metadata();
  EXPECT_TRUE(absl::IsNotFound(metadata.Int("absent").status()));
  EXPECT_EQ(*metadata.IntOr("absent", 5), 5);
  EXPECT_TRUE(absl::IsInvalidArgument(metadata.Int("string").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(metadata.IntOr("string", 5).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(metadata.Float("int").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(metadata.Bool("int").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(metadata.String("int").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(metadata.Strings("string").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(metadata.Strings("wide").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(metadata.Ints("wide").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(metadata.Floats("wide").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(metadata.Int("huge").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(metadata.Int("floats").status()));
  EXPECT_THAT(*metadata.Floats("floats"), ElementsAre());
}

TEST(GgufFileTest, ReadsArrays) {
  std::string strings;
  GgufBuilder::AppendString(&strings, "one");
  GgufBuilder::AppendString(&strings, "");
  GgufBuilder::AppendString(&strings, "three");
  std::string ints;
  for (const std::int32_t value : {3, -1}) GgufBuilder::Append(&ints, value);
  const std::string bytes = GgufBuilder()
                                .Array("strings", GgufType::kString, 3, strings)
                                .Array("ints", GgufType::kInt32, 2, ints)
                                .Array("bytes", GgufType::kUint8, 2, "\x01\xFF")
                                .Build();
  const auto file = GgufFile::Parse(AsBytes(bytes));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(*file->metadata().Strings("strings"), ElementsAre("one", "", "three"));
  EXPECT_THAT(*file->metadata().Ints("ints"), ElementsAre(3, -1));
  EXPECT_THAT(*file->metadata().Ints("bytes"), ElementsAre(1, 255));
}

TEST(GgufFileTest, PlacesTensorsAtTheFilesAlignment) {
  const std::string bytes = GgufBuilder()
                                .Version(2)
                                .Uint("general.alignment", 64)
                                .Tensor({"a", {4, 2}, 0, 64})
                                .Tensor({"b", {3}, 0, 0})
                                .DataSize(64 + 32)
                                .Build(64);
  const auto file = GgufFile::Parse(AsBytes(bytes));
  ASSERT_TRUE(file.ok()) << file.status();
  const GgufTensor* a = file->Find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->bytes.data(), AsBytes(bytes).data() + bytes.size() - 32);
  EXPECT_EQ(a->bytes.size(), 32);
  EXPECT_EQ(a->dims[0], 4);
  EXPECT_EQ(a->dims[1], 2);
  EXPECT_EQ(file->Find("b")->bytes.size(), 12);
  EXPECT_EQ(file->Find("c"), nullptr);
}

}  // namespace
}  // namespace keyhole
