// The JSON header of a safetensors file, parsed without building a document.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace keyhole {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;
  std::vector<std::uint64_t> shape;  // outermost first; at most 8
  std::uint64_t begin = 0;           // bytes [begin, end) of the data section
  std::uint64_t end = 0;
};

// Strict: an object of tensors, each with exactly dtype, shape and data_offsets, and at most one
// "__metadata__" object of strings. Memory is proportional to the text; nesting cannot grow.
// Errors: INVALID_ARGUMENT with what was wrong, at the first violation.
absl::StatusOr<std::vector<SafetensorsEntry>> ParseSafetensorsHeader(std::string_view json);

}  // namespace keyhole
