// Fetches rows by a kernel that reads the host's memory in place.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/kv/row_copier.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole::cuda {

// One launch for all rows of a call, however they are scattered. REQUIRES: the host's pages are
// pinned, a row is a multiple of 8 bytes, calls name the stream of the constructor.
// Owner: the model executor. Thread: executor only.
class RowGatherer final : public RowCopier {
 public:
  explicit RowGatherer(const Stream& stream) : numbers_(stream), arguments_(stream) {}

  absl::Status Copy(const Stream& stream, const RowCopies& copies) override;

 private:
  Workspace numbers_;
  Workspace arguments_;
  std::vector<std::int32_t> table_;  // where rows come from, then where they go
};

}  // namespace keyhole::cuda
