// A clock that stands still until it is told.
#pragma once

#include <atomic>

#include "absl/time/time.h"
#include "engine/runtime/clock.h"

namespace keyhole::testing {

// Thread: any.
class FakeClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixNanos(nanos_.load()); }
  void Advance(absl::Duration duration) { nanos_ += absl::ToInt64Nanoseconds(duration); }

 private:
  std::atomic<std::int64_t> nanos_{1'700'000'000'000'000'000};
};

}  // namespace keyhole::testing
