#include "engine/model/weight_type.h"

#include <array>
#include <cstddef>

#include "engine/model/checked_math.h"

namespace keyhole {
namespace {

constexpr std::array<WeightTypeInfo, 11> kInfos = {{
    {"F32", 1, 4},
    {"F16", 1, 2},
    {"BF16", 1, 2},
    {"Q4_0", 32, 18},
    {"Q4_1", 32, 20},
    {"Q5_0", 32, 22},
    {"Q5_1", 32, 24},
    {"Q8_0", 32, 34},
    {"Q4_K", 256, 144},
    {"Q5_K", 256, 176},
    {"Q6_K", 256, 210},
}};
static_assert(kInfos.size() == static_cast<std::size_t>(WeightType::kQ6_K) + 1);

}  // namespace

const WeightTypeInfo& InfoOf(WeightType type) { return kInfos[static_cast<std::size_t>(type)]; }

std::optional<std::uint64_t> RowBytes(WeightType type, std::uint64_t n_cols) {
  const WeightTypeInfo& info = InfoOf(type);
  const auto block_size = static_cast<std::uint64_t>(info.block_size);
  if (n_cols % block_size != 0) return std::nullopt;
  return CheckedMultiply(n_cols / block_size, static_cast<std::uint64_t>(info.block_bytes));
}

}  // namespace keyhole
