// That all ranks selected the same rows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/batch/model_input.h"
#include "engine/parallel/process_group.h"
#include "engine/status_macros.h"

namespace keyhole {

// Waits until every rank has come to the end of the step. Errors: UNAVAILABLE where one has gone;
// INTERNAL, on every rank, where one selected other rows than rank 0.
inline absl::Status CompareSelections(ProcessGroup& group, const StepResult& result) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::vector<std::int64_t> hashes,
                           group.Exchange(static_cast<std::int64_t>(result.selection_hash)));
  const auto other = std::ranges::find_if(hashes, [&](auto hash) { return hash != hashes[0]; });
  if (other == hashes.end()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(
      "tensor parallel: rank ", other - hashes.begin(), " selected other rows than rank 0"));
}

}  // namespace keyhole
