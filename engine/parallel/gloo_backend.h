// A c10d back end over Gloo: TCP between processes on CPUs.
#pragma once

#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "absl/time/time.h"
#include "engine/parallel/rendezvous.h"
#include "engine/parallel/shard.h"

namespace keyhole {

// Waits for every rank to do the same, `timeout` at most. Throws what LibTorch throws.
c10::intrusive_ptr<c10d::Backend> MakeGlooBackend(const Rendezvous& meeting,
                                                  const Shard& shard,
                                                  absl::Duration timeout);

}  // namespace keyhole
