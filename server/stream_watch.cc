#include "server/stream_watch.h"

namespace keyhole {

void StreamWatch::Add(WatchedStream* stream) {
  const std::lock_guard lock(mutex_);
  streams_.insert(stream);
}

void StreamWatch::Remove(WatchedStream* stream) {
  const std::lock_guard lock(mutex_);
  streams_.erase(stream);
}

int StreamWatch::Check(WatchedStream::Instant now) {
  constexpr absl::Duration kStalled = absl::Seconds(1);
  const std::lock_guard lock(mutex_);
  int stalled = 0;
  for (WatchedStream* stream : streams_) {
    if (stream->CheckStall(now) > kStalled) ++stalled;
  }
  return stalled;
}

}  // namespace keyhole
