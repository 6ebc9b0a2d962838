#include "engine/ops/max_pool.h"

#include <algorithm>
#include <limits>

#include "absl/container/fixed_array.h"
#include "engine/ops/cpu/selection_dispatch.h"
#include "engine/ops/op_check.h"

namespace keyhole {
namespace {

constexpr std::int64_t kTile = 4096;       // with its neighbours it stays in the nearest cache
constexpr std::int64_t kTilesPerTask = 4;  // a few microseconds
constexpr std::int64_t kUsualReach = 64;   // for which a tile needs no memory but the stack

// out[begin, end): maxima over windows of 1, 2, 4 ... values, then two that overlap.
void PoolTile(const SelectionKernels& kernels,
              std::span<const float> in,
              std::int64_t eps,
              std::int64_t begin,
              std::span<float> out) {
  const auto size = static_cast<std::int64_t>(in.size());
  const std::int64_t first = std::max<std::int64_t>(begin - eps, 0);
  const std::int64_t end = begin + static_cast<std::int64_t>(out.size());
  const std::int64_t last = std::min(end + eps, size);
  absl::FixedArray<float, kTile + 2 * kUsualReach> values(end - begin + 2 * eps);
  const auto inside = values.begin() + (first - (begin - eps));
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  std::fill(values.begin(), inside, kLowest);
  std::fill(std::copy(in.begin() + first, in.begin() + last, inside), values.end(), kLowest);
  const std::int64_t window = 2 * eps + 1;
  auto n = std::ssize(values);
  std::int64_t width = 1;
  for (; 2 * width <= window; width *= 2) {
    n -= width;
    kernels.max_of(values.data(), values.data() + width, n, values.data());
  }
  kernels.max_of(values.data(),
                 values.data() + (window - width),
                 static_cast<std::int64_t>(out.size()),
                 out.data());
}

// Values [begin, end) have no neighbours but one another: mends those within reach of either end.
void PoolEnds(std::span<const float> in,
              std::int64_t begin,
              std::int64_t end,
              std::int64_t eps,
              std::span<float> out) {
  if (end - begin <= 2 * eps) {
    for (std::int64_t j = begin; j < end; ++j) {
      out[j] = *std::max_element(in.begin() + std::max(begin, j - eps),
                                 in.begin() + std::min(end, j + eps + 1));
    }
    return;
  }
  float top = *std::max_element(in.begin() + begin, in.begin() + begin + eps);
  for (std::int64_t j = begin; j < begin + eps; ++j) out[j] = top = std::max(top, in[j + eps]);
  top = *std::max_element(in.begin() + end - eps, in.begin() + end);
  for (std::int64_t j = end - 1; j >= end - eps; --j) out[j] = top = std::max(top, in[j - eps]);
}

}  // namespace

void MaxPool(Device& device, std::span<const float> in, std::int32_t eps, std::span<float> out) {
  constexpr std::string_view kOp = "MaxPool";
  CheckOp(in.size() == out.size(), kOp, "sizes differ");
  CheckOp(eps >= 0, kOp, "eps is negative");
  CheckOp(in.empty() || in.data() != out.data(), kOp, "out is in");
  if (in.empty()) return;
  const auto size = static_cast<std::int64_t>(in.size());
  const std::int64_t reach = std::min<std::int64_t>(eps, size - 1);
  const std::int64_t tile = std::max(kTile, 8 * reach);
  const std::int64_t per_task = tile * kTilesPerTask;
  const SelectionKernels kernels = SelectionKernelsFor(device.cpu_level());
  device.pool().ParallelFor((size + per_task - 1) / per_task, [&](std::int64_t task) {
    const std::int64_t end = std::min((task + 1) * per_task, size);
    for (std::int64_t begin = task * per_task; begin < end; begin += tile) {
      PoolTile(kernels, in, reach, begin, out.subspan(begin, std::min(tile, end - begin)));
    }
  });
}

void MaxPool(Device& device,
             std::span<const float> in,
             std::span<const std::int32_t> borders,
             std::int32_t eps,
             std::span<float> out) {
  MaxPool(device, in, eps, out);
  if (eps == 0 || borders.empty()) return;
  std::int64_t begin = 0;
  for (const std::int32_t border : borders) {
    CheckOp(border > begin && border < std::ssize(in), "MaxPool", "borders do not ascend");
    PoolEnds(in, begin, border, eps, out);
    begin = border;
  }
  PoolEnds(in, begin, std::ssize(in), eps, out);
}

}  // namespace keyhole
