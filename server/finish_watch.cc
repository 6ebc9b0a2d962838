#include "server/finish_watch.h"

#include <algorithm>
#include <chrono>

namespace keyhole {

FinishWatch::FinishWatch(const Call& call) : parts_(call.parts()), context_(call.context()) {
  parts_.streams->Add(this);
}

void FinishWatch::Start(const absl::Status& status, std::size_t bytes) {
  const StreamLimits& limits = parts_.stream_limits;
  const std::size_t writes = 1 + bytes / std::max<std::size_t>(1, limits.outbox_bytes);
  succeeded_ = status.ok();
  limit_ = limits.stall * static_cast<double>(writes);
  start_ = std::chrono::steady_clock::now();
  finished_.store(true, std::memory_order_release);
}

void FinishWatch::Stop() { parts_.streams->Remove(this); }

absl::Duration FinishWatch::CheckStall(Instant now) {
  if (!finished_.load(std::memory_order_acquire)) return absl::ZeroDuration();
  const absl::Duration stalled = absl::FromChrono(now - start_);
  if (stalled > limit_ && !cut_off_) {
    cut_off_ = true;
    // Of a call that failed the cause has been counted.
    if (succeeded_) parts_.metrics->OnStreamAborted("slow_reader");
    context_->TryCancel();
  }
  return stalled;
}

}  // namespace keyhole
