// Bounds of single fields of a request.
//
// Errors of all: INVALID_ARGUMENT with INVALID_PARAMETER and the field's name, as `sampling.top_p`;
// what was given and what is allowed are metadata.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace keyhole {

// Which ends of an interval belong to it.
enum class Ends { kBoth, kUpper, kLower };

// The error of a value outside `range`, as "(0, 1]".
absl::Status OutOfRange(std::string_view field,
                        std::string_view range,
                        std::vector<std::pair<std::string, std::string>> metadata);

template <typename T>
absl::Status CheckRange(std::string_view field, T value, T low, T high, Ends ends = Ends::kBoth) {
  const bool above = ends == Ends::kUpper ? value > low : value >= low;
  const bool below = ends == Ends::kLower ? value < high : value <= high;
  if (above && below) return absl::OkStatus();  // never for NaN
  return OutOfRange(
      field,
      absl::StrCat(
          ends == Ends::kUpper ? "(" : "[", low, ", ", high, ends == Ends::kLower ? ")" : "]"),
      {{"value", absl::StrCat(value)}, {"min", absl::StrCat(low)}, {"max", absl::StrCat(high)}});
}

absl::Status CheckCount(std::string_view field, int count, int most);
absl::Status CheckBytes(std::string_view field, std::size_t size, std::size_t most);

}  // namespace keyhole
