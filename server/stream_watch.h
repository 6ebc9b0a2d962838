// Looks at every open stream now and then, so that a client that stopped reading is noticed without
// a timer for each.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace keyhole {

class WatchedStream {
 public:
  // Ends the stream where its client has not read for too long. Returns for how long it has not.
  virtual absl::Duration CheckStall(absl::Time now) = 0;

 protected:
  ~WatchedStream() = default;
};

// Owns no stream. Thread: any; a stream is not destroyed while it is looked at, since Remove waits
// for that.
class StreamWatch {
 public:
  void Add(WatchedStream* stream) ABSL_LOCKS_EXCLUDED(mutex_);
  void Remove(WatchedStream* stream) ABSL_LOCKS_EXCLUDED(mutex_);

  // Looks at all streams. Returns how many are stalled for more than a second.
  int Check(absl::Time now) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::Mutex mutex_;  // taken before a stream's own
  absl::flat_hash_set<WatchedStream*> streams_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace keyhole
