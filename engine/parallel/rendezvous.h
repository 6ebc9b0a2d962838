// How the ranks of a group find one another.
#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine_config.h"

namespace keyhole {

struct Rendezvous {
  c10::intrusive_ptr<c10d::Store> store;  // kept by rank 0 alone, which all others ask
  std::string own_host;                   // the address that this rank is reached at, in digits
};

// Waits until every rank has come, `settings.start_timeout` at most. Rank 0 listens at the host of
// the address and nowhere else. Errors: as ProcessGroup::Connect. Throws what LibTorch throws.
absl::StatusOr<Rendezvous> Meet(const TensorParallelSettings& settings);

}  // namespace keyhole
