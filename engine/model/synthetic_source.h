// Seeded random weights in the sizes of a named model, for benchmarks and tests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/model/weight_source.h"

namespace keyhole {

inline constexpr std::string_view kSyntheticPrefix = "synthetic:";

struct SyntheticSpec {
  std::string shape;
  std::uint64_t seed = 0;
  std::int64_t n_layers = 0;  // 0: as the shape has them
};

// Parses "synthetic:<shape>[,seed=N][,layers=N]".
// Errors: INVALID_ARGUMENT.
absl::StatusOr<SyntheticSpec> ParseSyntheticSpec(std::string_view path);

// Weights are bf16, a function of seed, tensor name, row and column alone: the same on every
// machine. Matrices have entries of variance 1 / n_cols and norms are 1, so activations keep their
// size through any number of layers. A tensor is made at its first Get and kept as long as the
// source lives: 2 bytes for each weight that was asked for.
// Thread: any; one tensor is made at a time.
// Errors: NOT_FOUND for an unknown shape; INVALID_ARGUMENT.
absl::StatusOr<std::unique_ptr<WeightSource>> OpenSyntheticModel(std::string_view path,
                                                                 const ModelFileOptions& options);

}  // namespace keyhole
