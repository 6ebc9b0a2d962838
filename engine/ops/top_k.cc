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
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Ascends with x.
std::uint32_t KeyOf(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return bits ^ ((bits >> 31) != 0 ? 0xFFFFFFFFU : 0x80000000U);
}

float ValueOf(std::uint32_t key) {
  return std::bit_cast<float>(key ^ ((key >> 31) != 0 ? 0x80000000U : 0xFFFFFFFFU));
}

struct Cut {
  float value = 0;
  float next = 0;  // a larger value, which fewer than k reach
};

// A value that at least k of x reach and at most `most`, or the k-th largest where no value is one.
// By halves, since one instruction compares a whole vector of scores.
Cut CutAt(const SelectionKernels& kernels,
          std::span<const float> x,
          std::int64_t k,
          std::int64_t most) {
  const auto size = static_cast<std::int64_t>(x.size());
  std::int64_t n_from_low = size;
  std::uint32_t low = KeyOf(-kInfinity);
  std::uint32_t high = KeyOf(kInfinity) + 1;  // the key of no number, which nothing reaches
  while (n_from_low > most && high - low > 1) {
    const std::uint32_t middle = low + (high - low) / 2;
    const std::int64_t n = kernels.count_from(x.data(), size, ValueOf(middle));
    if (n >= k) {
      low = middle;
      n_from_low = n;
    } else {
      high = middle;
    }
  }
  return {ValueOf(low), ValueOf(high)};
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
    const std::span<const std::int32_t> found = RowsFrom(folds_ > 1 ? Bound() : -kInfinity);
    std::vector<float>& values = workspace_.values;
    values.resize(found.size());
    std::ranges::transform(found, values.begin(), [this](std::int32_t j) { return scores_[j]; });
    const Cut cut = CutAt(kernels_, values, k_, k_);
    // Of those that are not above it as many as are left.
    std::int64_t ties = k_ - kernels_.count_from(values.data(), std::ssize(values), cut.next);
    rows.clear();
    rows.reserve(k_);
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (values[i] < cut.value) continue;
      if (values[i] >= cut.next || ties-- > 0) rows.push_back(first + found[i]);
    }
  }

 private:
  // Of any k sets of scores each has a value not below the least of their maxima: what k maxima of
  // more sets than that reach, k scores do. A set takes scores far from one another, since a pool
  // makes neighbours equal.
  float Bound() {
    const std::int64_t width = size_ / folds_;
    std::vector<float>& tops = workspace_.values;
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
    return CutAt(kernels_, tops, k_, k_ + k_ / 8).value;
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
