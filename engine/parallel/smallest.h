// What every rank has room for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/parallel/process_group.h"
#include "engine/status_macros.h"

namespace keyhole {

// The smallest of all ranks' numbers. Errors: those of ProcessGroup::Exchange.
inline absl::StatusOr<std::int64_t> SmallestOf(ProcessGroup& group, std::int64_t own) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::vector<std::int64_t> all, group.Exchange(own));
  return *std::ranges::min_element(all);
}

}  // namespace keyhole
