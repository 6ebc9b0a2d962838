#include "tests/support/recording_sink.h"

#include <utility>

#include "absl/strings/cord.h"

namespace keyhole::testing {
namespace {

// Shares nothing with `status`: the library counts references where the thread sanitizer, which
// never saw that library being compiled, cannot follow.
absl::Status DeepCopy(const absl::Status& status) {
  absl::Status copy(status.code(), status.message());
  status.ForEachPayload([&copy](absl::string_view url, const absl::Cord& payload) {
    copy.SetPayload(url, absl::Cord(std::string(payload)));
  });
  return copy;
}

}  // namespace

std::string Recording::Events::text() const {
  std::string text;
  for (const ChunkEvent& chunk : chunks) text += chunk.text;
  return text;
}

std::vector<TokenId> Recording::Events::token_ids() const {
  std::vector<TokenId> ids;
  for (const ChunkEvent& chunk : chunks) {
    ids.insert(ids.end(), chunk.token_ids.begin(), chunk.token_ids.end());
  }
  return ids;
}

Recording::Events Recording::events() const {
  const std::lock_guard lock(mutex_);
  Events copy = events_;
  if (events_.failed) copy.failed = DeepCopy(*events_.failed);
  return copy;
}

template <class Condition>
bool Recording::Wait(absl::Duration longest, Condition condition) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, absl::ToChronoMilliseconds(longest), condition);
}

bool Recording::WaitForEnd(absl::Duration longest) const {
  return Wait(longest, [this] { return events_.over(); });
}

bool Recording::WaitForText(absl::Duration longest) const {
  return Wait(longest, [this] { return events_.over() || !events_.chunks.empty(); });
}

template <class Change>
void RecordingSink::Record(const char* name, bool needs_start, Change change) {
  {
    const std::lock_guard lock(recording_->mutex_);
    Recording::Events& events = recording_->events_;
    if (events.over()) events.violations.push_back(std::string(name) + " after the end");
    if (needs_start != events.started.has_value()) {
      events.violations.push_back(std::string(name) + " in the wrong place");
    }
    change(events);
  }
  recording_->changed_.notify_all();
}

void RecordingSink::OnStarted(const StartedEvent& event) {
  Record("OnStarted", false, [&](Recording::Events& events) { events.started = event; });
}

void RecordingSink::OnProgress(const ProgressEvent& event) {
  Record("OnProgress", true, [&](Recording::Events& events) { events.progress.push_back(event); });
}

void RecordingSink::OnChunk(ChunkEvent event) {
  Record("OnChunk", true, [&](Recording::Events& events) {
    events.chunks.push_back(std::move(event));
  });
}

void RecordingSink::OnFinished(const FinishedEvent& event) {
  Record("OnFinished", true, [&](Recording::Events& events) { events.finished = event; });
}

void RecordingSink::OnFailed(const absl::Status& status) {
  const std::lock_guard lock(recording_->mutex_);
  if (recording_->events_.over()) {
    recording_->events_.violations.emplace_back("OnFailed after the end");
  }
  recording_->events_.failed = DeepCopy(status);
  recording_->changed_.notify_all();
}

}  // namespace keyhole::testing
