// Wall time of a scope.
#pragma once

#include <chrono>

namespace keyhole {

// Adds the time from its construction to its end to `seconds`, which must outlive it.
class ScopedTimer {
 public:
  explicit ScopedTimer(double* seconds) : seconds_(seconds), start_(Clock::now()) {}
  ~ScopedTimer() { *seconds_ += std::chrono::duration<double>(Clock::now() - start_).count(); }
  ScopedTimer(const ScopedTimer&) = delete;
  ScopedTimer& operator=(const ScopedTimer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;

  double* seconds_;
  Clock::time_point start_;
};

}  // namespace keyhole
