// A model with selective attention along one case of selective.safetensors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/model/weight_source.h"
#include "engine/types.h"
#include "tests/support/golden_file.h"
#include "tests/support/model_runner.h"

namespace keyhole {

struct SelectiveCase {
  std::string name;
  std::string policy;
  PositionMode positions = PositionMode::kRectified;
};

struct SelectiveResult {
  double relative_error = 0;      // largest of all compared logits, relative to its row's largest
  std::int32_t other_tokens = 0;  // greedy tokens that differ
  std::int32_t selections = 0;    // compared: by step and some layers
  std::int32_t other_selections = 0;  // of those, with another row
};

// Sizes and distances of the case; f32 weights and pages. Its distances before the tail are those
// of the profile `prose`, those of the tail are of `recall`.
RunnerOptions SelectiveOptions(const GoldenFile& golden, const SelectiveCase& c);

// Prefills the prompt in chunks, then decodes along the golden's own answer.
absl::StatusOr<SelectiveResult> RunSelectiveCase(const GoldenFile& golden,
                                                 const SelectiveCase& c,
                                                 std::shared_ptr<const WeightSource> source);

}  // namespace keyhole
