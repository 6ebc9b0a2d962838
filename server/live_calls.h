// How many calls are under way, so that a drain ends when the last one has.
#pragma once

#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
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
  bool WaitNone(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithDeadline(absl::Condition(
                                        +[](int* count) { return *count == 0; }, &count_),
                                    deadline);
  }

 private:
  void Add(int change) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    count_ += change;
  }

  absl::Mutex mutex_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace keyhole
