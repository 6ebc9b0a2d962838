// Looks at every stream, and at every call that was finished, now and then, so that a client that
// stopped reading is noticed without a timer for each.
#pragma once

#include <chrono>
#include <mutex>

#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"

namespace keyhole {

class WatchedStream {
 public:
  using Instant = std::chrono::steady_clock::time_point;

  // Ends the stream where its client has not read for too long. Returns for how long it has not.
  virtual absl::Duration CheckStall(Instant now) = 0;

 protected:
  ~WatchedStream() = default;
};

// Owns no stream. Thread: any; a stream is not destroyed while it is looked at, since Remove waits
// for that.
class StreamWatch {
 public:
  void Add(WatchedStream* stream);
  void Remove(WatchedStream* stream);

  // Looks at all streams. Returns how many are stalled for more than a second.
  int Check(WatchedStream::Instant now);

 private:
  std::mutex mutex_;  // guards what follows; taken before a stream's own
  absl::flat_hash_set<WatchedStream*> streams_;
};

}  // namespace keyhole
