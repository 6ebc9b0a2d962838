#include "engine/ops/top_k.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>

#include "engine/ops/cpu/selection_dispatch.h"
#include "engine/ops/op_check.h"

namespace keyhole {
namespace {

constexpr std::int64_t kMaxFolds = 16;
constexpr std::int64_t kSetsPerRow = 4;        // sets of scores for each row to choose
constexpr std::int64_t kTaskScores = 1 << 16;  // a few microseconds
constexpr int kDigitBits = 11;                 // three digits
constexpr std::uint32_t kDigits = 1 << kDigitBits;

// Ascends with x; the two zeros are one value.
std::uint32_t KeyOf(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x + 0.0F);
  return bits ^ ((bits >> 31) != 0 ? 0xFFFFFFFFU : 0x80000000U);
}

float ValueOf(std::uint32_t key) {
  return std::bit_cast<float>(key ^ ((key >> 31) != 0 ? 0x80000000U : 0xFFFFFFFFU));
}

struct Limit {
  std::uint32_t key = 0;  // of the k-th largest
  std::int64_t ties = 0;  // how many of that key belong to the k largest
};

// REQUIRES: 1 <= k <= keys.size(). Changes `keys`.
Limit KthLargest(std::vector<std::uint32_t>& keys,
                 std::int64_t k,
                 std::vector<std::uint32_t>& counts) {
  std::size_t n = keys.size();
  for (int shift = 32 - kDigitBits; n > 1; shift = std::max(0, shift - kDigitBits)) {
    counts.assign(kDigits, 0);
    for (std::size_t i = 0; i < n; ++i) ++counts[keys[i] >> shift & (kDigits - 1)];
    std::uint32_t digit = kDigits - 1;
    for (; counts[digit] < k; --digit) k -= counts[digit];
    const std::uint32_t chosen = digit;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint32_t key = keys[i];
      keys[kept] = key;
      kept += static_cast<std::size_t>((key >> shift & (kDigits - 1)) == chosen);
    }
    n = kept;
    if (shift == 0) break;
  }
  return {keys[0], k};
}

class Selector {
 public:
  Selector(Device& device, std::span<const float> scores, std::int32_t k, TopKWorkspace& workspace)
      : device_(device),
        kernels_(SelectionKernelsFor(device.cpu_level())),
        scores_(scores),
        size_(static_cast<std::int64_t>(scores.size())),
        k_(k),
        workspace_(workspace) {}

  // Writes first + j.
  void Select(std::int32_t first, std::vector<std::int32_t>& rows) {
    folds_ = std::min(size_ / (kSetsPerRow * k_), kMaxFolds);
    const std::span<const std::int32_t> found =
        RowsFrom(folds_ > 1 ? Bound() : -std::numeric_limits<float>::infinity());
    rows.clear();
    if (found.empty()) return;  // no score is a number
    workspace_.keys.resize(found.size());
    std::transform(found.begin(), found.end(), workspace_.keys.begin(), [this](std::int32_t row) {
      return KeyOf(scores_[row]);
    });
    const auto k = std::min(k_, static_cast<std::int64_t>(found.size()));
    Limit limit = KthLargest(workspace_.keys, k, workspace_.counts);
    rows.reserve(k);
    for (const std::int32_t row : found) {
      const std::uint32_t key = KeyOf(scores_[row]);
      if (key > limit.key || (key == limit.key && limit.ties-- > 0)) rows.push_back(first + row);
    }
  }

 private:
  // Of any k sets of scores each has a value not below the least of their maxima: the k-th largest
  // maximum of more sets than k is a lower bound of the k-th largest score. A set takes scores far
  // from one another, since a pool makes neighbours equal.
  float Bound() {
    const std::int64_t width = size_ / folds_;
    std::vector<float>& tops = workspace_.tops;
    tops.resize(width);  // assign would take new memory for each score more
    std::copy_n(scores_.begin(), width, tops.begin());
    const std::int64_t part = kTaskScores / folds_;
    device_.pool().ParallelFor((width + part - 1) / part, [&](std::int64_t task) {
      const std::int64_t begin = task * part;
      const std::int64_t n = std::min(part, width - begin);
      float* out = tops.data() + begin;
      for (int fold = 1; fold < folds_; ++fold) {
        kernels_.max_of(out, scores_.data() + fold * width + begin, n, out);
      }
    });
    workspace_.keys.resize(width);
    std::transform(tops.begin(), tops.end(), workspace_.keys.begin(), KeyOf);
    return ValueOf(KthLargest(workspace_.keys, k_, workspace_.counts).key);
  }

  // All with a score of at least `bound`, ascending.
  std::span<const std::int32_t> RowsFrom(float bound) {
    const std::int64_t n_tasks = (size_ + kTaskScores - 1) / kTaskScores;
    if (workspace_.rows.size() < scores_.size()) workspace_.rows.resize(size_);
    if (workspace_.found.size() < static_cast<std::size_t>(n_tasks)) {
      workspace_.found.resize(n_tasks);
    }
    std::int32_t* rows = workspace_.rows.data();
    device_.pool().ParallelFor(n_tasks, [&](std::int64_t task) {
      const std::int64_t begin = task * kTaskScores;
      workspace_.found[task] = kernels_.rows_from(scores_.data() + begin,
                                                  std::min(kTaskScores, size_ - begin),
                                                  bound,
                                                  static_cast<std::int32_t>(begin),
                                                  rows + begin);
    });
    std::int32_t* end = rows + workspace_.found[0];
    for (std::int64_t task = 1; task < n_tasks; ++task) {
      const std::int32_t* from = rows + task * kTaskScores;
      end = std::copy(from, from + workspace_.found[task], end);
    }
    return {rows, end};
  }

  Device& device_;
  const SelectionKernels kernels_;
  const std::span<const float> scores_;
  const std::int64_t size_;
  const std::int64_t k_;
  std::int64_t folds_ = 1;  // scores of a set
  TopKWorkspace& workspace_;
};

}  // namespace

void TopK(Device& device,
          std::span<const float> scores,
          std::int32_t k,
          std::int32_t first,
          TopKWorkspace& workspace,
          std::vector<std::int32_t>& rows) {
  CheckOp(k >= 0, "TopK", "k is negative");
  if (k == 0) {
    rows.clear();
    return;
  }
  if (static_cast<std::size_t>(k) >= scores.size()) {
    rows.resize(scores.size());
    std::iota(rows.begin(), rows.end(), first);
    return;
  }
  Selector(device, scores, k, workspace).Select(first, rows);
}

}  // namespace keyhole
