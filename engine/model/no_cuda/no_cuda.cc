// What a build without CUDA answers.
#include "engine/device/gpu.h"
#include "engine/model/accelerator_model.h"

namespace keyhole {

absl::Status CheckAccelerator(const PolicyTraits&) { return OpenGpu(0).status(); }

absl::StatusOr<std::unique_ptr<AcceleratorModel>> LoadAcceleratorModel(const WeightSource&,
                                                                       const AcceleratorSettings&) {
  return OpenGpu(0).status();
}

}  // namespace keyhole
