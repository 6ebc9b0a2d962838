// Runs one item of an AttendPlan on the CPU, and merges partial results.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/device/cpu_features.h"
#include "engine/ops/attend_plan.h"
#include "engine/ops/cpu/attend_kernels.h"

namespace keyhole {

// What one thread needs while it runs items. Aligned for the widest vectors.
class AttendScratch {
 public:
  // Grows to the plan's sizes; keeps what it has.
  void Reserve(const AttendPlan& plan);

  float* queries = nullptr;  // [max_head_dim * max_lanes]
  float* rows = nullptr;     // [kAttendMostRows * max_head_dim padded to 32]
  float* scores =
      nullptr;  // [max(kAttendMostRows, max_head_dim) * max(kLeastScoreLanes, max_lanes)]
  float* correction = nullptr;  // [max_lanes]
  float* bias = nullptr;        // [max_lanes]
  float* state = nullptr;       // [PartialFloats(max_lanes, max_head_dim)]
  std::vector<std::int32_t> visible;

 private:
  std::vector<float> memory_;
};

AttendKernelSet AttendKernelsFor(CpuLevel level);

// What all items of a plan share.
struct AttendWork {
  const AttendKernelSet& kernels;
  std::span<const AttendParams> sequences;
  const AttendPlan& plan;
  float* partials;  // the plan's room for partial results
};

// `next` is what the same thread is likely to run after it, or null: its first rows are fetched
// ahead.
void RunAttendItem(const AttendWork& work,
                   const AttendItem& item,
                   const AttendItem* next,
                   AttendScratch& scratch);

// Writes the output of `head` (counted from the items' kv_begin) from the partial results, in
// order.
void MergeAttendItems(const AttendParams& params,
                      std::span<const AttendItem> items,
                      std::int32_t head,
                      const float* partials);

}  // namespace keyhole
