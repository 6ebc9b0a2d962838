// Something that happens once and that others may wait for.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "absl/time/time.h"

namespace keyhole {

// Thread: any.
class Event {
 public:
  // Again does nothing.
  void Notify() {
    const std::lock_guard lock(mutex_);
    happened_ = true;
    changed_.notify_all();  // under the lock: whoever waited may destroy the event at once
  }

  bool happened() const {
    const std::lock_guard lock(mutex_);
    return happened_;
  }

  void Wait() const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return happened_; });
  }

  // Returns whether it happened before `limit` was over.
  bool WaitFor(absl::Duration limit) const {
    constexpr absl::Duration kLongest = absl::Hours(24 * 365);  // the clock's sum must not overflow
    std::unique_lock lock(mutex_);
    return changed_.wait_for(
        lock, absl::ToChronoNanoseconds(std::min(limit, kLongest)), [this] { return happened_; });
  }

 private:
  mutable std::mutex mutex_;  // guards what follows
  mutable std::condition_variable changed_;
  bool happened_ = false;
};

}  // namespace keyhole
