// Where the engine reads the time.
#pragma once

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace keyhole {

// Thread: any.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;
};

class SystemClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
};

}  // namespace keyhole
