// How long and how much a client may lag behind its answer.
#pragma once

#include <cstddef>

#include "absl/time/time.h"

namespace keyhole {

struct StreamLimits {
  absl::Duration stall = absl::Seconds(10);  // a write that takes longer ends the call
  std::size_t outbox_bytes = 1 << 20;        // and so does an answer that waits beyond this
};

}  // namespace keyhole
