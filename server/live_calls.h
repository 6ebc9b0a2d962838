// How many calls are under way, so that a drain ends when the last one has.
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

#include "absl/time/time.h"

namespace keyhole {

// Thread: any.
class LiveCalls {
 public:
  // One call, for as long as it lives. REQUIRES: the LiveCalls outlives it.
  class Token {
   public:
    explicit Token(LiveCalls* calls) : calls_(calls) { calls_->Add(1); }
    Token(Token&& other) noexcept : calls_(std::exchange(other.calls_, nullptr)) {}
    Token& operator=(Token&&) = delete;
    ~Token() {
      if (calls_ != nullptr) calls_->Add(-1);
    }

   private:
    LiveCalls* calls_;
  };

  // Returns whether there was no call before `deadline`.
  bool WaitNone(absl::Time deadline) {
    std::unique_lock lock(mutex_);
    return none_.wait_until(lock, absl::ToChronoTime(deadline), [this] { return count_ == 0; });
  }

 private:
  void Add(int change) {
    const std::lock_guard lock(mutex_);
    count_ += change;
    if (count_ == 0) none_.notify_all();
  }

  std::mutex mutex_;  // guards what follows
  std::condition_variable none_;
  int count_ = 0;
};

}  // namespace keyhole
