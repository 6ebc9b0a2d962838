// Against goldens that the `gguf` Python package made (tests/golden/make_dequantize.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "engine/model/safetensors_file.h"
#include "engine/model/weight_source.h"
#include "engine/model/weight_type.h"

namespace keyhole {
namespace {

class DequantizeRowTest : public testing::TestWithParam<WeightType> {};

TEST_P(DequantizeRowTest, EqualsTheReferenceBitForBit) {
  const auto file = SafetensorsFile::Open(KEYHOLE_GOLDEN_DIR "/dequantize.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  const std::string name(InfoOf(GetParam()).name);
  const SafetensorsTensor* blocks = file->Find(name + ".blocks");
  const SafetensorsTensor* values = file->Find(name + ".values");
  ASSERT_TRUE(blocks != nullptr && values != nullptr);
  const WeightView view = {GetParam(), values->shape[0], values->shape[1], blocks->bytes};
  ASSERT_EQ(view.row_bytes(), RowBytes(GetParam(), view.n_cols));

  std::vector<float> row(static_cast<std::size_t>(view.n_cols));
  const std::size_t row_size = row.size() * sizeof(float);
  for (std::int64_t i = 0; i < view.n_rows; ++i) {
    DequantizeRow(view, i, row);
    EXPECT_EQ(std::memcmp(row.data(), values->bytes.data() + i * row_size, row_size), 0)
        << "row " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(AllTypes,
                         DequantizeRowTest,
                         testing::Values(WeightType::kF32,
                                         WeightType::kF16,
                                         WeightType::kBF16,
                                         WeightType::kQ4_0,
                                         WeightType::kQ4_1,
                                         WeightType::kQ5_0,
                                         WeightType::kQ5_1,
                                         WeightType::kQ8_0,
                                         WeightType::kQ4_K,
                                         WeightType::kQ5_K,
                                         WeightType::kQ6_K),
                         [](const auto& each) { return std::string(InfoOf(each.param).name); });

TEST(RowBytesTest, RefusesRowsThatBlocksDoNotDivide) {
  EXPECT_EQ(RowBytes(WeightType::kQ4_1, 64), 40);
  EXPECT_EQ(RowBytes(WeightType::kQ4_1, 48), std::nullopt);
  EXPECT_EQ(RowBytes(WeightType::kQ6_K, 128), std::nullopt);
  EXPECT_EQ(RowBytes(WeightType::kF32, std::uint64_t{1} << 62), std::nullopt);
}

}  // namespace
}  // namespace keyhole
