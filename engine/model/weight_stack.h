// Weight matrices of a model file put one below the other and packed as one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/device/device.h"
#include "engine/engine_config.h"
#include "engine/model/weight_source.h"
#include "engine/ops/linear.h"
#include "engine/parallel/shard.h"

namespace keyhole {

// One matrix of the stack: its name in the source, that of its bias or nothing, and which of its
// logical rows and of its columns are taken. No other byte of the matrix is read.
struct StackPart {
  std::string weight;
  std::string bias;
  std::optional<ShardRange> rows = std::nullopt;  // unset: all
  std::optional<ShardRange> cols = std::nullopt;  // unset: all; the same of every part
};

// y = x W^T + b for the concatenated rows of `parts`: one product instead of several. Under kAuto
// and kInt8 a quantised file's codes are kept as they are where all parts share an encoding that
// PackedLinear can hold; other quantised weights are requantised to int8. Under kAuto weights in
// floating point become bf16. Errors: those of WeightSource::Get and of PackedLinear::Pack;
// INVALID_ARGUMENT for columns that cut a block of the encoding.
absl::StatusOr<PackedLinear> PackStack(const WeightSource& source,
                                       const std::vector<StackPart>& parts,
                                       WeightMode mode,
                                       Device& device);

}  // namespace keyhole
