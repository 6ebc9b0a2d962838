// Where the engine reads the time.
#pragma once

#include <chrono>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace keyhole {

// A moment by a clock that nobody sets: one alone means nothing, two tell what passed between them.
using Instant = std::chrono::steady_clock::time_point;

inline absl::Duration Between(Instant begin, Instant end) { return absl::FromChrono(end - begin); }

// Thread: any.
class Clock {
 public:
  virtual ~Clock() = default;

  // The system's time, for deadlines. It jumps when the system's clock is set.
  virtual absl::Time Now() const = 0;

  // For what is measured.
  virtual Instant Monotonic() const = 0;
};

class SystemClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
  Instant Monotonic() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace keyhole
