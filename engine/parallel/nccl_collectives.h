// Collectives of accelerators over NCCL.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/parallel/device_collectives.h"
#include "engine/parallel/process_group.h"

namespace keyhole {

// NCCL has none of its own.
struct NcclLimits {
  absl::Duration start = absl::Minutes(10);  // until all ranks have come
  absl::Duration step = absl::Minutes(1);    // until Synchronize ends what hangs
  absl::Duration end = absl::Seconds(30);    // for that
};

// Each rank has a GPU of its own, the first that its process sees. The ranks meet by way of
// `group`, which outlives the result. Blocks until all have come. Where what hangs cannot be ended,
// the process ends: everything that waits for the device would hang too. Errors:
// FAILED_PRECONDITION in a build without CUDA; UNAVAILABLE with NCCL's cause or where ranks do not
// come, and then a thread is left that waits for them.
absl::StatusOr<std::unique_ptr<DeviceCollectives>> MakeNcclCollectives(ProcessGroup* group,
                                                                       const NcclLimits& limits);

}  // namespace keyhole
