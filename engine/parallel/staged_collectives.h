// Collectives of accelerators by way of the host's memory, over the group's own connections.
#pragma once

#include <memory>

#include "engine/parallel/device_collectives.h"
#include "engine/parallel/process_group.h"

namespace keyhole {

// For ranks that NCCL cannot connect, such as two on one GPU, and for tests: every call waits for
// the device twice. Sums are ProcessGroup's, in the order of ranks. REQUIRES: the group outlives
// it.
std::unique_ptr<DeviceCollectives> MakeStagedCollectives(ProcessGroup* group);

}  // namespace keyhole
