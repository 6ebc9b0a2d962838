// A clock that stands still until it is told.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "absl/time/time.h"
#include "engine/runtime/clock.h"

namespace keyhole::testing {

// Thread: any.
class FakeClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixNanos(nanos_.load() + set_by_.load()); }
  Instant Monotonic() const override { return Instant(std::chrono::nanoseconds(nanos_.load())); }

  void Advance(absl::Duration duration) { nanos_ += absl::ToInt64Nanoseconds(duration); }

  // Somebody sets the system's clock: no time passes.
  void Set(absl::Duration forward) { set_by_ += absl::ToInt64Nanoseconds(forward); }

 private:
  std::atomic<std::int64_t> nanos_{1'700'000'000'000'000'000};
  std::atomic<std::int64_t> set_by_{0};
};

}  // namespace keyhole::testing
