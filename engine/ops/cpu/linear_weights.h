// Weight matrices laid out in panels for the kernels of Linear (linear_kernels.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/device/device.h"
#include "engine/ops/cpu/linear_kernels.h"
#include "engine/ops/linear.h"

namespace keyhole {

struct LinearWeights {
  LinearFormat format = LinearFormat::kF32;
  std::int64_t n_out = 0;
  std::int64_t n_in = 0;
  LinearPanels panels = {};         // points into `data`
  std::shared_ptr<std::byte> data;  // [n_panels, panel_bytes]
  std::vector<float> bias;

  std::int64_t data_bytes() const { return n_panels() * panels.panel_bytes; }
  std::int64_t n_panels() const { return (n_out + kPanelColumns - 1) / kPanelColumns; }
};

struct LinearShape {
  LinearFormat format;
  std::int64_t n_out;
  std::int64_t n_in;
};

// Errors: RESOURCE_EXHAUSTED where memory is short.
absl::StatusOr<LinearWeights> PackWeights(Device& device,
                                          const LinearShape& shape,
                                          const WeightRowReader& rows);

// Errors: as above. REQUIRES: the encoding's blocks divide n_in.
absl::StatusOr<LinearWeights> PackQuantizedWeights(Device& device,
                                                   std::int64_t n_out,
                                                   std::int64_t n_in,
                                                   const QuantizedRows& rows);

}  // namespace keyhole
