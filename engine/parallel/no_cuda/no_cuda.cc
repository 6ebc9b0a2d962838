// What a build without CUDA answers.
#include "engine/device/gpu.h"
#include "engine/parallel/nccl_collectives.h"

namespace keyhole {

absl::StatusOr<std::unique_ptr<DeviceCollectives>> MakeNcclCollectives(ProcessGroup*,
                                                                       const NcclLimits&) {
  return OpenGpu(0).status();
}

}  // namespace keyhole
