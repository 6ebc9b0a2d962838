// Files that lie: each must end in an error that says why, and take no memory on a lie's word.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "engine/model/gguf_file.h"
#include "tests/unit/model_files/gguf_builder.h"
#include "tests/unit/model_files/tiny_model.h"

namespace keyhole {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kHuge = std::uint64_t{1} << 63;

void ExpectRefused(const std::string& bytes, absl::StatusCode code, const std::string& reason) {
  const auto file = GgufFile::Parse(AsBytes(bytes));
  ASSERT_FALSE(file.ok()) << reason;
  EXPECT_EQ(file.status().code(), code) << file.status();
  EXPECT_THAT(std::string(file.status().message()), HasSubstr(reason));
}

void ExpectInvalid(const std::string& bytes, const std::string& reason) {
  ExpectRefused(bytes, absl::StatusCode::kInvalidArgument, reason);
}

TEST(GgufHostileTest, TruncatedAtEveryByte) {
  GgufBuilder builder = TinyMetadata();
  builder.Array("a", GgufType::kUint16, 2, "abcd");
  const std::string whole = AddTinyTensors(builder).Build();
  ASSERT_TRUE(GgufFile::Parse(AsBytes(whole)).ok());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string part(whole, 0, size);
    EXPECT_FALSE(GgufFile::Parse(AsBytes(part)).ok()) << size << " of " << whole.size();
  }
}

TEST(GgufHostileTest, WrongMagicAndVersions) {
  ExpectInvalid("GGML" + std::string(20, '\0'), "does not begin with");
  ExpectRefused(GgufBuilder().Version(1).Build(), absl::StatusCode::kUnimplemented, "version 1");
  ExpectRefused(GgufBuilder().Version(4).Build(), absl::StatusCode::kUnimplemented, "version 4");
  ExpectRefused(
      GgufBuilder().Version(0x03000000).Build(), absl::StatusCode::kUnimplemented, "big-endian");
}

TEST(GgufHostileTest, CountsBeyondTheFile) {
  for (const std::uint64_t count : {std::uint64_t{2}, std::uint64_t{1} << 32, kHuge, ~kHuge}) {
    ExpectInvalid(GgufBuilder().Uint("k", 1).ClaimValues(count).Build(), "cannot hold");
    ExpectInvalid(TinyMetadata().ClaimTensors(count).Build(), "cannot hold");
  }
  ExpectInvalid(GgufBuilder().Array("k", GgufType::kUint32, kHuge, "1234").Build(), "an array of");
  ExpectInvalid(GgufBuilder().Array("k", GgufType::kUint64, kHuge / 4, "1234").Build(), "an array");
  ExpectInvalid(GgufBuilder().Array("k", GgufType::kString, kHuge, "").Build(), "string 0 of");
}

TEST(GgufHostileTest, StringLengthsBeyondTheFile) {
  for (const std::uint64_t length : {std::uint64_t{1} << 20, kHuge, ~std::uint64_t{0}}) {
    std::string key;
    GgufBuilder::Append(&key, length);
    key.append(64, 'x');
    ExpectInvalid(GgufBuilder().RawValue(key).Build(), "within key 0");
    ExpectInvalid(GgufBuilder().Array("k", GgufType::kString, 1, key).Build(), "string 0 of 1");
    std::string value;
    GgufBuilder::AppendString(&value, "k");
    GgufBuilder::Append(&value, GgufType::kString);
    ExpectInvalid(GgufBuilder().RawValue(value + key).Build(), "a value of");
    std::string name = TinyMetadata().ClaimTensors(1).Build() + key;
    ExpectInvalid(name, "within a name");
  }
}

TEST(GgufHostileTest, KeysAndTypes) {
  ExpectInvalid(GgufBuilder().Uint("", 1).Build(), "length of 0");
  ExpectInvalid(GgufBuilder().Uint(std::string(70000, 'k'), 1).Build(), "length of 70000");
  ExpectInvalid(GgufBuilder().Uint("k", 1).Uint("k", 2).Build(), "key k appears twice");
  ExpectInvalid(GgufBuilder().Value("k", GgufType{13}, 1).Build(), "unknown GGUF type 13");
  ExpectInvalid(GgufBuilder().Array("k", GgufType{99}, 1, "xxxx").Build(), "unknown GGUF type 99");
}

TEST(GgufHostileTest, ArraysOfArrays) {
  std::string nested;
  for (int depth = 0; depth < 100000; ++depth) {
    GgufBuilder::Append(&nested, GgufType::kArray);
    GgufBuilder::Append<std::uint64_t>(&nested, 1);
  }
  ExpectInvalid(GgufBuilder().Array("k", GgufType::kArray, 1, nested).Build(), "arrays of arrays");
}

TEST(GgufHostileTest, TensorsOutsideTheData) {
  const auto build = [](const TensorInfo& info) {
    return GgufBuilder().Tensor(info).DataSize(64).Build();
  };
  ASSERT_TRUE(GgufFile::Parse(AsBytes(build({"t", {16}, 0, 0}))).ok());
  ExpectInvalid(build({"t", {17}, 0, 0}), "lies outside");
  ExpectInvalid(build({"t", {16}, 0, 32}), "lies outside");
  ExpectInvalid(build({"t", {1}, 0, 96}), "lies outside");
  ExpectInvalid(build({"t", {16}, 0, ~std::uint64_t{31}}), "lies outside");
  ExpectInvalid(build({"t", {1}, 0, 4}), "not aligned");
}

TEST(GgufHostileTest, Dimensions) {
  const auto build = [](std::vector<std::uint64_t> dims, std::uint32_t type = 0) {
    return GgufBuilder().Tensor({"t", std::move(dims), type, 0}).DataSize(1024).Build();
  };
  ExpectInvalid(build({}), "0 dimensions");
  ExpectInvalid(build({1, 1, 1, 1, 1}), "5 dimensions");
  ExpectInvalid(build({4, 0}), "dimension 1 of tensor t is 0");
  ExpectInvalid(build({kHuge}), "dimension 0 of tensor t is 9223372036854775808");
  ExpectInvalid(build({kHuge / 2, 2}), "64 bits");
  ExpectInvalid(build({1 << 20, 1 << 20, 1 << 20, 1 << 20}), "64 bits");
  ExpectInvalid(build({std::uint64_t{1} << 32, std::uint64_t{1} << 31}), "64 bits");
  ExpectInvalid(build({48}, 3), "blocks of Q4_1");
}

TEST(GgufHostileTest, TensorTypesAreRefusedByName) {
  const auto build = [](std::uint32_t type) {
    return GgufBuilder().Tensor({"t", {256}, type, 0}).DataSize(1024).Build();
  };
  ExpectRefused(build(10), absl::StatusCode::kUnimplemented, "Q2_K");
  ExpectRefused(build(23), absl::StatusCode::kUnimplemented, "IQ4_XS");
  ExpectRefused(build(39), absl::StatusCode::kUnimplemented, "MXFP4");
  ExpectInvalid(build(4), "unknown type 4");
  ExpectInvalid(build(0xFFFFFFFF), "unknown type");
}

TEST(GgufHostileTest, OverlapsAndDuplicates) {
  ExpectInvalid(
      GgufBuilder().Tensor({"a", {16}, 0, 0}).Tensor({"b", {8}, 0, 32}).DataSize(128).Build(),
      "tensors a and b overlap");
  ExpectInvalid(
      GgufBuilder().Tensor({"a", {8}, 0, 0}).Tensor({"b", {8}, 0, 0}).DataSize(128).Build(),
      "overlap");
  ExpectInvalid(
      GgufBuilder().Tensor({"a", {8}, 0, 0}).Tensor({"a", {8}, 0, 32}).DataSize(128).Build(),
      "tensor a appears twice");
}

TEST(GgufHostileTest, Alignment) {
  for (const std::uint32_t alignment : {0U, 1U, 4U, 48U, 0x80000000U}) {
    ExpectInvalid(GgufBuilder()
                      .Uint("general.alignment", alignment)
                      .Tensor({"t", {1}, 0, 0})
                      .DataSize(64)
                      .Build(),
                  "general.alignment");
  }
  ExpectInvalid(GgufBuilder().String("general.alignment", "32").F32("t", {1}).Build(),
                "not an integer");
}

// Names that collide or sort badly must not make reading quadratic.
TEST(GgufHostileTest, ManyTensorsAreReadQuickly) {
  GgufBuilder builder;
  for (int i = 0; i < 60000; ++i) builder.F32(std::to_string(i), {1});
  const std::string bytes = builder.Build();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(GgufFile::Parse(AsBytes(bytes)).ok());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

}  // namespace
}  // namespace keyhole
