// How the accelerator's memory is shared out between a model's rows and all else.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/kv/kv_layout.h"
#include "engine/model/accelerator_model.h"
#include "engine/model/model_shard.h"

namespace keyhole::cuda {

// What is left to others: kernels of ours and of cuBLAS come to the device when they are first
// used, cuBLAS has a workspace, and arguments, scratch and graphs grow with the steps.
constexpr std::size_t kSpareBytes = std::size_t{768} << 20;

struct AcceleratorMemory {
  std::int32_t n_pages = 0;      // that sequences may have
  std::size_t device_bytes = 0;  // for rows; see ResidencySettings
};

// What a step needs beside rows and digests: activations, windows, scratch.
std::size_t StepBytes(const ModelShard& shard,
                      const KvLayout& layout,
                      const AcceleratorSettings& settings);

// `free_bytes`: of the device, without what a step needs. Every page that sequences can use at
// once, as far as the host, or else the device, has room for it; the digests of all lie on the
// device, and where pages spill the tables by which it finds their rows. Errors:
// RESOURCE_EXHAUSTED, which names what there is.
absl::StatusOr<AcceleratorMemory> ShareMemory(const KvLayout& layout,
                                              std::size_t digest_page_bytes,
                                              std::size_t free_bytes,
                                              const AcceleratorSettings& settings);

}  // namespace keyhole::cuda
