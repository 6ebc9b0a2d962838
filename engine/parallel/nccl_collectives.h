// Collectives of accelerators over NCCL.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/parallel/device_collectives.h"
#include "engine/parallel/process_group.h"

namespace keyhole {

// Each rank has a GPU of its own, the calling thread's. NCCL has no time limit: Synchronize waits
// for `timeout` at most, and then ends what hangs. The ranks meet by way of `group`, which outlives
// the result. Blocks until all ranks have come. Errors: FAILED_PRECONDITION in a build without
// CUDA; UNAVAILABLE with NCCL's cause.
absl::StatusOr<std::unique_ptr<DeviceCollectives>> MakeNcclCollectives(ProcessGroup* group,
                                                                       absl::Duration timeout);

}  // namespace keyhole
