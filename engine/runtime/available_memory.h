// How much memory this process may still take.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace keyhole {

// Bytes: the machine's available memory, or what the limits of this process's control group (and of
// those above it) leave, where that is less. `root` is "/" but in tests.
// Errors: INTERNAL where <root>/proc/meminfo cannot be read.
absl::StatusOr<std::int64_t> AvailableMemory(const std::string& root = "/");

}  // namespace keyhole
