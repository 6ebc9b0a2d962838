// SIGTERM and SIGINT as calls on an ordinary thread.
#pragma once

#include <mutex>

#include "absl/functional/any_invocable.h"

namespace keyhole {

// Make one before any other thread exists: it blocks the signals in its thread and in all that come
// after, for good. Lives until the process ends, and so does its thread. Thread: any.
class Signals {
 public:
  Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // What the first signal from now on does. The second ends the process with 128 + its number, and
  // so does one that comes while there is nothing to do.
  void OnFirst(absl::AnyInvocable<void()> action);

 private:
  void Wait();

  std::mutex mutex_;  // guards what follows
  absl::AnyInvocable<void()> action_;
};

}  // namespace keyhole
